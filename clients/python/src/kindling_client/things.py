"""Data sets, tasks, models and drafts that know their client, so that one can go on from them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, PrivateAttr

from ._flows.drafts import Label
from ._flows.models import Picture
from ._flows.shared import ModelRef
from .draft_models import Accepted, Added, DraftExample, DraftFields, Suggested
from .models import (
    Advice,
    Answer,
    Card,
    DatasetFields,
    Doubt,
    Example,
    File,
    ImageAnswer,
    LeaderboardItem,
    Mistake,
    TaskEvent,
    TaskFields,
    Trial,
)

if TYPE_CHECKING:
    from .client import Kindling

T = TypeVar("T")


class _Bound(BaseModel):
    _client: Kindling = PrivateAttr()


def bind(client: Kindling, value: T) -> T:
    """Lets a value know its client."""
    if isinstance(value, _Bound):
        value._client = client
    return value


class Dataset(_Bound, DatasetFields):
    """A data set."""

    def refresh(self) -> Dataset:
        """As it is now."""
        return self._client.datasets.get(self)

    def wait(self, *, timeout: float | None = None) -> Dataset:
        """Waits until its content was read."""
        return self._client.datasets.wait(self, timeout=timeout)

    def examples(
        self, *, class_: str | None = None, split: str | None = None, empty: bool | None = None
    ) -> Iterator[Example]:
        """Its pictures."""
        return self._client.datasets.examples(self, class_=class_, split=split, empty=empty)

    def image(self, number: int, *, size: int | None = None) -> bytes:
        """A picture's file, or a small JPEG."""
        return self._client.datasets.image(self, number, size=size)

    def find_doubts(self, *, progress: bool | None = None) -> list[Doubt]:
        """Looks for labels that are probably wrong, the most doubtful first."""
        return self._client.datasets.find_doubts(self, progress=progress)

    def relabel(self, changes: Mapping[int, str | None], *, name: str | None = None) -> Dataset:
        """Makes a new version: examples by number with their new class, ``None`` to leave one out."""
        return self._client.datasets.relabel(self, changes, name=name)

    def delete(self) -> None:
        """Deletes it, if no task uses it."""
        self._client.datasets.delete(self)

    def create_task(self, spec: Mapping[str, Any]) -> Task:
        """Posts a task on it; ``version``, ``name``, ``kind`` and ``dataset`` are its own where not said."""
        usual = {"version": 1, "name": self.name, "kind": self.kind, "dataset": self.id}
        return self._client.tasks.create({**usual, **spec})


class Task(_Bound, TaskFields):
    """A task and its study."""

    def refresh(self) -> Task:
        """As it is now."""
        return self._client.tasks.get(self)

    def wait(self, *, timeout: float | None = None, progress: bool | Callable[[Task], None] | None = None) -> Task:
        """Waits until it is over."""
        return self._client.tasks.wait(self, timeout=timeout, progress=progress)

    def cancel(self) -> Task:
        """Stops the study; what was found is kept."""
        return self._client.tasks.cancel(self)

    def delete(self) -> None:
        """Deletes it, if it is over, with its trials and models."""
        self._client.tasks.delete(self)

    def resume(self, *, seconds: float | None = None, trials: int | None = None) -> Task:
        """Goes on with a study that is over, with more budget."""
        return self._client.tasks.resume(self, seconds=seconds, trials=trials)

    def events(self, *, after: int | None = None) -> Iterator[TaskEvent]:
        """What happens, as it happens."""
        return self._client.tasks.events(self, after=after)

    def trials(self) -> Iterator[Trial]:
        """Its trials, by number."""
        return self._client.tasks.trials(self)

    def leaderboard(self) -> list[LeaderboardItem]:
        """Its models, the best first."""
        return self._client.tasks.leaderboard(self)

    def download(
        self, folder: str | os.PathLike[str], *, files: list[str] | None = None, progress: bool | None = None
    ) -> list[Path]:
        """Downloads the best model so far."""
        return self._client.tasks.download(self, folder, files=files, progress=progress)

    def advise(self, *, progress: bool | None = None) -> Advice:
        """Measures what would make the models better."""
        return self._client.tasks.advise(self, progress=progress)


class Model(_Bound, Card):
    """A model: its card, and what it can do."""

    @property
    def id(self) -> str:
        """Its id."""
        return self.model

    def list_files(self) -> list[File]:
        """Its files."""
        return self._client.models.files(self)

    def make_files(self) -> Model:
        """Makes all its files."""
        return self._client.models.make_files(self)

    def delete(self) -> None:
        """Deletes it with its files, if its task is over."""
        self._client.models.delete(self)

    def download(
        self, folder: str | os.PathLike[str], *, files: list[str] | None = None, progress: bool | None = None
    ) -> list[Path]:
        """Downloads its files, or those named, to a folder."""
        return self._client.models.download(self, folder, files=files, progress=progress)

    def predict(self, picture: Picture, *, at_least: float | None = None) -> Answer:
        """What it says of a picture."""
        return self._client.models.predict(self, picture, at_least=at_least)

    def predict_many(self, pictures: Iterable[Picture], *, at_least: float | None = None) -> list[ImageAnswer]:
        """What it says of many."""
        return self._client.models.predict_many(self, pictures, at_least=at_least)

    def explain(self, picture: Picture, *, class_: str | None = None) -> bytes:
        """The picture with what speaks for the class painted over it, as PNG."""
        return self._client.models.explain(self, picture, class_=class_)

    def mistakes(self) -> list[Mistake]:
        """The test pictures that it gets wrong."""
        return self._client.models.mistakes(self)


class Draft(_Bound, DraftFields):
    """A draft data set."""

    def refresh(self) -> Draft:
        """As it is now."""
        return self._client.drafts.get(self)

    def add_classes(self, classes: Iterable[str]) -> Draft:
        """Adds classes to choose from."""
        return self._client.drafts.add_classes(self, classes)

    def add_pictures(self, source: str | os.PathLike[str], *, progress: bool | None = None) -> Added:
        """Adds a folder's or an archive's pictures, or one picture."""
        return self._client.drafts.add_pictures(self, source, progress=progress)

    def pictures(self, *, state: str | None = None, order: str | None = None) -> Iterator[DraftExample]:
        """Its pictures."""
        return self._client.drafts.pictures(self, state=state, order=order)

    def image(self, number: int, *, size: int | None = None) -> bytes:
        """A picture's file, or a small JPEG."""
        return self._client.drafts.image(self, number, size=size)

    def label(self, number: int, said: Label) -> DraftExample:
        """Keeps what a person says of a picture: its class, or the boxes in it."""
        return self._client.drafts.label(self, number, said)

    def skip(self, number: int) -> DraftExample:
        """Leaves a picture out."""
        return self._client.drafts.skip(self, number)

    def suggest(self, model: ModelRef, *, limit: int | None = None) -> Suggested:
        """Asks a model about pictures without a label."""
        return self._client.drafts.suggest(self, model, limit=limit)

    def accept(self, *, examples: Iterable[int] | None = None, at_most_doubt: float | None = None) -> Accepted:
        """Makes suggestions labels."""
        return self._client.drafts.accept(self, examples=examples, at_most_doubt=at_most_doubt)

    def seal(self, *, name: str | None = None) -> Dataset:
        """Makes a data set of the labelled pictures; the draft stays."""
        return self._client.drafts.seal(self, name=name)

    def delete(self) -> None:
        """Deletes it; data sets made of it stay."""
        self._client.drafts.delete(self)
