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
    UploadInterrupted,
    Violation,
    WaitTimeout,
)
from .models import (
    Advice,
    Answer,
    Box,
    Card,
    Delivery,
    Doubt,
    Example,
    File,
    ImageAnswer,
    LeaderboardItem,
    Mistake,
    Progress,
    TaskEvent,
    Trial,
    Webhook,
    WebhookMessage,
)
from .spec import Budget, Constraints, Objective, TaskSpec
from .things import Dataset, Draft, Model, Task
from .webhooks import InvalidSignature, verify_webhook

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
    "Delivery",
    "Doubt",
    "Draft",
    "Example",
    "File",
    "ImageAnswer",
    "InvalidSignature",
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
    "UploadInterrupted",
    "Violation",
    "WaitTimeout",
    "Webhook",
    "WebhookMessage",
    "__version__",
    "verify_webhook",
]
