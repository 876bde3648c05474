"""The operations of the API that the client knows, by their names in ``/openapi.json``: method and path."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote
from uuid import uuid4

from ._steps import FileBody, Request

OPERATIONS: dict[str, tuple[str, str]] = {
    "getReadiness": ("GET", "/readyz"),
    "getTaskSpecSchema": ("GET", "/v1/schema/task-spec.json"),
    "createDataset": ("POST", "/v1/datasets"),
    "listDatasets": ("GET", "/v1/datasets"),
    "getDataset": ("GET", "/v1/datasets/{id}"),
    "deleteDataset": ("DELETE", "/v1/datasets/{id}"),
    "beginUpload": ("POST", "/v1/uploads"),
    "getUpload": ("GET", "/v1/uploads/{id}"),
    "uploadPart": ("PUT", "/v1/uploads/{id}/parts/{number}"),
    "completeUpload": ("POST", "/v1/uploads/{id}/complete"),
    "giveUpUpload": ("DELETE", "/v1/uploads/{id}"),
    "listExamples": ("GET", "/v1/datasets/{id}/examples"),
    "getExampleImage": ("GET", "/v1/datasets/{id}/examples/{number}/image"),
    "searchDoubts": ("POST", "/v1/datasets/{id}/doubts"),
    "listDoubts": ("GET", "/v1/datasets/{id}/doubts"),
    "relabelDataset": ("POST", "/v1/datasets/{id}/relabel"),
    "createDraft": ("POST", "/v1/drafts"),
    "listDrafts": ("GET", "/v1/drafts"),
    "getDraft": ("GET", "/v1/drafts/{id}"),
    "addDraftClasses": ("PATCH", "/v1/drafts/{id}"),
    "deleteDraft": ("DELETE", "/v1/drafts/{id}"),
    "addPictures": ("POST", "/v1/drafts/{id}/pictures"),
    "listDraftExamples": ("GET", "/v1/drafts/{id}/examples"),
    "getDraftExample": ("GET", "/v1/drafts/{id}/examples/{number}"),
    "labelDraftExample": ("PATCH", "/v1/drafts/{id}/examples/{number}"),
    "getDraftImage": ("GET", "/v1/drafts/{id}/examples/{number}/image"),
    "suggestLabels": ("POST", "/v1/drafts/{id}/suggestions"),
    "acceptSuggestions": ("POST", "/v1/drafts/{id}/accept"),
    "sealDraft": ("POST", "/v1/drafts/{id}/seal"),
    "createTask": ("POST", "/v1/tasks"),
    "listTasks": ("GET", "/v1/tasks"),
    "getTask": ("GET", "/v1/tasks/{id}"),
    "deleteTask": ("DELETE", "/v1/tasks/{id}"),
    "cancelTask": ("POST", "/v1/tasks/{id}/cancel"),
    "resumeTask": ("POST", "/v1/tasks/{id}/resume"),
    "listTrials": ("GET", "/v1/tasks/{id}/trials"),
    "getLeaderboard": ("GET", "/v1/tasks/{id}/leaderboard"),
    "seekAdvice": ("POST", "/v1/tasks/{id}/advice"),
    "getAdvice": ("GET", "/v1/tasks/{id}/advice"),
    "followTask": ("GET", "/v1/tasks/{id}/events"),
    "getModel": ("GET", "/v1/models/{id}"),
    "deleteModel": ("DELETE", "/v1/models/{id}"),
    "listFiles": ("GET", "/v1/models/{id}/files"),
    "makeFiles": ("POST", "/v1/models/{id}/files"),
    "getFile": ("GET", "/v1/models/{id}/files/{name}"),
    "predict": ("POST", "/v1/models/{id}/predict"),
    "listMistakes": ("GET", "/v1/models/{id}/mistakes"),
    "createWebhook": ("POST", "/v1/webhooks"),
    "listWebhooks": ("GET", "/v1/webhooks"),
    "getWebhook": ("GET", "/v1/webhooks/{id}"),
    "listDeliveries": ("GET", "/v1/webhooks/{id}/deliveries"),
    "deleteWebhook": ("DELETE", "/v1/webhooks/{id}"),
}

#: Operations that the service does once for each ``Idempotency-Key``.
ONCE = frozenset(
    {
        "createDataset",
        "beginUpload",
        "createWebhook",
        "searchDoubts",
        "relabelDataset",
        "createDraft",
        "sealDraft",
        "createTask",
        "cancelTask",
        "resumeTask",
        "seekAdvice",
    }
)

#: Operations that are not safe, but the same when done twice: a part or a picture that is there is not added again, a
#: label that is there is kept, and asking a model changes nothing.
REPEATABLE = frozenset(
    {
        "uploadPart",
        "addPictures",
        "addDraftClasses",
        "labelDraftExample",
        "suggestLabels",
        "acceptSuggestions",
        "makeFiles",
        "predict",
    }
)


def request(
    operation: str,
    *,
    at: Mapping[str, str | int] | None = None,
    params: Mapping[str, object] | None = None,
    headers: Mapping[str, str] | None = None,
    json: Any = None,
    content: bytes | FileBody | None = None,
    form: tuple[tuple[str, str, bytes], ...] = (),
    key: str | None = None,
    silence: float | None = None,
) -> Request:
    """The request of an operation.

    ``at`` fills the path's places, ``params`` that are ``None`` are left out. What the service does once for each
    key gets one, so that it can be sent again if its answer is lost.
    """
    method, template = OPERATIONS[operation]
    places = {name: quote(str(value), safe="") for name, value in (at or {}).items()}
    sent = dict(headers or {})
    if operation in ONCE:
        sent["Idempotency-Key"] = key or uuid4().hex
    return Request(
        method=method,
        path=template.format(**places),
        params={name: _text(value) for name, value in (params or {}).items() if value is not None},
        headers=sent,
        json=json,
        content=content,
        form=form,
        repeatable=method == "GET" or operation in ONCE or operation in REPEATABLE,
        silence=silence,
    )


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
