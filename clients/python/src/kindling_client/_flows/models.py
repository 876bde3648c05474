"""Models."""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import TypeVar

from .. import _download
from .._exchange import Pages, call, call_bytes, call_nothing, collect
from .._progress import Shown
from .._steps import Flow, work
from ..models import Answer, Answered, Card, File, ImageAnswer, Mistake
from .shared import ModelRef, at, id_of

CardT = TypeVar("CardT", bound=Card)

#: A picture: its path, or its file's bytes.
Picture = str | os.PathLike[str] | bytes

#: Pictures and bytes in one request, at most: half of what a service takes unless told otherwise.
MOST_PICTURES = 32
MOST_BYTES = 64 << 20

#: The service tells pictures apart by their content.
PICTURE = {"Content-Type": "application/octet-stream"}


class _Answers(Answered):
    answers: list[ImageAnswer]


def get(kind: type[CardT], model: ModelRef) -> Flow[CardT]:
    return call(kind, "getModel", at=at(model))


def files(model: ModelRef) -> Flow[list[File]]:
    return _download.list_files(id_of(model))


def make_files(kind: type[CardT], model: ModelRef) -> Flow[CardT]:
    return call(kind, "makeFiles", at=at(model))


def delete(model: ModelRef) -> Flow[None]:
    return call_nothing("deleteModel", at=at(model))


def download(
    model: ModelRef, folder: str | os.PathLike[str], files: list[str] | None, shown: Shown
) -> Flow[list[Path]]:
    return _download.download(id_of(model), folder, files, shown)


def mistakes(model: ModelRef) -> Flow[list[Mistake]]:
    return collect(Pages(Mistake, "listMistakes", at=at(model)))


def predict(model: ModelRef, picture: Picture, at_least: float | None) -> Flow[Answer]:
    content = yield from work(partial(_bytes, picture))
    params = {"at_least": at_least}
    return (yield from call(Answer, "predict", at=at(model), params=params, content=content, headers=PICTURE))


def explain(model: ModelRef, picture: Picture, class_: str | None) -> Flow[bytes]:
    content = yield from work(partial(_bytes, picture))
    params = {"explain": "heatmap", "class": class_}
    return (yield from call_bytes("predict", at=at(model), params=params, content=content, headers=PICTURE))


def predict_many(model: ModelRef, pictures: Iterable[Picture], at_least: float | None) -> Flow[list[ImageAnswer]]:
    """Asks about so many pictures at a time that no request is too large; only those are in memory."""
    if isinstance(pictures, (str, bytes)):
        raise TypeError("`predict_many` takes several pictures; `predict` takes one")
    found: list[ImageAnswer] = []
    batch: list[tuple[str, str, bytes]] = []
    for number, picture in enumerate(pictures):
        content = yield from work(partial(_bytes, picture))
        full = len(batch) == MOST_PICTURES or sum(len(part[2]) for part in batch) + len(content) > MOST_BYTES
        if batch and full:
            found += yield from _ask(model, batch, at_least)
            batch = []
        name = f"picture {number}" if isinstance(picture, bytes) else os.fspath(picture)
        batch.append(("image", os.path.basename(name), content))
    if batch:
        found += yield from _ask(model, batch, at_least)
    return found


def _ask(model: ModelRef, batch: list[tuple[str, str, bytes]], at_least: float | None) -> Flow[list[ImageAnswer]]:
    answered = yield from call(_Answers, "predict", at=at(model), params={"at_least": at_least}, form=tuple(batch))
    return answered.answers


def _bytes(picture: Picture) -> bytes:
    return picture if isinstance(picture, bytes) else Path(picture).read_bytes()
