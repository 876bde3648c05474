"""Downloading a model's files: gone on with where it stopped, checked, and never half written under their names."""

from __future__ import annotations

import glob
import hashlib
import os
from pathlib import Path
from typing import TypeVar

import httpx

from ._exchange import RETRIES, Pages, backoff, collect, opened, unreachable
from ._operations import request
from ._progress import Bar, Line, Shown, bar, size
from ._steps import CHUNK, Flow, close, read, sleep, work
from .errors import ChecksumMismatch, KindlingError, Problem, UnexpectedAnswer
from .models import File

T = TypeVar("T")

#: How often a model's files are listed again because they changed meanwhile.
ROUNDS = 3


class _Changed(Exception):
    """The service has other content under this name by now: its files are finished when a study ends."""


def list_files(model: str) -> Flow[list[File]]:
    """A model's files."""
    return (yield from collect(Pages(File, "listFiles", at={"id": model})))


def download(model: str, folder: str | os.PathLike[str], names: list[str] | None, shown: Shown) -> Flow[list[Path]]:
    """Downloads a model's files, or those named, to a folder; returns their paths.

    What is there already with the right checksum is not fetched again.
    """
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    with bar(shown) as show:
        for round in range(ROUNDS):
            wanted = _chosen((yield from list_files(model)), names, model)
            total, done = sum(file.bytes for file in wanted), 0
            try:
                for file in wanted:
                    yield from _Part(model, file, target, show, done, total).fetch()
                    done += file.bytes
            except _Changed as changed:
                if round == ROUNDS - 1:
                    raise ChecksumMismatch(str(changed)) from None
                continue
            break
        show.show(Line("download", f"{len(wanted)} files, {size(total)}, in {target}", 1.0))
    return [target / file.name for file in wanted]


def _chosen(files: list[File], names: list[str] | None, model: str) -> list[File]:
    for file in files:
        # The name becomes a path here: a service may not write outside the folder.
        if file.name != os.path.basename(file.name) or file.name in ("", ".", "..") or "\\" in file.name:
            raise UnexpectedAnswer(f"the service names a file `{file.name}`, which is no plain name")
    if names is None:
        return files
    known = {file.name: file for file in files}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise KindlingError(f"model {model} has no file `{'`, `'.join(unknown)}`; it has `{'`, `'.join(known)}`")
    return [known[name] for name in names]


class _Part:
    """A file on its way. Its temporary name holds its checksum, so that only the same file is gone on with."""

    def __init__(self, model: str, file: File, folder: Path, show: Bar, before: int, total: int) -> None:
        self._model, self._file = model, file
        self._final = folder / file.name
        self._path = folder / f".{file.name}.{file.sha256[:16]}.part"
        self._show, self._before, self._total = show, before, total
        self._have = 0

    def fetch(self) -> Flow[None]:
        try:
            yield from self._fetch()
        except _Changed:
            # What was begun is of no use to anyone.
            self._path.unlink(missing_ok=True)
            raise

    def _fetch(self) -> Flow[None]:
        if (yield from work(self._is_there)):
            return
        for attempt in range(2):
            yield from self._fill()
            if (yield from work(lambda: _sha256(self._path))) == self._file.sha256:
                os.replace(self._path, self._final)
                # What an earlier download left of the file as it was then.
                for old in self._path.parent.glob(f".{glob.escape(self._file.name)}.*.part"):
                    old.unlink(missing_ok=True)
                return
            self._path.unlink()
            if attempt:
                raise _Changed(f"`{self._file.name}` has another SHA-256 than the service lists, {self._file.sha256}")

    def _is_there(self) -> bool:
        try:
            return self._final.stat().st_size == self._file.bytes and _sha256(self._final) == self._file.sha256
        except FileNotFoundError:
            return False

    def _fill(self) -> Flow[None]:
        """Fetches what is missing. Only tries that brought nothing count as failures."""
        self._have = self._path.stat().st_size if self._path.exists() else 0
        if self._have > self._file.bytes:
            self._path.unlink()
            self._have = 0
        # Also an empty file has to come to be.
        self._path.touch()
        failures = 0
        while self._have < self._file.bytes:
            before = self._have
            try:
                yield from self._go_on()
            except httpx.TransportError as error:
                failures = 0 if self._have > before else failures + 1
                if failures > RETRIES:
                    raise unreachable(error) from error
                yield from sleep(backoff(failures))
            else:
                if self._have < self._file.bytes:
                    raise _Changed(f"`{self._file.name}` has fewer bytes than the service lists, {self._file.bytes}")

    def _go_on(self) -> Flow[None]:
        # Compressing a file on its way would make its bytes' numbers others.
        headers = {"Accept-Encoding": "identity"}
        if self._have:
            headers |= {"Range": f"bytes={self._have}-", "If-Range": f'"{self._file.sha256}"'}
        wanted = request("getFile", at={"id": self._model, "name": self._file.name}, headers=headers)
        try:
            stream = yield from opened(wanted)
        except Problem as problem:
            if problem.status in (404, 416):
                raise _Changed(f"`{self._file.name}`: {problem.detail}") from problem
            if problem.status in (502, 503, 504):
                raise httpx.RemoteProtocolError(str(problem), request=None) from problem
            raise
        try:
            if stream.response.headers.get("etag") not in (None, f'"{self._file.sha256}"'):
                raise _Changed(f"`{self._file.name}` is another by now than the service listed")
            if stream.response.status_code != 206:
                self._have = 0
            with self._path.open("r+b") as out:
                out.truncate(self._have)
                out.seek(self._have)
                while (chunk := (yield from read(stream))) is not None:
                    if self._have + len(chunk) > self._file.bytes:
                        raise _Changed(f"`{self._file.name}` has more bytes than the service lists, {self._file.bytes}")
                    out.write(chunk)
                    self._have += len(chunk)
                    self._tell()
        finally:
            yield from close(stream)

    def _tell(self) -> None:
        so_far = self._before + self._have
        text = f"{size(so_far)} of {size(self._total)} · {self._file.name}"
        self._show.show(Line("download", text, so_far / max(self._total, 1)))


def _sha256(path: Path) -> str:
    hashed = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            hashed.update(chunk)
    return hashed.hexdigest()
