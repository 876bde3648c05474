"""What the client does, without how: every operation is a *flow*, a generator that yields steps and is sent
their results. Two drivers carry steps out, one that blocks and one that awaits, so that no operation is
written twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Mapping
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

    def chunks(self) -> Iterator[bytes]:
        with self.path.open("rb") as file:
            while chunk := file.read(CHUNK):
                yield chunk
                self.sent(len(chunk))

    async def async_chunks(self) -> AsyncIterator[bytes]:
        with self.path.open("rb") as file:
            while chunk := await asyncio.to_thread(file.read, CHUNK):
                yield chunk
                self.sent(len(chunk))


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


Step: TypeAlias = Send | Open | Read | Close | Sleep | Work
Flow: TypeAlias = Generator[Step, Any, T]


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
