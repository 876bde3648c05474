"""A task's events (server-sent events, WHATWG HTML section 9.2), gone on with after a lost connection."""

from __future__ import annotations

import json
import time
from collections import deque

import httpx

from ._exchange import backoff, opened, unreachable
from ._operations import request
from ._steps import QUIET, Flow, Quiet, Stream, close, read, read_within, sleep
from .errors import Problem, ServiceUnreachable, UnexpectedAnswer
from .models import TaskEvent

#: The service sends a comment after 10 seconds without events; three times as long is a lost connection.
SILENCE = 35.0
#: Seconds that the service may be away before one gives up.
PATIENCE = 120.0
#: What a proxy or a service that is starting answers.
BUSY = frozenset({502, 503, 504})


class Parser:
    """Cuts a stream of bytes into messages. Fields that are not of use here are left out, as the standard wants it."""

    def __init__(self) -> None:
        self._rest = b""
        self._kind = ""
        self._id: str | None = None
        self._data: list[str] = []

    def feed(self, chunk: bytes) -> list[tuple[str, str | None, str]]:
        """The messages that are whole now: event, id, data."""
        *lines, self._rest = (self._rest + chunk).replace(b"\r\n", b"\n").split(b"\n")
        found = []
        for line in lines:
            text = line.decode("utf-8", "replace")
            if text:
                self._field(text)
                continue
            if self._data:
                found.append((self._kind or "message", self._id, "\n".join(self._data)))
            self._kind, self._id, self._data = "", None, []
        return found

    def _field(self, line: str) -> None:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            self._kind = value
        elif name == "id":
            self._id = value
        elif name == "data":
            self._data.append(value)


class Events:
    """Where one is in a task's events."""

    def __init__(self, task: str, after: int | None = None) -> None:
        self._task = task
        #: The last event seen.
        self.last = after
        self._stream: Stream | None = None
        self._parser = Parser()
        self._ready: deque[TaskEvent] = deque()
        self._ended = False
        self._failures = 0
        self._lost_at: float | None = None
        self._again_at = 0.0

    def next(self, patience: float | None = None) -> Flow[TaskEvent | Quiet | None]:
        """The next event; ``None`` after the last, ``QUIET`` if nothing comes for ``patience`` seconds."""
        while not self._ready:
            if self._ended:
                return None
            try:
                if self._stream is None:
                    pause = self._again_at - time.monotonic()
                    if patience is not None and pause > patience:
                        yield from sleep(patience)
                        return QUIET
                    if pause > 0:
                        yield from sleep(pause)
                    yield from self._connect()
                    continue
                if patience is None:
                    chunk: bytes | Quiet | None = yield from read(self._stream)
                else:
                    chunk = yield from read_within(self._stream, patience)
            except httpx.TransportError as error:
                yield from self._lose(unreachable(error))
                continue
            if isinstance(chunk, Quiet):
                return QUIET
            if chunk is None:
                # The service stops, or something in between did not want to wait: what is missing is asked for.
                yield from self._lose(ServiceUnreachable(f"the events of task {self._task} break off again and again"))
                continue
            self._failures, self._lost_at = 0, None
            for message in self._parser.feed(chunk):
                self._take(*message)
        return self._ready.popleft()

    def close(self) -> Flow[None]:
        """Ends the connection."""
        stream, self._stream = self._stream, None
        if stream is not None:
            yield from close(stream)

    def _connect(self) -> Flow[None]:
        headers = {"Accept": "text/event-stream"}
        if self.last is not None:
            headers["Last-Event-ID"] = str(self.last)
        self._parser = Parser()
        try:
            self._stream = yield from opened(
                request("followTask", at={"id": self._task}, headers=headers, silence=SILENCE)
            )
        except Problem as problem:
            if problem.status not in BUSY:
                raise
            yield from self._lose(problem)

    def _lose(self, why: Exception) -> Flow[None]:
        """Says when to try again; gives up when the service has been away for too long."""
        yield from self.close()
        now = time.monotonic()
        self._lost_at = self._lost_at or now
        if now - self._lost_at > PATIENCE:
            raise why
        self._again_at = now + backoff(self._failures)
        self._failures += 1

    def _take(self, kind: str, number: str | None, text: str) -> None:
        try:
            data = json.loads(text)
            event = TaskEvent(id=None if number is None else int(number), event=kind, data=data)
        except ValueError as error:
            raise UnexpectedAnswer(f"an event of task {self._task} cannot be read: {text[:200]}") from error
        # After a connection was lost an event may come twice.
        if event.id is not None:
            if self.last is not None and event.id <= self.last:
                return
            self.last = event.id
        self._ended = kind == "end"
        self._ready.append(event)
