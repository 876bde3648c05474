"""Pushing pictures: a folder is packed to a temporary zip, sent, and waited for until the service has read it."""

from __future__ import annotations

import hashlib
import os
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TypeVar

import httpx

from ._exchange import FIRST_WAIT, RETRIES, backoff, call, call_nothing, decoded, retry_after, unreachable
from ._operations import request
from ._progress import Bar, Line, Shown, bar, size
from ._steps import CHUNK, FileBody, Flow, send, sleep, work
from ._wait import wait_for_dataset
from .draft_models import Added
from .errors import KindlingError, Problem
from .models import DatasetFields

DatasetT = TypeVar("DatasetT", bound=DatasetFields)

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

    def digest(self) -> str:
        """SHA-256 of the archive, in hexadecimal."""
        hashed = hashlib.sha256()
        with self.path.open("rb") as file:
            while chunk := file.read(CHUNK):
                hashed.update(chunk)
        return hashed.hexdigest()

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

    def add(self, count: int) -> None:
        self._sent += count
        text = f"sent {size(self._sent)} of {size(self._total)}"
        self._show.show(Line(self._title, text, min(self._sent / max(self._total, 1), 1.0)))


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
            return (yield from _fill(kind, made.id, archive, show, title))
        except BaseException:
            yield from _discard(made.id)
            raise


def upload(kind: type[DatasetT], dataset: str, source: str | os.PathLike[str], shown: Shown) -> Flow[DatasetT]:
    """Fills a data set that is empty or was refused."""
    archive = opened_archive(source)
    title = Path(source).resolve().name
    with bar(shown) as show, archive:
        yield from archive.pack(show, title)
        return (yield from _fill(kind, dataset, archive, show, title))


def _fill(kind: type[DatasetT], dataset: str, archive: Archive, show: Bar, title: str) -> Flow[DatasetT]:
    digest = yield from work(archive.digest)
    attempt = 0
    while True:
        sending = _Sending(show, title, archive.path.stat().st_size)
        wanted = request(
            "uploadContent",
            at={"id": dataset},
            headers=_headers(archive, digest) | {"Prefer": "respond-async"},
            content=FileBody(archive.path, sending.add),
        )
        try:
            response = yield from send(wanted)
        except httpx.TransportError as error:
            if attempt == RETRIES:
                raise unreachable(error) from error
            yield from sleep(backoff(attempt))
            # Perhaps all had arrived and only the answer was lost.
            found = yield from call(kind, "getDataset", at={"id": dataset})
            if found.state in ("processing", "ready"):
                break
        else:
            if response.status_code < 400:
                decoded(response, kind)
                break
            again = retry_after(response) if response.status_code == 503 else None
            if again is None or attempt == RETRIES:
                raise Problem.of_response(response)
            yield from sleep(max(again, FIRST_WAIT))
        attempt += 1
    show.show(Line(title, "the service is reading it"))
    ready = yield from wait_for_dataset(kind, dataset, None)
    count = ready.summary.examples if ready.summary else 0
    show.show(Line(title, f"ready: {count} pictures of {', '.join(ready.classes) or 'no class'}", 1.0))
    return ready


def _headers(archive: Archive, digest: str) -> dict[str, str]:
    return {
        "Content-Type": "application/octet-stream",
        "Content-Length": str(archive.path.stat().st_size),
        "x-content-sha256": digest,
    }


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
        digest = yield from work(archive.digest)
        sending = _Sending(show, title, archive.path.stat().st_size)
        added = yield from call(
            Added,
            "addPictures",
            at={"id": draft},
            params={"name": None if archive.source.is_dir() else title},
            headers=_headers(archive, digest),
            content=FileBody(archive.path, sending.add),
        )
        show.show(Line(title, f"{added.added} pictures added, {added.copies} were there", 1.0))
    return added
