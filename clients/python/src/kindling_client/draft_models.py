"""What the service answers of drafts, typed."""

from __future__ import annotations

from pydantic import Field

from .models import Answered, Box, Time


class DraftFields(Answered):
    """A draft data set: pictures being labelled."""

    id: str
    name: str
    labels: str
    classes: list[str]
    #: The data set it began from.
    from_: str | None = Field(default=None, alias="from")
    #: How many pictures: in all, and of each state.
    examples: int
    labelled: int
    skipped: int
    unlabelled: int
    #: Pictures without a label that a model suggests one for.
    suggested: int
    created_at: Time
    updated_at: Time


class Said(Answered):
    """What is said of a picture: a class, or boxes."""

    class_: str | None = Field(default=None, alias="class")
    boxes: list[Box] | None = None


class DraftExample(Answered):
    """A picture of a draft."""

    index: int
    path: str
    #: ``unlabelled``, ``labelled`` or ``skipped``.
    state: str
    label: Said | None = None
    suggestion: Said | None = None
    #: How unsure the model is that suggested, 0 to 1.
    doubt: float | None = None
    suggested_by: str | None = None
    width: int
    height: int
    image: str
    updated_at: Time


class Broken(Answered):
    """A file that could not be used, and why."""

    path: str
    reason: str


class Added(Answered):
    """What came of an upload to a draft."""

    added: int
    copies: int
    broken: list[Broken]
    other_files: int


class Suggested(Answered):
    """How far a model is with its suggestions."""

    asked: int
    remaining: int


class Accepted(Answered):
    """The numbers of the pictures whose suggestion became their label."""

    accepted: list[int]
