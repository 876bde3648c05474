"""What can go wrong, all under one base class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx

if TYPE_CHECKING:
    from .models import TaskFields


class KindlingError(Exception):
    """The base of every error of this package."""


@dataclass(frozen=True)
class Violation:
    """A broken rule of a specification."""

    #: JSON pointer (RFC 6901) to the value.
    pointer: str
    #: What is wrong and how to mend it.
    message: str


class Problem(KindlingError):
    """The service refused a request: a problem document (RFC 9457).

    ``type`` and ``code`` are stable; ``detail`` says what is wrong this time, where, and how to mend it.
    """

    def __init__(
        self,
        *,
        type: str,
        title: str,
        status: int,
        detail: str,
        code: str | None = None,
        instance: str | None = None,
        violations: list[Violation] | None = None,
        request_id: str | None = None,
    ) -> None:
        self.type = type
        self.title = title
        self.status = status
        self.detail = detail
        self.code = code
        self.instance = instance
        self.violations = violations or []
        #: The id under which the service's log has the request.
        self.request_id = request_id
        super().__init__(str(self))

    def __str__(self) -> str:
        text = f"{self.title} ({self.status} {self.code or self.type}): {self.detail}"
        # The detail of one broken rule says it already.
        listed = [v for v in self.violations if v.message not in self.detail]
        return text + "".join(f"\n  {v.pointer or '/'}: {v.message}" for v in listed)

    @classmethod
    def of(cls, body: Mapping[str, Any], status: int, request_id: str | None = None) -> Problem:
        """Reads a problem document; what is missing is filled in."""
        listed = body.get("violations")
        violations = [
            Violation(str(v.get("pointer", "")), str(v.get("message", "")))
            for v in (listed if isinstance(listed, list) else [])
            if isinstance(v, Mapping)
        ]
        code, instance = body.get("code"), body.get("instance")
        return cls(
            type=str(body.get("type", "about:blank")),
            title=str(body.get("title", "The request was refused")),
            status=status,
            detail=str(body.get("detail", "")),
            code=None if code is None else str(code),
            instance=None if instance is None else str(instance),
            violations=violations,
            request_id=request_id,
        )

    @classmethod
    def of_response(cls, response: httpx.Response) -> Problem:
        """Reads an answer with an error status, also one that something between client and service gave."""
        request_id = response.headers.get("x-request-id")
        try:
            body = response.json()
        except ValueError:
            body = None
        if isinstance(body, dict) and "title" in body:
            return cls.of(body, response.status_code, request_id)
        said = " ".join(response.text.split())[:200]
        where = f"{response.request.method} {response.request.url}"
        return cls(
            type="about:blank",
            title=response.reason_phrase or "The request failed",
            status=response.status_code,
            detail=f"{where} was answered without a problem document: {said or 'nothing'}",
            request_id=request_id,
        )


class ServiceUnreachable(KindlingError):
    """No service answers, or the connection was lost and did not come back."""


class UploadInterrupted(ServiceUnreachable):
    """An upload broke off for good. What was sent is kept a week: ``datasets.upload`` with ``resume`` goes on."""

    def __init__(self, why: str, *, dataset: str, upload: str) -> None:
        #: The data set whose content it is.
        self.dataset = dataset
        #: The upload's id.
        self.upload = upload
        super().__init__(f"{why}; `datasets.upload({dataset!r}, …, resume={upload!r})` goes on from there")


class UnexpectedAnswer(KindlingError):
    """What came is not what Kindling answers: another service, or one much older or newer."""


class TaskFailed(KindlingError):
    """A task that was waited for ended without a model."""

    def __init__(self, task: TaskFields) -> None:
        self.task = task
        super().__init__(f"task {task.id} ({task.name}) failed: {task.reason or 'no reason is given'}")


class WaitTimeout(KindlingError, TimeoutError):
    """What was waited for was not over in time. It goes on; wait again to go on waiting."""


class ChecksumMismatch(KindlingError):
    """What was downloaded is not what the service lists, also when it was downloaded again."""
