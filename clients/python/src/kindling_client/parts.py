"""What a client offers, by what it is about."""

from __future__ import annotations

import builtins
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from . import _flows as flows
from ._flows.drafts import Label
from ._flows.models import Picture
from ._flows.shared import DatasetRef, DraftRef, ModelRef, TaskRef
from ._flows.webhooks import WebhookRef
from .draft_models import Accepted, Added, DraftExample, Suggested
from .models import (
    Advice,
    Answer,
    Delivery,
    Doubt,
    Example,
    File,
    ImageAnswer,
    LeaderboardItem,
    Mistake,
    TaskEvent,
    Trial,
    Webhook,
)
from .spec import TaskSpec
from .things import Dataset, Draft, Model, Task, bind

T = TypeVar("T")

if TYPE_CHECKING:
    from .client import Kindling


class _Part:
    def __init__(self, client: Kindling) -> None:
        self._client = client


class Datasets(_Part):
    """Data sets."""

    def push(
        self,
        source: str | os.PathLike[str],
        *,
        name: str | None = None,
        kind: str = "image-classification",
        labels: str | None = None,
        progress: bool | None = None,
    ) -> Dataset:
        """Makes a data set of a folder or an archive and waits until it is ready.

        A folder has a folder for each class (optionally inside train, validation and test), a ``labels.csv``, or
        annotations of boxes; it is packed to a temporary zip where ``tempfile`` puts such, memory stays flat. Hidden
        files are left out. ``kind`` is that of the tasks it is for. If the content is refused, the reason is raised as
        ``Problem`` and no data set stays behind.
        """
        return self._client._run(flows.datasets.push(Dataset, source, name, kind, labels, progress))

    def create(self, name: str, *, kind: str = "image-classification", labels: str | None = None) -> Dataset:
        """Makes a data set without content; ``upload`` fills it."""
        return self._client._run(flows.datasets.create(Dataset, name, kind, labels))

    def upload(
        self,
        dataset: DatasetRef,
        source: str | os.PathLike[str],
        *,
        resume: str | None = None,
        progress: bool | None = None,
    ) -> Dataset:
        """Fills a data set that is empty or was refused, as ``push`` does.

        Parts that were sent are kept for a week: ``resume`` goes on with the ``upload`` of an ``UploadInterrupted``.
        """
        return self._client._run(flows.datasets.upload(Dataset, dataset, source, resume, progress))

    def get(self, dataset: DatasetRef) -> Dataset:
        """State, classes, counts by split and audit."""
        return self._client._run(flows.datasets.get(Dataset, dataset))

    def wait(self, dataset: DatasetRef, *, timeout: float | None = None) -> Dataset:
        """Waits until its content was read; raises ``Problem`` if it was refused."""
        return self._client._run(flows.datasets.wait(Dataset, dataset, timeout))

    def list(self) -> Iterator[Dataset]:
        """Data sets, newest first."""
        return self._client._iterate(flows.datasets.pages(Dataset))

    def delete(self, dataset: DatasetRef) -> None:
        """Deletes a data set that no task uses."""
        self._client._run(flows.datasets.delete(dataset))

    def examples(
        self,
        dataset: DatasetRef,
        *,
        class_: str | None = None,
        split: str | None = None,
        empty: bool | None = None,
    ) -> Iterator[Example]:
        """Its pictures; ``empty`` are those without boxes."""
        return self._client._iterate(flows.datasets.examples(dataset, class_, split, empty))

    def image(self, dataset: DatasetRef, number: int, *, size: int | None = None) -> bytes:
        """A picture's file, or a JPEG whose longer side has at most ``size`` pixels, 16 to 1024."""
        return self._client._run(flows.datasets.image(dataset, number, size))

    def find_doubts(
        self,
        dataset: DatasetRef,
        *,
        folds: int | None = None,
        epochs: int | None = None,
        seed: int | None = None,
        progress: bool | None = None,
    ) -> builtins.list[Doubt]:
        """Looks for labels that are probably wrong, the most doubtful first. It trains networks and takes minutes."""
        return self._client._run(flows.datasets.find_doubts(dataset, folds, epochs, seed, progress))

    def doubts(self, dataset: DatasetRef) -> builtins.list[Doubt]:
        """What the newest search for doubtful labels found; none while it runs."""
        return self._client._run(flows.datasets.doubts(dataset))

    def relabel(self, dataset: DatasetRef, changes: Mapping[int, str | None], *, name: str | None = None) -> Dataset:
        """Makes a new version: examples by number with their new class, ``None`` to leave one out."""
        return self._client._run(flows.datasets.relabel(Dataset, dataset, changes, name))


