"""Progress: a bar in a notebook, a line in a terminal, lines elsewhere."""

from __future__ import annotations

import html
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from .models import TaskFields

#: Whether progress is shown: ``None`` where someone is likely to look, which is in notebooks and terminals.
Shown = bool | None


@dataclass(frozen=True)
class Line:
    """What there is to say."""

    title: str
    text: str
    #: How far, 0 to 1; ``None`` if that cannot be told.
    fraction: float | None = None

    def __repr__(self) -> str:
        share = "" if self.fraction is None else f"{self.fraction:4.0%} "
        return f"{self.title}: {share}{self.text}"

    def _repr_html_(self) -> str:
        value = "" if self.fraction is None else f' value="{self.fraction:.4f}"'
        return (
            '<div style="display: flex; flex-wrap: wrap; gap: 0 0.8em; align-items: center; font-family: monospace; '
            'white-space: nowrap">'
            f"<span>{html.escape(self.title)}</span>"
            f'<progress style="width: 16em" max="1"{value}></progress>'
            f"<span>{html.escape(self.text)}</span></div>"
        )


class Bar:
    """Where lines are shown: each at most so long after the one before, and the last one when it is left, also by an
    error. This one shows none.
    """

    #: The least seconds between two lines.
    every = 0.0

    def __init__(self) -> None:
        self._next = 0.0
        self._shown: Line | None = None
        self._late: Line | None = None

    def show(self, line: Line) -> None:
        """Shows a line, or keeps it for later if the last one is fresh."""
        now = time.monotonic()
        self._late = None if line == self._shown else line
        if now >= self._next and self._late is not None:
            self._next = now + self.every
            self._flush()

    def __enter__(self) -> Bar:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._flush()
        if self._shown is not None:
            self._end()

    def _flush(self) -> None:
        if self._late is not None:
            self._write(self._late)
            self._shown, self._late = self._late, None

    def _write(self, line: Line) -> None:
        pass

    def _end(self) -> None:
        pass


class NotebookBar(Bar):
    """One output of a cell, updated in place."""

    every = 0.25

    def __init__(self, display: Callable[..., Any]) -> None:
        super().__init__()
        self._display = display
        self._handle: Any = None

    def _write(self, line: Line) -> None:
        if self._handle is None:
            self._handle = self._display(line, display_id=True)
        else:
            self._handle.update(line)


class TerminalBar(Bar):
    """One line of standard error, written over."""

    every = 0.1
    width = 24

    def _write(self, line: Line) -> None:
        bar = ""
        if line.fraction is not None:
            full = round(line.fraction * self.width)
            bar = f"[{'#' * full}{'-' * (self.width - full)}] "
        text = f"{line.title}: {bar}{line.text}"
        # A line that wraps could not be written over.
        text = text[: shutil.get_terminal_size().columns - 1]
        sys.stderr.write(f"\r\x1b[2K{text}")
        sys.stderr.flush()

    def _end(self) -> None:
        sys.stderr.write("\n")


class PlainLines(Bar):
    """A line now and then, for logs."""

    every = 10.0

    def _write(self, line: Line) -> None:
        print(repr(line), file=sys.stderr, flush=True)


def bar(shown: Shown) -> Bar:
    """The bar that fits where this runs."""
    if shown is False:
        return Bar()
    display = _notebook()
    if display is not None:
        return NotebookBar(display)
    if sys.stderr is not None and sys.stderr.isatty():
        return TerminalBar()
    return PlainLines() if shown else Bar()


def _notebook() -> Callable[..., Any] | None:
    """IPython's ``display`` if this runs in a notebook. IPython is not imported for it: there it is already."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None and hasattr(ipython, "get_ipython") else None
    if shell is None or not hasattr(shell, "kernel"):
        return None
    from IPython.display import display  # type: ignore[import-not-found,unused-ignore]

    shown: Callable[..., Any] = display
    return shown


def size(count: float) -> str:
    """A number of bytes for people."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def of_task(task: TaskFields, seconds: float) -> Line:
    """A task's progress, so many seconds of its budget being spent."""
    progress, parts, fraction = task.progress, [task.state], None
    total, trials = (progress.seconds_total, progress.trials) if progress else (None, {})
    started = progress.trials_started if progress else 0
    most = task.budget.get("trials")
    if total:
        fraction = min(seconds / total, 1.0)
        late = task.state == "running" and seconds > total
        parts.append(
            "the time is up, files are being finished" if late else f"{min(seconds, total):.0f} of {total:.0f} s"
        )
    elif most:
        fraction = min(sum(trials.get(word, 0) for word in ("complete", "pruned", "failed")) / most, 1.0)
    if task.is_over:
        fraction = 1.0
    count = f"{started} of {most} trials" if most else f"{started} trials"
    running = trials.get("running", 0)
    parts.append(f"{count} ({running} running)" if running and not task.is_over else count)
    if task.best is not None:
        parts.append(f"best {task.best.value:.3f} in {size(task.best.weights_bytes)}")
    return Line(task.name, " · ".join(parts), fraction)
