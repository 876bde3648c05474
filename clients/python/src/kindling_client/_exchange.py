"""One request and its answer, sent again where that is harmless."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

import httpx
from pydantic import TypeAdapter, ValidationError

from ._operations import request
from ._steps import Flow, Request, close, open_stream, send, sleep
from ._steps import Stream as Stream
from .errors import KindlingError, Problem, ServiceUnreachable, UnexpectedAnswer

T = TypeVar("T")

#: How often a request is sent again.
RETRIES = 3
#: Seconds before the first of them; each next wait is twice as long.
FIRST_WAIT = 0.2
#: The longest wait that a service is granted.
LONGEST_WAIT = 30.0

#: Errors of a connection that was never made: the request was not seen by anyone.
NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


def backoff(attempt: int) -> float:
    """Seconds to wait after the so-many-th failure, from 0."""
    return float(min(FIRST_WAIT * 2**attempt, 5.0))


def exchange(wanted: Request) -> Flow[httpx.Response]:
    """The answer to a request.

    Raises ``Problem`` for an answer with an error status, ``ServiceUnreachable`` if none came.
    """
    attempt = 0
    while True:
        try:
            response = yield from send(wanted)
        except httpx.TransportError as error:
            if attempt == RETRIES or not (wanted.repeatable or isinstance(error, NOT_SENT)):
                raise unreachable(error) from error
            wait = backoff(attempt)
        else:
            if response.status_code < 400:
                return response
            asked = retry_after(response)
            if attempt == RETRIES or not wanted.repeatable or asked is None:
                raise Problem.of_response(response)
            wait = asked
        attempt += 1
        yield from sleep(wait)


def opened(wanted: Request) -> Flow[Stream]:
    """An answer to be read in parts. Errors of the connection are the caller's to handle."""
    stream = yield from open_stream(wanted)
    if stream.response.status_code >= 400:
        yield from close(stream)
        raise Problem.of_response(stream.response)
    return stream


def retry_after(response: httpx.Response) -> float | None:
    """Seconds after which a service that is busy (or at work on the same key) wants to be asked again, if soon."""
    given = response.headers.get("retry-after", "")
    if response.status_code not in (409, 429, 503) or not given.isdigit() or float(given) > LONGEST_WAIT:
        return None
    return float(given)


def unreachable(error: httpx.TransportError) -> KindlingError:
    """What to say of a connection that failed."""
    if isinstance(error, httpx.UnsupportedProtocol):
        return KindlingError(f"the service's address is none: {error}")
    try:
        address = str(error.request.url.copy_with(path="/", query=None)).rstrip("/")
    except RuntimeError:
        address = "the address"
    why = str(error) or type(error).__name__
    if isinstance(error, NOT_SENT):
        return ServiceUnreachable(
            f"no Kindling service answers at {address} ({why}); start one with `kindling serve`, or name its address: "
            "Kindling(base_url=…) or the environment's KINDLING_URL"
        )
    if isinstance(error, httpx.TimeoutException):
        return ServiceUnreachable(
            f"the service at {address} was silent for too long; Kindling(timeout=…) is in seconds"
        )
    return ServiceUnreachable(f"the connection to {address} broke off ({why})")


def decoded(response: httpx.Response, kind: type[T]) -> T:
    """The answer's JSON as this type."""
    try:
        return TypeAdapter(kind).validate_json(response.content)
    except ValidationError as error:
        where = f"{response.request.method} {response.request.url}"
        raise UnexpectedAnswer(f"the answer to {where} is not what a Kindling service says: {error}") from error


def call(kind: type[T], operation: str, **rest: Any) -> Flow[T]:
    """Does an operation and reads its answer as this type."""
    response = yield from exchange(request(operation, **rest))
    return decoded(response, kind)


def call_bytes(operation: str, **rest: Any) -> Flow[bytes]:
    """Does an operation whose answer is a file."""
    response = yield from exchange(request(operation, **rest))
    return response.content


def call_nothing(operation: str, **rest: Any) -> Flow[None]:
    """Does an operation without an answer."""
    yield from exchange(request(operation, **rest))


class Pages(Generic[T]):
    """The items of a list, fetched a page at a time."""

    def __init__(self, kind: type[T], operation: str, params: dict[str, object] | None = None, **rest: Any) -> None:
        self._kind = kind
        self._operation = operation
        self._params = dict(params or {})
        self._rest = rest
        self._ready: list[T] = []
        self._more = True

    def next(self) -> Flow[T | None]:
        """The next item; ``None`` after the last."""
        while not self._ready:
            if not self._more:
                return None
            wanted = request(self._operation, params=self._params, **self._rest)
            response = yield from exchange(wanted)
            page = decoded(response, dict[str, Any])
            items: list[T] = TypeAdapter(list[self._kind]).validate_python(page.get("items", []))  # type: ignore[name-defined]
            self._ready = items[::-1]
            self._params["after"] = page.get("next")
            self._more = page.get("next") is not None
        return self._ready.pop()


def collect(pages: Pages[T], each: Callable[[T], None] = lambda _: None) -> Flow[list[T]]:
    """All items of a list."""
    found: list[T] = []
    while (item := (yield from pages.next())) is not None:
        each(item)
        found.append(item)
    return found
