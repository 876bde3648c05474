"""A service with keys."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kindling_client import AsyncKindling, Kindling, Problem

Make = Callable[[str, str], str]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keyed") / "data"


@pytest.fixture(scope="module")
def make(kindling_bin: Path, place: Path) -> Make:
    """Makes a key of a scope in a project."""

    def run(*words: str) -> str:
        command: list[str | Path] = [kindling_bin, *words, "--data-dir", place]
        ran = subprocess.run(command, check=True, stdout=subprocess.PIPE, encoding="utf-8")
        return ran.stdout.strip()

    for name in ("hill", "valley"):
        run("projects", "create", name)
    return lambda scope, project: run("keys", "create", "--name", "test", "--scope", scope, "--project", project)


@pytest.fixture(scope="module")
def url(kindling_bin: Path, place: Path, make: Make) -> Iterator[str]:
    options = ["--json", "--stop-with-input", "--listen", "127.0.0.1:0", "--workers", "0"]
    command: list[str | Path] = [kindling_bin, "serve", *options, "--data-dir", place]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as service:
        assert service.stdin and service.stdout
        yield json.loads(service.stdout.readline())["address"]
        service.stdin.close()
        service.wait(20)


def test_a_key_opens_its_project_and_no_other(url: str, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    key = make("write", "hill")
    with Kindling(url, key=key) as hill, Kindling(url, key=make("write", "valley")) as valley:
        made = hill.datasets.create("camera on the hill", kind="image-classification")
        assert [one.id for one in hill.datasets.list()] == [made.id]
        assert list(valley.datasets.list()) == []
        with pytest.raises(Problem) as caught:
            valley.datasets.get(made.id)
        assert (caught.value.status, caught.value.code) == (404, "dataset_not_found")
    with Kindling(url) as stranger, pytest.raises(Problem) as caught:
        stranger.datasets.get(made.id)
    assert (caught.value.status, caught.value.code) == (401, "unauthorized")
    with Kindling(url, key=make("read", "hill")) as reader, pytest.raises(Problem) as caught:
        reader.datasets.delete(made.id)
    assert (caught.value.status, caught.value.code) == (403, "forbidden")

    monkeypatch.setenv("KINDLING_KEY", key)
    with Kindling(url) as known:
        assert known.datasets.get(made.id).name == "camera on the hill"

    async def ask() -> str:
        async with AsyncKindling(url) as known:
            return (await known.datasets.get(made.id)).name

    assert asyncio.run(ask()) == "camera on the hill"
    with pytest.raises(ValueError, match="a key is one word"):
        Kindling(url, key="kdl_1 kdl_2")
