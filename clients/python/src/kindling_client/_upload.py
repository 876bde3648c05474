"""Pushing pictures: a folder is packed to a temporary zip, sent in parts, and waited for until the service has read."""

from __future__ import annotations

import os
import tempfile
import threading
import zipfile
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TypeVar

import httpx

from ._exchange import FIRST_WAIT, RETRIES, backoff, call, call_nothing, retry_after, unreachable
from ._operations import request
from ._progress import Bar, Line, Shown, bar, size
from ._steps import CHUNK, FileBody, Flow, send, sleep, together, work
from ._wait import wait_for_dataset
from .draft_models import Added
from .errors import KindlingError, Problem, ServiceUnreachable, UploadInterrupted
from .models import DatasetFields, Upload

DatasetT = TypeVar("DatasetT", bound=DatasetFields)

#: Parts of an upload that are sent at a time, and the bytes of each; as many as the service likes when not said.
AT_ONCE = 4
PART_BYTES: int | None = None

#: Kinds of files that deflating makes smaller; pictures are compressed already.
LOOSE = frozenset({".bmp", ".csv", ".json", ".tif", ".tiff", ".txt", ".xml"})
#: What systems leave in folders; nothing of it is data.
LITTER = frozenset({"__MACOSX", "Thumbs.db", "desktop.ini"})


class Archive:
    """An archive to be sent: a file that is one, or a folder packed to a zip that is removed on leaving."""

    def __init__(self, source: Path) -> None:
        self.source = source
        self.path = source
        self._temporary: Path | None = None

    def pack(self, show: Bar, title: str) -> Flow[None]:
        """Packs a folder. The same files make the same bytes."""
        if not self.source.is_dir():
            return
        files = yield from work(lambda: list(walk(self.source)))
        if not files:
            raise KindlingError(
                f"there is no file in {self.source}; it should hold a folder of pictures for each class"
            )
        handle, name = tempfile.mkstemp(prefix="kindling-", suffix=".zip")
        os.close(handle)
        self.path = self._temporary = Path(name)
        with zipfile.ZipFile(self.path, "w") as archive:
            # So many at a time that switching to a thread is not what takes the time.
            for first in range(0, len(files), 50):
                some = files[first : first + 50]
                show.show(Line(title, f"packing {first} of {len(files)} files", first / len(files)))
                yield from work(partial(_add, archive, self.source, some))

    def __enter__(self) -> Archive:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._temporary is not None:
            self._temporary.unlink(missing_ok=True)


def opened_archive(source: str | os.PathLike[str]) -> Archive:
    """The archive of a folder or file that is there."""
    path = Path(source)
    if not path.exists():
        raise FileNotFoundError(f"there is no folder and no archive {path}")
    return Archive(path)


def walk(folder: Path) -> Iterator[Path]:
    """The files of a folder in a fixed order, without hidden ones; links are followed, but never in a circle."""
    for path, folders, files in os.walk(folder, followlinks=True):
        here = os.path.realpath(path)
        kept = (name for name in folders if not _is_litter(name))
        folders[:] = sorted(name for name in kept if not _contains(os.path.realpath(os.path.join(path, name)), here))
        for name in sorted(files):
            if not _is_litter(name):
                yield Path(path, name)


def _contains(outer: str, inner: str) -> bool:
    return os.path.commonpath([outer, inner]) == outer


def _is_litter(name: str) -> bool:
    return name.startswith(".") or name in LITTER


def _add(archive: zipfile.ZipFile, folder: Path, paths: list[Path]) -> None:
    for path in paths:
        _add_one(archive, folder, path)


def _add_one(archive: zipfile.ZipFile, folder: Path, path: Path) -> None:
    # The date of the file says nothing of it, and some are before those a zip can tell.
    entry = zipfile.ZipInfo(path.relative_to(folder).as_posix())
    entry.external_attr = 0o644 << 16
    entry.compress_type = zipfile.ZIP_DEFLATED if path.suffix.lower() in LOOSE else zipfile.ZIP_STORED
    entry.file_size = path.stat().st_size
    with path.open("rb") as content, archive.open(entry, "w") as packed:
        while chunk := content.read(CHUNK):
            packed.write(chunk)


class _Sending:
    """Counts what is on its way."""

    def __init__(self, show: Bar, title: str, total: int) -> None:
        self._show, self._title, self._total = show, title, total
        self._sent = 0
        self._lock = threading.Lock()

    def add(self, count: int) -> None:
        with self._lock:
            # What is sent again counts again.
            self._sent = min(self._sent + count, self._total)
            text = f"sent {size(self._sent)} of {size(self._total)}"
            self._show.show(Line(self._title, text, self._sent / max(self._total, 1)))


def push(
    kind: type[DatasetT],
    source: str | os.PathLike[str],
    name: str | None,
    task_kind: str,
    labels: str | None,
    shown: Shown,
) -> Flow[DatasetT]:
    """Makes a data set of a folder or an archive; if its content is refused, none is left behind."""
    archive = opened_archive(source)
    title = name or Path(source).resolve().name
    with bar(shown) as show, archive:
        yield from archive.pack(show, title)
        wanted = {"name": title, "kind": task_kind} | ({"labels": labels} if labels else {})
        made = yield from call(kind, "createDataset", json=wanted)
        try:
            return (yield from _fill(kind, made.id, archive, None, show, title))
        except UploadInterrupted:
            raise
        except BaseException:
            yield from _discard(made.id)
            raise


