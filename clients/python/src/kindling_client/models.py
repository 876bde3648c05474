"""What the service answers, typed. Members that a newer service adds are kept and do no harm.

Times are aware datetimes in UTC. Words such as states are plain strings, so that a new one is no error.
"""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

LabelsKind = Literal["classes", "boxes"]
Split = Literal["train", "validation", "test"]

#: States in which a task is over until someone resumes it.
OVER = frozenset({"complete", "cancelled", "failed"})


def _time(given: object) -> object:
    """Unix milliseconds to a time."""
    if isinstance(given, (int, float)) and not isinstance(given, bool):
        return datetime.fromtimestamp(given / 1000, timezone.utc)
    return given


Time = Annotated[datetime, BeforeValidator(_time)]


class Answered(BaseModel):
    """The base of what comes from the service."""

    model_config = ConfigDict(extra="allow", populate_by_name=True)


class Refusal(Answered):
    """Why a data set's content was refused."""

    code: str
    detail: str


class DatasetSummary(Answered):
    """What is in a sealed data set. Where the labels are boxes, counts are of pictures that show the class."""

    classes: list[str] = []
    examples: int = 0
    #: By class and split.
    counts: dict[str, dict[str, int]] = {}
    boxes: int | None = None
    box_counts: dict[str, dict[str, int]] | None = None
    #: What the audit found: duplicates, conflicts, broken files, warnings.
    audit: dict[str, Any] = {}


class DatasetFields(Answered):
    """A data set."""

    id: str
    name: str
    kind: str
    #: What its labels are: ``classes`` or ``boxes``.
    labels: str
    #: ``empty``, ``processing``, ``ready`` or ``refused``.
    state: str
    problem: Refusal | None = None
    #: SHA-256 over its classes and pictures, once sealed.
    hash: str | None = None
    summary: DatasetSummary | None = None
    created_at: Time
    updated_at: Time

    @property
    def classes(self) -> list[str]:
        """Its classes; none until it is sealed."""
        return self.summary.classes if self.summary else []


class Box(Answered):
    """Something in a picture; its place in shares of the upright picture's width and height."""

    class_: str = Field(alias="class")
    x: float
    y: float
    width: float
    height: float


class Example(Answered):
    """A labelled picture of a data set."""

    index: int
    path: str
    class_: str | None = Field(default=None, alias="class")
    boxes: list[Box] | None = None
    split: str
    sha256: str
    bytes: int
    width: int
    height: int
    #: Its group of look-alikes.
    group: int
    image: str


class ClassProbability(Answered):
    """A class and its probability, 0 to 1."""

    label: str
    probability: float


class Analysis(Answered):
    """How a search for doubtful labels, or for advice, stands."""

    id: str
    #: ``waiting``, ``running``, ``complete`` or ``failed``.
    state: str
    reason: str | None = None
    #: Share of the work done, 0 to 1.
    progress: float
    options: dict[str, Any]
    summary: dict[str, Any] | None = None
    created_at: Time
    updated_at: Time


class Doubt(Answered):
    """A label that is probably wrong."""

    place: int
    example: int
    path: str
    split: str
    given: str
    suggested: str
    #: How doubtful, 0 to 1.
    score: float
    probabilities: list[ClassProbability]
    image: str


class Advice(Analysis):
    """What would make a task's models better."""

    #: Once complete: ``advice``, ``classes``, ``doubled``, ``curve`` and how they were measured.
    report: dict[str, Any] | None = None


class LeaderboardItem(Answered):
    """A model on a task's leaderboard."""

    #: The model's id.
    model: str
    trial: str
    trial_number: int
    rung: int
    family: str
    #: Pixels a side of its input.
    resolution: int
    #: The objective on the validation split, and on the test split.
    value: float
    test_value: float
    parameters: int
    weights_bytes: int
    macs: int
    ram_bytes: int
    latency_ms: float
    pareto: bool
    picks: list[str]
    created_at: Time


class Progress(Answered):
    """How a study stands."""

    state: str
    reason: str | None = None
    #: How many trials are in each state.
    trials: dict[str, int] = {}
    trials_started: int = 0
    seconds_spent: float = 0.0
    seconds_total: float | None = None
    seconds_left: float | None = None
    trials_left: int | None = None
    best: LeaderboardItem | None = None