class Tasks(_Part):
    """Tasks and their studies."""

    def create(self, spec: TaskSpec | Mapping[str, Any], *, idempotency_key: str | None = None) -> Task:
        """Posts a task; its study starts at once.

        A specification that breaks rules is refused with all of them in ``Problem.violations``. The same
        ``idempotency_key`` gives the same task, also from another process, for 24 hours.
        """
        return self._client._run(flows.tasks.create(Task, spec, idempotency_key))

    def get(self, task: TaskRef) -> Task:
        """State, progress and the best model so far."""
        return self._client._run(flows.tasks.get(Task, task))

    def list(self) -> Iterator[Task]:
        """Tasks, newest first."""
        return self._client._iterate(flows.tasks.pages(Task))

    def wait(
        self,
        task: TaskRef,
        *,
        timeout: float | None = None,
        progress: bool | Callable[[Task], None] | None = None,
    ) -> Task:
        """Waits until it is over; lost connections and a service that is started again do no harm.

        ``progress`` is shown in notebooks and terminals, with ``True`` everywhere, with ``False`` nowhere; a function
        is called with the task whenever it was looked at. Raises ``TaskFailed`` if it ends without a model and
        ``WaitTimeout`` after ``timeout`` seconds; a cancelled task is returned with what was found.
        """
        return self._client._run(flows.tasks.wait(Task, task, timeout, self._told(progress)))

    def _told(self, progress: bool | Callable[[Task], None] | None) -> bool | Callable[[Task], None] | None:
        if not callable(progress):
            return progress
        tell = progress
        return lambda task: tell(bind(self._client, task))

    def cancel(self, task: TaskRef) -> Task:
        """Stops the study; what was found is kept."""
        return self._client._run(flows.tasks.cancel(Task, task))

    def delete(self, task: TaskRef) -> None:
        """Deletes one that is over, with its trials and models."""
        self._client._run(flows.tasks.delete(task))

    def resume(self, task: TaskRef, *, seconds: float | None = None, trials: int | None = None) -> Task:
        """Goes on with a study that is over, with more budget."""
        return self._client._run(flows.tasks.resume(Task, task, seconds, trials))

    def events(self, task: TaskRef, *, after: int | None = None) -> Iterator[TaskEvent]:
        """What happens, as it happens, after the event with this id; the last is ``end``."""
        return self._client._follow(flows.tasks.events(task, after))

    def trials(self, task: TaskRef) -> Iterator[Trial]:
        """Its trials, by number."""
        return self._client._iterate(flows.tasks.trials(task))

    def leaderboard(self, task: TaskRef) -> builtins.list[LeaderboardItem]:
        """Its models, the best first."""
        return self._client._run(flows.tasks.leaderboard(task))

    def download(
        self,
        task: TaskRef,
        folder: str | os.PathLike[str],
        *,
        files: builtins.list[str] | None = None,
        progress: bool | None = None,
    ) -> builtins.list[Path]:
        """Downloads the best model so far, as ``models.download`` does."""
        return self._client._run(flows.tasks.download(task, folder, files, progress))

    def advise(
        self,
        task: TaskRef,
        *,
        repeats: int | None = None,
        epochs: int | None = None,
        progress: bool | None = None,
    ) -> Advice:
        """Measures what would make the models better. It trains networks and takes minutes."""
        return self._client._run(flows.tasks.advise(task, repeats, epochs, progress))

    def advice(self, task: TaskRef) -> Advice:
        """How the newest measurement stands, and what it found."""
        return self._client._run(flows.tasks.advice(task))


class Models(_Part):
    """Models: files, answers, mistakes. A model is named by its id, its card, or its line of a leaderboard."""

    def get(self, model: ModelRef) -> Model:
        """The model with its card."""
        return self._client._run(flows.models.get(Model, model))

    def files(self, model: ModelRef) -> list[File]:
        """Its files."""
        return self._client._run(flows.models.files(model))

    def make_files(self, model: ModelRef) -> Model:
        """Makes all its files, also those that a study makes only for the models it picks."""
        return self._client._run(flows.models.make_files(Model, model))

    def delete(self, model: ModelRef) -> None:
        """Deletes one of a task that is over, with its files."""
        self._client._run(flows.models.delete(model))

    def download(
        self,
        model: ModelRef,
        folder: str | os.PathLike[str],
        *,
        files: list[str] | None = None,
        progress: bool | None = None,
    ) -> list[Path]:
        """Downloads its files, or those named, to a folder.

        Each is written to a temporary name, gone on with after a lost connection or a killed process, checked against
        the SHA-256 that the service lists, then renamed.
        """
        return self._client._run(flows.models.download(model, folder, files, progress))

    def predict(self, model: ModelRef, picture: Picture, *, at_least: float | None = None) -> Answer:
        """What the model says of a picture: a path, or the file's bytes.

        ``at_least`` is the least score of objects, 0 to 1; that on the card if not said.
        """
        return self._client._run(flows.models.predict(model, picture, at_least))

    def predict_many(
        self, model: ModelRef, pictures: Iterable[Picture], *, at_least: float | None = None
    ) -> list[ImageAnswer]:
        """The same for many, in their order. One that cannot be read has a ``problem`` in place of its answer."""
        return self._client._run(flows.models.predict_many(model, pictures, at_least))

    def explain(self, model: ModelRef, picture: Picture, *, class_: str | None = None) -> bytes:
        """The picture with what speaks for the class (the likeliest if not said) painted over it, as PNG."""
        return self._client._run(flows.models.explain(model, picture, class_))

    def mistakes(self, model: ModelRef) -> list[Mistake]:
        """The test pictures that it gets wrong."""
        return self._client._run(flows.models.mistakes(model))


