"""What flows have in common: ids, analyses."""

from __future__ import annotations

from typing import TypeVar

from .._exchange import call
from .._progress import Line, Shown, bar
from .._steps import Flow, sleep
from ..draft_models import DraftFields
from ..errors import KindlingError, Problem
from ..models import Analysis, Answer, Card, DatasetFields, LeaderboardItem, TaskFields

AnalysisT = TypeVar("AnalysisT", bound=Analysis)

#: What names a data set, a task, a draft, a model: its id, or an answer that has it.
DatasetRef = str | DatasetFields
TaskRef = str | TaskFields
DraftRef = str | DraftFields
ModelRef = str | Card | LeaderboardItem | Answer


def at(ref: DatasetRef | TaskRef | DraftRef | ModelRef, **more: str | int) -> dict[str, str | int]:
    """The places of a path that names this."""
    return {"id": id_of(ref), **more}


def id_of(ref: DatasetRef | TaskRef | DraftRef | ModelRef) -> str:
    """The id of this."""
    if isinstance(ref, (Card, LeaderboardItem, Answer)):
        return ref.model
    found = ref if isinstance(ref, str) else ref.id
    if not found:
        raise ValueError("an id is empty; it looks like task_01a216cab34d70469b3e889a45641150")
    return found


def analysed(
    kind: type[AnalysisT],
    start: str,
    look: str,
    ref: DatasetRef | TaskRef,
    options: dict[str, int | None],
    title: str,
    shown: Shown,
) -> Flow[AnalysisT]:
    """Asks for an analysis, or joins the one under way, and waits until it is there."""
    wanted = {name: value for name, value in options.items() if value is not None}
    wait = 0.2
    with bar(shown) as show:
        try:
            yield from call(Analysis, start, at=at(ref), json=wanted)
        except Problem as problem:
            if problem.code != "analysis_busy":
                raise
        while True:
            now = yield from call(kind, look, at=at(ref))
            show.show(Line(title, now.state, now.progress))
            if now.state == "complete":
                return now
            if now.state == "failed":
                raise KindlingError(f"{title} of {id_of(ref)} failed: {now.reason or 'no reason is given'}")
            yield from sleep(wait)
            wait = min(wait * 1.5, 2.0)
