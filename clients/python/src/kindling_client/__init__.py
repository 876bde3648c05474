"""Python client of Kindling.

>>> from kindling_client import Kindling
>>> kindling = Kindling()
>>> dataset = kindling.datasets.push("pictures")
>>> task = dataset.create_task({"constraints": {"max_weights_bytes": 100_000}, "budget": {"seconds": 60}})
>>> task.wait().download("model")
"""

from ._settings import VERSION as __version__
from .async_client import AsyncKindling
from .async_things import AsyncDataset, AsyncDraft, AsyncModel, AsyncTask
from .client import Kindling
from .errors import (
    ChecksumMismatch,
    KindlingError,
    Problem,
    ServiceUnreachable,
    TaskFailed,
    UnexpectedAnswer,
    Violation,
    WaitTimeout,
)
from .models import (
    Advice,
    Answer,
    Box,
    Card,
    Doubt,
    Example,
    File,
    ImageAnswer,
    LeaderboardItem,
    Mistake,
    Progress,
    TaskEvent,
    Trial,
)
from .spec import Budget, Constraints, Objective, TaskSpec
from .things import Dataset, Draft, Model, Task

__all__ = [
    "Advice",
    "Answer",
    "AsyncDataset",
    "AsyncDraft",
    "AsyncKindling",
    "AsyncModel",
    "AsyncTask",
    "Box",
    "Budget",
    "Card",
    "ChecksumMismatch",
    "Constraints",
    "Dataset",
    "Doubt",
    "Draft",
    "Example",
    "File",
    "ImageAnswer",
    "Kindling",
    "KindlingError",
    "LeaderboardItem",
    "Mistake",
    "Model",
    "Objective",
    "Problem",
    "Progress",
    "ServiceUnreachable",
    "Task",
    "TaskEvent",
    "TaskFailed",
    "TaskSpec",
    "Trial",
    "UnexpectedAnswer",
    "Violation",
    "WaitTimeout",
    "__version__",
]
