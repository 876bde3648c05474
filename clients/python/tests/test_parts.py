"""Parts that need no service: packing, progress, events."""

from __future__ import annotations

import io
import os
import sys
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import httpx
import pytest

from kindling_client import _progress
from kindling_client._blocking import Blocking
from kindling_client._events import Parser
from kindling_client._progress import Bar, Line, NotebookBar, PlainLines, TerminalBar, size
from kindling_client._settings import client_options
from kindling_client._steps import FileBody
from kindling_client._upload import Archive, walk


def packed(folder: Path) -> bytes:
    with Archive(folder) as archive:
        Blocking(httpx.Client()).run(archive.pack(Bar(), ""))
        content = archive.path.read_bytes()
    assert not archive.path.exists()
    return content


def test_a_folder_is_packed_without_litter_and_always_the_same(tmp_path: Path) -> None:
    for name in ("b/2.png", "a/1.png", "a/.hidden", ".git/x.png", "__MACOSX/y.png", "a/Thumbs.db", "labels.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(name.encode() * 100)
    first = packed(tmp_path)
    os.utime(tmp_path / "a/1.png", (0, 0))
    assert packed(tmp_path) == first
    with zipfile.ZipFile(io.BytesIO(first)) as archive:
        assert archive.namelist() == ["labels.csv", "a/1.png", "b/2.png"]
        assert archive.testzip() is None and archive.read("a/1.png") == b"a/1.png" * 100
        methods = {entry.filename: entry.compress_type for entry in archive.infolist()}
    assert methods == {"labels.csv": zipfile.ZIP_DEFLATED, "a/1.png": zipfile.ZIP_STORED, "b/2.png": zipfile.ZIP_STORED}


def test_links_are_followed_but_not_in_a_circle(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "1.png").write_bytes(b"1")
    (tmp_path / "set" / "fire").mkdir(parents=True)
    (tmp_path / "set" / "fire" / "up").symlink_to(tmp_path / "set")
    (tmp_path / "set" / "smoke").symlink_to(tmp_path / "elsewhere")
    assert [path.relative_to(tmp_path / "set").as_posix() for path in walk(tmp_path / "set")] == ["smoke/1.png"]


def test_packing_holds_no_file_in_memory(tmp_path: Path) -> None:
    (tmp_path / "large.png").write_bytes(os.urandom(1 << 20) * 24)
    (tmp_path / "large.bmp").write_bytes(os.urandom(1 << 20) * 8)
    tracemalloc.start()
    try:
        with Archive(tmp_path) as archive:
            Blocking(httpx.Client()).run(archive.pack(Bar(), ""))
            FileBody(archive.path).digest()
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 8 << 20, f"{most} bytes"


def test_messages_are_whole_however_they_are_cut() -> None:
    stream = b": still here\n\nevent: task\r\ndata: {\ndata: }\nid: 3\n\ndata:x\nretry: 5\n\n"
    stream += "event: empty\n\nevent: cut\ndata: é".encode()
    expected = [("task", "3", "{\n}"), ("message", None, "x")]
    for step in (1, 2, 3, 7, len(stream)):
        parser = Parser()
        found = [m for i in range(0, len(stream), step) for m in parser.feed(stream[i : i + step])]
        assert found == expected, step


def test_a_terminal_shows_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    monkeypatch.setattr(sys, "stderr", out)
    monkeypatch.setattr(TerminalBar, "every", 1000.0)
    with TerminalBar() as bar:
        bar.show(Line("push", "half", 0.5))
        bar.show(Line("push", "too soon", 0.6))
        bar.show(Line("push", "ready", 1.0))
    assert out.getvalue() == f"\r\x1b[2Kpush: [{'#' * 12}{'-' * 12}] half\r\x1b[2Kpush: [{'#' * 24}] ready\n"
    out.truncate(0), out.seek(0)
    with pytest.raises(KeyboardInterrupt), TerminalBar() as bar:
        bar.show(Line("push", "half"))
        raise KeyboardInterrupt
    assert out.getvalue() == "\r\x1b[2Kpush: half\n", "what comes next begins a line of its own"


def test_a_notebook_shows_one_output(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(NotebookBar, "every", 1000.0)
    shown: list[Any] = []

    class Handle:
        def update(self, line: Line) -> None:
            shown.append(("update", line))

    def display(line: Line, *, display_id: bool) -> Handle:
        assert display_id
        shown.append(("display", line))
        return Handle()

    with NotebookBar(display) as bar:
        bar.show(Line("a <b>", "5 of 10 s", 0.5))
        bar.show(Line("a <b>", "too soon", 0.6))
        bar.show(Line("a <b>", "complete", 1.0))
    assert [kind for kind, _ in shown] == ["display", "update"]
    page = shown[0][1]._repr_html_()
    assert 'value="0.5000"' in page and "a &lt;b&gt;" in page and "<b>" not in page
    assert repr(shown[0][1]) == "a <b>:  50% 5 of 10 s"


def test_where_progress_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_progress, "_notebook", lambda: None)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert type(_progress.bar(None)) is Bar and type(_progress.bar(False)) is Bar
    assert isinstance(_progress.bar(True), PlainLines)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert isinstance(_progress.bar(None), TerminalBar) and type(_progress.bar(False)) is Bar
    monkeypatch.setattr(_progress, "_notebook", lambda: print)
    assert isinstance(_progress.bar(None), NotebookBar)


def test_sizes_for_people() -> None:
    assert [size(n) for n in (0, 999, 1000, 54_444, 999_000, 1_500_000, 3e9)] == [
        "0 B", "999 B", "1.0 kB", "54.4 kB", "999 kB", "1.5 MB", "3.0 GB"
    ]  # fmt: skip


def test_a_proxy_of_the_environment_is_not_asked_for_this_machine() -> None:
    trusted = {
        url: client_options(url, None, 1, None)["trust_env"]
        for url in ("http://localhost", "http://[::1]:1", "http://a.b")
    }
    assert trusted == {"http://localhost": False, "http://[::1]:1": False, "http://a.b": True}
