"""Waiting for a task, and for a data set that is being read."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from ._events import BUSY, Events
from ._exchange import call
from ._progress import bar, of_task
from ._steps import Flow, Quiet, sleep
from .errors import Problem, ServiceUnreachable, TaskFailed, WaitTimeout
from .models import DatasetFields, TaskFields

TaskT = TypeVar("TaskT", bound=TaskFields)
DatasetT = TypeVar("DatasetT", bound=DatasetFields)

#: Seconds after which the line is written again though nothing happened.
TICK = 0.5
#: The least seconds between two looks at the task while events come thick.
LOOK = 0.3
#: Seconds without events after which the task is looked at, also if no event ever gets through.
UNHEARD = 5.0


def wait_for_task(
    kind: type[TaskT],
    task: str,
    timeout: float | None,
    shown: bool | Callable[[Any], None] | None,
) -> Flow[TaskT]:
    """The task when it is over. Its events say when to look; what is shown is what the service says then."""
    tell = shown if callable(shown) else None
    began = time.monotonic()
    events, watch = Events(task), _Watch(kind, task)
    with bar(False if callable(shown) else shown) as line:
        try:
            now = yield from watch.look()
            while True:
                if tell is not None and watch.is_new():
                    tell(now)
                line.show(of_task(now, watch.seconds()))
                if now.is_over:
                    break
                if timeout is not None and time.monotonic() - began > timeout:
                    raise WaitTimeout(f"task {task} is {now.state} after {timeout:g} seconds of waiting; it goes on")
                event = yield from events.next(TICK if timeout is None else min(TICK, timeout))
                if event is None:
                    # Someone may have resumed it since its last event.
                    events = Events(task, events.last)
                    now = yield from watch.look_again(now)
                elif watch.wants_look(heard=not isinstance(event, Quiet)):
                    now = yield from watch.look_again(now)
        finally:
            yield from events.close()
    if now.state == "failed":
        raise TaskFailed(now)
    return now


class _Watch(Generic[TaskT]):
    """The task as last seen."""

    def __init__(self, kind: type[TaskT], task: str) -> None:
        self._kind, self._task = kind, task
        self._seen: TaskT | None = None
        self._at = 0.0
        self._told = False
        self._due = False

    def look(self) -> Flow[TaskT]:
        seen = yield from call(self._kind, "getTask", at={"id": self._task})
        self._seen = seen
        self._at, self._told, self._due = time.monotonic(), False, False
        return seen

    def look_again(self, before: TaskT) -> Flow[TaskT]:
        """The task, or as it was if the service is away: how long it may be is for the events to say."""
        try:
            return (yield from self.look())
        except Problem as problem:
            if problem.status not in BUSY:
                raise
        except ServiceUnreachable:
            pass
        self._at, self._due = time.monotonic(), True
        return before

    def is_new(self) -> bool:
        told, self._told = self._told, True
        return not told

    def wants_look(self, *, heard: bool) -> bool:
        self._due = self._due or heard
        return time.monotonic() - self._at > (LOOK if self._due else UNHEARD)

    def seconds(self) -> float:
        """Seconds spent: as last told, and by the clock since."""
        if self._seen is None:
            return 0.0
        passed = time.monotonic() - self._at if self._seen.state == "running" else 0.0
        told = self._seen.progress.seconds_spent if self._seen.progress else self._seen.spent_seconds
        return told + passed


def wait_for_dataset(
    kind: type[DatasetT], dataset: str, timeout: float | None, look: Callable[[DatasetFields], None] = lambda _: None
) -> Flow[DatasetT]:
    """The data set when it is ready; raises ``Problem`` if its content was refused."""
    began, wait = time.monotonic(), 0.05
    while True:
        now = yield from call(kind, "getDataset", at={"id": dataset})
        look(now)
        if now.state == "ready":
            return now
        if now.problem is not None or now.state == "refused":
            raise refused(now)
        if now.state == "empty":
            raise Problem(
                type="/problems/dataset_not_ready",
                title="The data set is not ready",
                status=409,
                detail=f"data set {dataset} has no content yet; upload some",
                code="dataset_not_ready",
            )
        if timeout is not None and time.monotonic() - began > timeout:
            raise WaitTimeout(f"data set {dataset} is {now.state} after {timeout:g} seconds of waiting; it goes on")
        yield from sleep(wait)
        wait = min(wait * 1.5, 1.0)


def refused(dataset: DatasetFields) -> Problem:
    """Why its content was refused."""
    code = dataset.problem.code if dataset.problem else "refused"
    return Problem(
        type=f"/problems/{code}",
        title="The data set's content was refused",
        status=422,
        detail=dataset.problem.detail if dataset.problem else f"data set {dataset.id} was refused",
        code=code,
        instance=f"/v1/datasets/{dataset.id}",
    )
