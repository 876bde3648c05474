"""What the client does, without how: every operation is a *flow*, a generator that yields steps and is sent
their results. Two drivers carry steps out, one that blocks and one that awaits, so that no operation is
written twice.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeAlias, TypeVar, cast

import httpx

T = TypeVar("T")

#: Bytes read from a file at a time.
CHUNK = 1 << 18


@dataclass(frozen=True)
class FileBody:
    """A file as the body of a request, never whole in memory."""

    path: Path
    #: Told how many bytes were taken, as they are.
    sent: Callable[[int], None] = field(default=lambda _: None)
    #: Where it begins, and how many bytes it has; all from there on when not said.
    start: int = 0
    length: int | None = None

    def chunks(self) -> Iterator[bytes]:
        left = self.length
        with self.path.open("rb") as file:
            file.seek(self.start)
            while chunk := file.read(CHUNK if left is None else min(CHUNK, left)):
                yield chunk
                self.sent(len(chunk))
                left = None if left is None else left - len(chunk)

    async def async_chunks(self) -> AsyncIterator[bytes]:
        chunks = self.chunks()
        while (chunk := await asyncio.to_thread(next, chunks, None)) is not None:
            yield chunk

    def digest(self) -> str:
        """SHA-256, in hexadecimal."""
        hashed = hashlib.sha256()
        for chunk in FileBody(self.path, start=self.start, length=self.length).chunks():
            hashed.update(chunk)
        return hashed.hexdigest()


@dataclass(frozen=True)
class Request:
    """A request as data."""

    method: str
    path: str
    params: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    json: Any = None
    content: bytes | FileBody | None = None
    #: The parts of a form: field name, file name, content.
    form: tuple[tuple[str, str, bytes], ...] = ()
    #: Whether doing it twice is the same as doing it once.
    repeatable: bool = False
    #: Seconds of silence that are too many; the client's own when not said.
    silence: float | None = None


class Stream(Protocol):
    """An answer whose body is read in parts; each driver has its own."""

    response: httpx.Response


class Quiet:
    """Nothing came while one was prepared to wait."""


QUIET = Quiet()


@dataclass(frozen=True)
class Send:
    """Sends a request and reads the whole answer, whatever its status: an ``httpx.Response``."""

    request: Request


@dataclass(frozen=True)
class Open:
    """Sends a request and reads the answer's head, and its body too if it is an error: a ``Stream``."""

    request: Request


@dataclass(frozen=True)
class Read:
    """Reads on: ``bytes``, ``None`` at the end, or ``QUIET`` if nothing comes for ``patience`` seconds."""

    stream: Stream
    patience: float | None = None


@dataclass(frozen=True)
class Close:
    """Gives up a stream."""

    stream: Stream


@dataclass(frozen=True)
class Sleep:
    """Waits so many seconds."""

    seconds: float


@dataclass(frozen=True)
class Work:
    """Does what takes the disk or the processor a while: its result."""

    function: Callable[[], Any]


@dataclass(frozen=True)
class Together:
    """Carries flows out at the same time, and ends when all have: none has a result. The first error is raised."""

    flows: Sequence[Flow[None]]
    #: Has them end soon, where nobody waits any more.
    stop: Callable[[], None]


Step: TypeAlias = Send | Open | Read | Close | Sleep | Work | Together
Flow: TypeAlias = Generator["Step", Any, T]


def send(request: Request) -> Flow[httpx.Response]:
    return cast(httpx.Response, (yield Send(request)))


def open_stream(request: Request) -> Flow[Stream]:
    return cast(Stream, (yield Open(request)))


def read(stream: Stream) -> Flow[bytes | None]:
    return cast("bytes | None", (yield Read(stream)))


def read_within(stream: Stream, patience: float) -> Flow[bytes | Quiet | None]:
    return cast("bytes | Quiet | None", (yield Read(stream, patience)))


def close(stream: Stream) -> Flow[None]:
    yield Close(stream)


def sleep(seconds: float) -> Flow[None]:
    yield Sleep(seconds)


def work(function: Callable[[], T]) -> Flow[T]:
    return cast(T, (yield Work(function)))


def together(flows: Sequence[Flow[None]], stop: Callable[[], None]) -> Flow[None]:
    yield Together(flows, stop)
