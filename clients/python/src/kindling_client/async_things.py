"""Data sets, tasks, models and drafts that know their client, so that one can go on from them."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
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
    from .async_client import AsyncKindling

T = TypeVar("T")


class _Bound(BaseModel):
    _client: AsyncKindling = PrivateAttr()


def bind(client: AsyncKindling, value: T) -> T:
    """Lets a value know its client."""
    if isinstance(value, _Bound):
        value._client = client
    return value


class AsyncDataset(_Bound, DatasetFields):
    """A data set."""

    async def refresh(self) -> AsyncDataset:
        """As it is now."""
        return await self._client.datasets.get(self)

    async def wait(self, *, timeout: float | None = None) -> AsyncDataset:
        """Waits until its content was read."""
        return await self._client.datasets.wait(self, timeout=timeout)

    def examples(
        self, *, class_: str | None = None, split: str | None = None, empty: bool | None = None
    ) -> AsyncIterator[Example]:
        """Its pictures."""
        return self._client.datasets.examples(self, class_=class_, split=split, empty=empty)

    async def image(self, number: int, *, size: int | None = None) -> bytes:
        """A picture's file, or a small JPEG."""
        return await self._client.datasets.image(self, number, size=size)

    async def find_doubts(self, *, progress: bool | None = None) -> list[Doubt]:
        """Looks for labels that are probably wrong, the most doubtful first."""
        return await self._client.datasets.find_doubts(self, progress=progress)

    async def relabel(self, changes: Mapping[int, str | None], *, name: str | None = None) -> AsyncDataset:
        """Makes a new version: examples by number with their new class, ``None`` to leave one out."""
        return await self._client.datasets.relabel(self, changes, name=name)

    async def delete(self) -> None:
        """Deletes it, if no task uses it."""
        await self._client.datasets.delete(self)

    async def create_task(self, spec: Mapping[str, Any]) -> AsyncTask:
        """Posts a task on it; ``version``, ``name``, ``kind`` and ``dataset`` are its own where not said."""
        usual = {"version": 1, "name": self.name, "kind": self.kind, "dataset": self.id}
        return await self._client.tasks.create({**usual, **spec})


class AsyncTask(_Bound, TaskFields):
    """A task and its study."""

    async def refresh(self) -> AsyncTask:
        """As it is now."""
        return await self._client.tasks.get(self)

    async def wait(
        self, *, timeout: float | None = None, progress: bool | Callable[[AsyncTask], None] | None = None
    ) -> AsyncTask:
        """Waits until it is over."""
        return await self._client.tasks.wait(self, timeout=timeout, progress=progress)

    async def cancel(self) -> AsyncTask:
        """Stops the study; what was found is kept."""
        return await self._client.tasks.cancel(self)

    async def delete(self) -> None:
        """Deletes it, if it is over, with its trials and models."""
        await self._client.tasks.delete(self)

    async def resume(self, *, seconds: float | None = None, trials: int | None = None) -> AsyncTask:
        """Goes on with a study that is over, with more budget."""
        return await self._client.tasks.resume(self, seconds=seconds, trials=trials)

    def events(self, *, after: int | None = None) -> AsyncIterator[TaskEvent]:
        """What happens, as it happens."""
        return self._client.tasks.events(self, after=after)

    def trials(self) -> AsyncIterator[Trial]:
        """Its trials, by number."""
        return self._client.tasks.trials(self)

    async def leaderboard(self) -> list[LeaderboardItem]:
        """Its models, the best first."""
        return await self._client.tasks.leaderboard(self)

    async def download(
        self, folder: str | os.PathLike[str], *, files: list[str] | None = None, progress: bool | None = None
    ) -> list[Path]:
        """Downloads the best model so far."""
        return await self._client.tasks.download(self, folder, files=files, progress=progress)

    async def advise(self, *, progress: bool | None = None) -> Advice:
        """Measures what would make the models better."""
        return await self._client.tasks.advise(self, progress=progress)


class AsyncModel(_Bound, Card):
    """A model: its card, and what it can do."""

    @property
    def id(self) -> str:
        """Its id."""
        return self.model

    async def list_files(self) -> list[File]:
        """Its files."""
        return await self._client.models.files(self)

    async def make_files(self) -> AsyncModel:
        """Makes all its files."""
        return await self._client.models.make_files(self)

    async def delete(self) -> None:
        """Deletes it with its files, if its task is over."""
        await self._client.models.delete(self)

    async def download(
        self, folder: str | os.PathLike[str], *, files: list[str] | None = None, progress: bool | None = None
    ) -> list[Path]:
        """Downloads its files, or those named, to a folder."""
        return await self._client.models.download(self, folder, files=files, progress=progress)

    async def predict(self, picture: Picture, *, at_least: float | None = None) -> Answer:
        """What it says of a picture."""
        return await self._client.models.predict(self, picture, at_least=at_least)

    async def predict_many(self, pictures: Iterable[Picture], *, at_least: float | None = None) -> list[ImageAnswer]:
        """What it says of many."""
        return await self._client.models.predict_many(self, pictures, at_least=at_least)

    async def explain(self, picture: Picture, *, class_: str | None = None) -> bytes:
        """The picture with what speaks for the class painted over it, as PNG."""
        return await self._client.models.explain(self, picture, class_=class_)

    async def mistakes(self) -> list[Mistake]:
        """The test pictures that it gets wrong."""
        return await self._client.models.mistakes(self)


class AsyncDraft(_Bound, DraftFields):
    """A draft data set."""

    async def refresh(self) -> AsyncDraft:
        """As it is now."""
        return await self._client.drafts.get(self)

    async def add_classes(self, classes: Iterable[str]) -> AsyncDraft:
        """Adds classes to choose from."""
        return await self._client.drafts.add_classes(self, classes)

    async def add_pictures(self, source: str | os.PathLike[str], *, progress: bool | None = None) -> Added:
        """Adds a folder's or an archive's pictures, or one picture."""
        return await self._client.drafts.add_pictures(self, source, progress=progress)

    def pictures(self, *, state: str | None = None, order: str | None = None) -> AsyncIterator[DraftExample]:
        """Its pictures."""
        return self._client.drafts.pictures(self, state=state, order=order)

    async def image(self, number: int, *, size: int | None = None) -> bytes:
        """A picture's file, or a small JPEG."""
        return await self._client.drafts.image(self, number, size=size)

    async def label(self, number: int, said: Label) -> DraftExample:
        """Keeps what a person says of a picture: its class, or the boxes in it."""
        return await self._client.drafts.label(self, number, said)

    async def skip(self, number: int) -> DraftExample:
        """Leaves a picture out."""
        return await self._client.drafts.skip(self, number)

    async def suggest(self, model: ModelRef, *, limit: int | None = None) -> Suggested:
        """Asks a model about pictures without a label."""
        return await self._client.drafts.suggest(self, model, limit=limit)

    async def accept(self, *, examples: Iterable[int] | None = None, at_most_doubt: float | None = None) -> Accepted:
        """Makes suggestions labels."""
        return await self._client.drafts.accept(self, examples=examples, at_most_doubt=at_most_doubt)

    async def seal(self, *, name: str | None = None) -> AsyncDataset:
        """Makes a data set of the labelled pictures; the draft stays."""
        return await self._client.drafts.seal(self, name=name)

    async def delete(self) -> None:
        """Deletes it; data sets made of it stay."""
        await self._client.drafts.delete(self)