def upload(
    kind: type[DatasetT], dataset: str, source: str | os.PathLike[str], resume: str | None, shown: Shown
) -> Flow[DatasetT]:
    """Fills a data set that is empty or was refused; goes on with the upload of this id, if one is named."""
    archive = opened_archive(source)
    title = Path(source).resolve().name
    with bar(shown) as show, archive:
        yield from archive.pack(show, title)
        return (yield from _fill(kind, dataset, archive, resume, show, title))


def _fill(
    kind: type[DatasetT], dataset: str, archive: Archive, resume: str | None, show: Bar, title: str
) -> Flow[DatasetT]:
    size_ = archive.path.stat().st_size
    if resume is None:
        wanted = {"dataset": dataset, "bytes": size_} | ({"part_bytes": PART_BYTES} if PART_BYTES else {})
        begun = yield from call(Upload, "beginUpload", json=wanted)
    else:
        begun = yield from call(Upload, "getUpload", at={"id": resume})
        if (begun.dataset, begun.bytes) != (dataset, size_):
            raise KindlingError(
                f"upload {resume} is of {begun.bytes} bytes for data set {begun.dataset}; this archive has {size_}"
            )
    try:
        yield from _send_parts(archive, begun, _Sending(show, title, size_))
        yield from _complete(kind, dataset, begun.id)
    except ServiceUnreachable as error:
        raise UploadInterrupted(str(error), dataset=dataset, upload=begun.id) from error
    show.show(Line(title, "the service is reading it"))
    ready = yield from wait_for_dataset(kind, dataset, None)
    count = ready.summary.examples if ready.summary else 0
    show.show(Line(title, f"ready: {count} pictures of {', '.join(ready.classes) or 'no class'}", 1.0))
    return ready


def _send_parts(archive: Archive, begun: Upload, sending: _Sending) -> Flow[None]:
    """Sends what is not there yet, several parts at a time."""
    there = {part.number: part.sha256 for part in begun.parts}
    waiting = deque(range(-(-begun.bytes // begun.part_bytes)))

    def sender() -> Flow[None]:
        try:
            # Taking one is safe: threads and tasks never get the same.
            while waiting:
                with suppress(IndexError):
                    yield from send_one(waiting.popleft())
        except BaseException:
            # One that failed stops the others at their next part.
            waiting.clear()
            raise

    def send_one(number: int) -> Flow[None]:
        start = number * begun.part_bytes
        length = min(begun.part_bytes, begun.bytes - start)
        part = FileBody(archive.path, sending.add, start, length)
        digest = yield from work(part.digest)
        if there.get(number) == digest:
            sending.add(length)
            return
        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Length": str(length),
            "x-content-sha256": digest,
        }
        at: dict[str, str | int] = {"id": begun.id, "number": number}
        yield from call_nothing("uploadPart", at=at, headers=headers, content=part)

    yield from together([sender() for _ in range(min(AT_ONCE, len(waiting)))], waiting.clear)


def _complete(kind: type[DatasetT], dataset: str, upload: str) -> Flow[None]:
    """Has the parts joined and read."""
    attempt = 0
    while True:
        wanted = request("completeUpload", at={"id": upload}, headers={"Prefer": "respond-async"})
        try:
            response = yield from send(wanted)
        except httpx.TransportError as error:
            if attempt == RETRIES:
                raise unreachable(error) from error
            yield from sleep(backoff(attempt))
            # Perhaps it had arrived and only the answer was lost.
            found = yield from call(kind, "getDataset", at={"id": dataset})
            if found.state in ("processing", "ready"):
                return
        else:
            if response.status_code < 400:
                return
            again = retry_after(response) if response.status_code == 503 else None
            if again is None or attempt == RETRIES:
                raise Problem.of_response(response)
            yield from sleep(max(again, FIRST_WAIT))
        attempt += 1


def _discard(dataset: str) -> Flow[None]:
    """Removes a data set of which nothing came. That it stays is no reason to hide why."""
    with suppress(KindlingError):
        yield from call_nothing("deleteDataset", at={"id": dataset})


def add_pictures(draft: str, source: str | os.PathLike[str], shown: Shown) -> Flow[Added]:
    """Adds a folder's or an archive's pictures, or one picture, to a draft."""
    archive = opened_archive(source)
    title = Path(source).resolve().name
    with bar(shown) as show, archive:
        yield from archive.pack(show, title)
        body = FileBody(archive.path, _Sending(show, title, archive.path.stat().st_size).add)
        digest = yield from work(body.digest)
        added = yield from call(
            Added,
            "addPictures",
            at={"id": draft},
            params={"name": None if archive.source.is_dir() else title},
            headers={
                "Content-Type": "application/octet-stream",
                "Content-Length": str(archive.path.stat().st_size),
                "x-content-sha256": digest,
            },
            content=body,
        )
        show.show(Line(title, f"{added.added} pictures added, {added.copies} were there", 1.0))
    return added