class TaskFields(Answered):
    """A task and its study. In lists ``progress`` and ``best`` are left out."""

    id: str
    spec: dict[str, Any]
    #: The data set's id.
    dataset: str
    #: ``queued``, ``running``, ``complete``, ``cancelled`` or ``failed``.
    state: str
    reason: str | None = None
    budget: dict[str, Any]
    spent_seconds: float
    created_at: Time
    started_at: Time | None = None
    ended_at: Time | None = None
    #: The id of the best model so far.
    best_model: str | None = None
    progress: Progress | None = None
    best: LeaderboardItem | None = None

    @property
    def name(self) -> str:
        """Its name for people."""
        return str(self.spec.get("name", self.id))

    @property
    def is_over(self) -> bool:
        """Whether nothing more happens unless it is resumed."""
        return self.state in OVER


class Trial(Answered):
    """One candidate."""

    id: str
    task: str
    number: int
    #: ``family`` and ``params``.
    genome: dict[str, Any]
    cost: dict[str, Any]
    state: str
    rung: int
    epochs: int
    target_epochs: int
    deaths: int
    worker: str | None = None
    reason: str | None = None
    value: float | None = None
    results: list[dict[str, Any]]
    created_at: Time
    updated_at: Time


class TaskEvent(BaseModel):
    """Something that happened to a task."""

    #: Rising; the last one, ``end``, has none.
    id: int | None
    #: ``task``, ``trial``, ``rung``, ``model``, ``files`` or ``end``.
    event: str
    data: dict[str, Any]


class File(Answered):
    """A file of a model."""

    name: str
    bytes: int
    sha256: str
    media_type: str
    about: str
    href: str


class Card(Answered):
    """A model's card: what it learned from, how good it is, what it costs, and how to check that."""

    model: str
    labels: list[str] = []
    task: dict[str, Any] = {}
    data: dict[str, Any] = {}
    #: Figures on the test split, with 95% intervals (``…_ci``).
    test: dict[str, Any] = {}
    validation: dict[str, Any] = {}
    cost: dict[str, Any] = {}
    files: list[dict[str, Any]] = []


class Object(Answered):
    """Something that a model found in a picture."""

    label: str
    #: How sure the model is, 0 to 1.
    score: float
    #: Left, top, right and bottom in shares of the picture's width and height.
    box: tuple[float, float, float, float]


class Decision(Answered):
    """Whether a class is there, by the threshold on the model's card."""

    label: str
    there: bool


class Answer(Answered):
    """What a model says of a picture: a class with all probabilities, or the objects in it."""

    #: The model's id.
    model: str
    label: str | None = None
    probabilities: list[ClassProbability] | None = None
    objects: list[Object] | None = None
    at_least: float | None = None
    #: Whether the picture is likely of none of the classes; ``None`` if the model cannot tell.
    unknown: bool | None = None
    decision: Decision | None = None
    width: int
    height: int
    milliseconds: float


class ImageAnswer(Answered):
    """The answer for one picture of several, or why there is none."""

    name: str | None = None
    answer: Answer | None = None
    #: A problem document.
    problem: dict[str, Any] | None = None


class Mistake(Answered):
    """A test picture that a model got wrong."""

    example: int
    truth: str
    predicted: str
    probability: float
    image: str


class Readiness(Answered):
    """What the service stands on."""

    ready: bool
    database: bool
    queue: bool
    files: bool
    disk: bool
    workers: int


class UploadPart(Answered):
    """A part of an upload that is there."""

    number: int
    bytes: int
    sha256: str


class Upload(Answered):
    """An archive that arrives in parts."""

    id: str
    dataset: str
    bytes: int
    #: Bytes of each part but the last.
    part_bytes: int
    parts: list[UploadPart]
    created_at: Time


class Webhook(Answered):
    """An address that is told of each change of a study's state and each model."""

    id: str
    url: str
    #: What messages are signed with; told once, when it is made.
    secret: str | None = None
    created_at: Time


class Delivery(Answered):
    """An event on its way to a webhook, or told."""

    #: ``task`` or ``model``.
    kind: str
    data: dict[str, Any]
    #: ``waiting``, ``delivered`` or ``given_up``.
    state: str
    #: Tries that failed, and what last went wrong.
    failures: int
    reason: str | None = None
    at: Time


class WebhookMessage(Answered):
    """What a webhook is told; ``verify_webhook`` reads it."""

    #: ``task`` or ``model``.
    type: str
    task: str
    #: The event's id, as in the event stream.
    id: int
    at: Time
    data: dict[str, Any]
