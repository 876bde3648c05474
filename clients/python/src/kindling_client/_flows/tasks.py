"""Tasks."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from .. import _download, _wait
from .._events import Events
from .._exchange import Pages, call, call_nothing, collect
from .._progress import Shown
from .._steps import Flow
from ..errors import KindlingError
from ..models import Advice, DatasetFields, LeaderboardItem, TaskFields, Trial
from ..spec import TaskSpec
from .shared import TaskRef, analysed, at, id_of

TaskT = TypeVar("TaskT", bound=TaskFields)


def create(kind: type[TaskT], spec: TaskSpec | Mapping[str, Any], key: str | None) -> Flow[TaskT]:
    return call(kind, "createTask", json=spec_json(spec), key=key)


def spec_json(spec: TaskSpec | Mapping[str, Any]) -> dict[str, Any]:
    """As it is sent. Where a data set's id belongs, the data set does as well."""
    if isinstance(spec, TaskSpec):
        return spec.to_json()
    given = spec.get("dataset")
    return {**spec, "dataset": given.id} if isinstance(given, DatasetFields) else dict(spec)


def get(kind: type[TaskT], task: TaskRef) -> Flow[TaskT]:
    return call(kind, "getTask", at=at(task))


def pages(kind: type[TaskT]) -> Pages[TaskT]:
    return Pages(kind, "listTasks")


def wait(
    kind: type[TaskT], task: TaskRef, timeout: float | None, progress: bool | Callable[[TaskT], None] | None
) -> Flow[TaskT]:
    return _wait.wait_for_task(kind, id_of(task), timeout, progress)


def cancel(kind: type[TaskT], task: TaskRef) -> Flow[TaskT]:
    return call(kind, "cancelTask", at=at(task))


def delete(task: TaskRef) -> Flow[None]:
    return call_nothing("deleteTask", at=at(task))


def resume(kind: type[TaskT], task: TaskRef, seconds: float | None, trials: int | None) -> Flow[TaskT]:
    more = {name: value for name, value in (("seconds", seconds), ("trials", trials)) if value is not None}
    return call(kind, "resumeTask", at=at(task), json=more)


def events(task: TaskRef, after: int | None) -> Events:
    return Events(id_of(task), after)


def trials(task: TaskRef) -> Pages[Trial]:
    return Pages(Trial, "listTrials", at=at(task))


def leaderboard(task: TaskRef) -> Flow[list[LeaderboardItem]]:
    return collect(Pages(LeaderboardItem, "getLeaderboard", at=at(task)))


def download(task: TaskRef, folder: str | os.PathLike[str], files: list[str] | None, shown: Shown) -> Flow[list[Path]]:
    """The files of the best model so far."""
    now = yield from get(TaskFields, task)
    if now.best_model is None:
        raise KindlingError(f"task {now.id} ({now.name}) is {now.state} and has no model yet")
    return (yield from _download.download(now.best_model, folder, files, shown))


def advice(task: TaskRef) -> Flow[Advice]:
    return call(Advice, "getAdvice", at=at(task))


def advise(task: TaskRef, repeats: int | None, epochs: int | None, shown: Shown) -> Flow[Advice]:
    options = {"repeats": repeats, "epochs": epochs}
    return analysed(Advice, "seekAdvice", "getAdvice", task, options, "advice", shown)