class Drafts(_Part):
    """Draft data sets: pictures being labelled."""

    def create(
        self,
        name: str | None = None,
        *,
        labels: str | None = None,
        classes: Iterable[str] = (),
        start: DatasetRef | None = None,
    ) -> Draft:
        """Makes a draft, empty or starting with a sealed data set's pictures and labels."""
        return self._client._run(flows.drafts.create(Draft, name, labels, classes, start))

    def get(self, draft: DraftRef) -> Draft:
        """Classes, and how far the labelling is."""
        return self._client._run(flows.drafts.get(Draft, draft))

    def list(self) -> Iterator[Draft]:
        """Drafts, newest first."""
        return self._client._iterate(flows.drafts.pages(Draft))

    def delete(self, draft: DraftRef) -> None:
        """Deletes a draft; data sets made of it stay."""
        self._client._run(flows.drafts.delete(draft))

    def add_classes(self, draft: DraftRef, classes: Iterable[str]) -> Draft:
        """Adds classes to choose from."""
        return self._client._run(flows.drafts.add_classes(Draft, draft, classes))

    def add_pictures(self, draft: DraftRef, source: str | os.PathLike[str], *, progress: bool | None = None) -> Added:
        """Adds a folder's or an archive's pictures, or one picture."""
        return self._client._run(flows.drafts.add_pictures(draft, source, progress))

    def pictures(
        self, draft: DraftRef, *, state: str | None = None, order: str | None = None
    ) -> Iterator[DraftExample]:
        """Its pictures: those ``unlabelled``, ``labelled`` or ``skipped``; by ``number`` or ``doubt``."""
        return self._client._iterate(flows.drafts.pictures(draft, state, order))

    def picture(self, draft: DraftRef, number: int) -> DraftExample:
        """One picture."""
        return self._client._run(flows.drafts.picture(draft, number))

    def image(self, draft: DraftRef, number: int, *, size: int | None = None) -> bytes:
        """A picture's file, or a JPEG whose longer side has at most ``size`` pixels, 16 to 2048."""
        return self._client._run(flows.drafts.image(draft, number, size))

    def label(self, draft: DraftRef, number: int, said: Label) -> DraftExample:
        """Keeps what a person says of a picture: its class, or the boxes in it."""
        return self._client._run(flows.drafts.label(draft, number, said))

    def skip(self, draft: DraftRef, number: int) -> DraftExample:
        """Leaves a picture out."""
        return self._client._run(flows.drafts.skip(draft, number))

    def clear(self, draft: DraftRef, number: int) -> DraftExample:
        """Takes back what was said of a picture."""
        return self._client._run(flows.drafts.clear(draft, number))

    def suggest(self, draft: DraftRef, model: ModelRef, *, limit: int | None = None) -> Suggested:
        """Asks a model about pictures without a label; again while ``remaining`` is not 0."""
        return self._client._run(flows.drafts.suggest(draft, model, limit))

    def accept(
        self, draft: DraftRef, *, examples: Iterable[int] | None = None, at_most_doubt: float | None = None
    ) -> Accepted:
        """Makes suggestions labels, of pictures that have none."""
        return self._client._run(flows.drafts.accept(draft, examples, at_most_doubt))

    def seal(self, draft: DraftRef, *, name: str | None = None) -> Dataset:
        """Makes a data set of the labelled pictures; the draft stays."""
        return self._client._run(flows.drafts.seal(Dataset, draft, name))


class Webhooks(_Part):
    """Addresses that are told of each change of a study's state and each model; see ``verify_webhook``."""

    def create(self, url: str) -> Webhook:
        """Makes a webhook: https, and a host of the public internet. Its ``secret`` is told this once."""
        return self._client._run(flows.webhooks.create(url))

    def get(self, webhook: WebhookRef) -> Webhook:
        """One webhook."""
        return self._client._run(flows.webhooks.get(webhook))

    def list(self) -> builtins.list[Webhook]:
        """Every webhook, oldest first."""
        return self._client._run(flows.webhooks.every())

    def deliveries(self, webhook: WebhookRef) -> builtins.list[Delivery]:
        """What was told last, and what went wrong; the newest first."""
        return self._client._run(flows.webhooks.deliveries(webhook))

    def delete(self, webhook: WebhookRef) -> None:
        """Removes a webhook and what was to be told to it."""
        self._client._run(flows.webhooks.delete(webhook))
