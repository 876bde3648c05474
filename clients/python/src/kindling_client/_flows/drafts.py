"""Draft data sets: pictures being labelled."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from .. import _upload
from .._exchange import Pages, call, call_bytes, call_nothing
from .._progress import Shown
from .._steps import Flow
from ..draft_models import Accepted, Added, DraftExample, DraftFields, Suggested
from ..models import Box, DatasetFields
from .shared import DatasetRef, DraftRef, ModelRef, at, id_of

DraftT = TypeVar("DraftT", bound=DraftFields)
DatasetT = TypeVar("DatasetT", bound=DatasetFields)

#: What a person says of a picture: its class, or the boxes in it (none: it shows nothing of the classes).
Label = str | Iterable[Box | Mapping[str, Any]]


def create(
    kind: type[DraftT], name: str | None, labels: str | None, classes: Iterable[str], start: DatasetRef | None
) -> Flow[DraftT]:
    wanted: dict[str, Any] = {"classes": list(classes)}
    if name is not None:
        wanted["name"] = name
    if labels is not None:
        wanted["labels"] = labels
    if start is not None:
        wanted["from"] = id_of(start)
    return call(kind, "createDraft", json=wanted)


def get(kind: type[DraftT], draft: DraftRef) -> Flow[DraftT]:
    return call(kind, "getDraft", at=at(draft))


def pages(kind: type[DraftT]) -> Pages[DraftT]:
    return Pages(kind, "listDrafts")


def delete(draft: DraftRef) -> Flow[None]:
    return call_nothing("deleteDraft", at=at(draft))


def add_classes(kind: type[DraftT], draft: DraftRef, classes: Iterable[str]) -> Flow[DraftT]:
    return call(kind, "addDraftClasses", at=at(draft), json={"add_classes": list(classes)})


def add_pictures(draft: DraftRef, source: str | os.PathLike[str], shown: Shown) -> Flow[Added]:
    return _upload.add_pictures(id_of(draft), source, shown)


def pictures(draft: DraftRef, state: str | None, order: str | None) -> Pages[DraftExample]:
    return Pages(DraftExample, "listDraftExamples", {"state": state, "order": order}, at=at(draft))


def picture(draft: DraftRef, number: int) -> Flow[DraftExample]:
    return call(DraftExample, "getDraftExample", at=at(draft, number=number))


def image(draft: DraftRef, number: int, size: int | None) -> Flow[bytes]:
    return call_bytes("getDraftImage", at=at(draft, number=number), params={"size": size})


def label(draft: DraftRef, number: int, said: Label) -> Flow[DraftExample]:
    if isinstance(said, str):
        return _patch(draft, number, {"class": said})
    boxes = [box.model_dump(mode="json", by_alias=True) if isinstance(box, Box) else dict(box) for box in said]
    return _patch(draft, number, {"boxes": boxes})


def skip(draft: DraftRef, number: int) -> Flow[DraftExample]:
    return _patch(draft, number, {"skip": True})


def clear(draft: DraftRef, number: int) -> Flow[DraftExample]:
    return _patch(draft, number, {"clear": True})


def _patch(draft: DraftRef, number: int, said: dict[str, Any]) -> Flow[DraftExample]:
    return call(DraftExample, "labelDraftExample", at=at(draft, number=number), json=said)


def suggest(draft: DraftRef, model: ModelRef, limit: int | None) -> Flow[Suggested]:
    wanted: dict[str, Any] = {"model": id_of(model)} | ({} if limit is None else {"limit": limit})
    return call(Suggested, "suggestLabels", at=at(draft), json=wanted)


def accept(draft: DraftRef, examples: Iterable[int] | None, at_most_doubt: float | None) -> Flow[Accepted]:
    wanted: dict[str, Any] = {}
    if examples is not None:
        wanted["examples"] = list(examples)
    if at_most_doubt is not None:
        wanted["at_most_doubt"] = at_most_doubt
    return call(Accepted, "acceptSuggestions", at=at(draft), json=wanted)


def seal(kind: type[DatasetT], draft: DraftRef, name: str | None) -> Flow[DatasetT]:
    return call(kind, "sealDraft", at=at(draft), json={} if name is None else {"name": name})
