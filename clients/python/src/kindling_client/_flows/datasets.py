"""Data sets."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TypeVar

from .. import _upload, _wait
from .._exchange import Pages, call, call_bytes, call_nothing, collect
from .._progress import Shown
from .._steps import Flow
from ..models import Analysis, DatasetFields, Doubt, Example
from .shared import DatasetRef, analysed, at, id_of

DatasetT = TypeVar("DatasetT", bound=DatasetFields)

push = _upload.push


def create(kind: type[DatasetT], name: str, task_kind: str, labels: str | None) -> Flow[DatasetT]:
    wanted = {"name": name, "kind": task_kind} | ({"labels": labels} if labels else {})
    return call(kind, "createDataset", json=wanted)


def upload(
    kind: type[DatasetT], dataset: DatasetRef, source: str | os.PathLike[str], resume: str | None, shown: Shown
) -> Flow[DatasetT]:
    return _upload.upload(kind, id_of(dataset), source, resume, shown)


def get(kind: type[DatasetT], dataset: DatasetRef) -> Flow[DatasetT]:
    return call(kind, "getDataset", at=at(dataset))


def wait(kind: type[DatasetT], dataset: DatasetRef, timeout: float | None) -> Flow[DatasetT]:
    return _wait.wait_for_dataset(kind, id_of(dataset), timeout)


def pages(kind: type[DatasetT]) -> Pages[DatasetT]:
    return Pages(kind, "listDatasets")


def delete(dataset: DatasetRef) -> Flow[None]:
    return call_nothing("deleteDataset", at=at(dataset))


def examples(dataset: DatasetRef, class_: str | None, split: str | None, empty: bool | None) -> Pages[Example]:
    params: dict[str, object] = {"class": class_, "split": split, "empty": empty}
    return Pages(Example, "listExamples", params, at=at(dataset))


def image(dataset: DatasetRef, number: int, size: int | None) -> Flow[bytes]:
    return call_bytes("getExampleImage", at=at(dataset, number=number), params={"size": size})


def doubts(dataset: DatasetRef) -> Flow[list[Doubt]]:
    return collect(Pages(Doubt, "listDoubts", at=at(dataset)))


def find_doubts(
    dataset: DatasetRef, folds: int | None, epochs: int | None, seed: int | None, shown: Shown
) -> Flow[list[Doubt]]:
    options = {"folds": folds, "epochs": epochs, "seed": seed}
    yield from analysed(Analysis, "searchDoubts", "listDoubts", dataset, options, "doubtful labels", shown)
    return (yield from doubts(dataset))


def relabel(
    kind: type[DatasetT], dataset: DatasetRef, changes: Mapping[int, str | None], name: str | None
) -> Flow[DatasetT]:
    listed = [
        {"example": example, "remove": True} if label is None else {"example": example, "label": label}
        for example, label in changes.items()
    ]
    wanted = {"changes": listed} | ({"name": name} if name else {})
    return call(kind, "relabelDataset", at=at(dataset), json=wanted)
