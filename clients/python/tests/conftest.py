"""The real service, pictures, and a finished study, once for all tests.

``KINDLING_BIN`` names the binary; without it the one that `cargo build --release` made is taken.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from proxy import Proxy

from kindling_client import Dataset, Kindling, Model, Task, TaskFailed, _upload

#: A study of seconds, whose files are those that are written fastest.
SMALL = {
    "budget": {"seconds": 5, "trials": 2},
    "constraints": {"max_weights_bytes": 60_000, "max_macs": 2_000_000},
    "exports": ["onnx", "safetensors"],
    "seed": 1,
}

#: Seconds that nothing here takes, also on a machine that builds something else.
PATIENCE = 120.0

#: Seconds that a study is given more where it found nothing.
MORE = 20.0


@pytest.fixture(scope="session")
def kindling_bin() -> Path:
    built = Path(__file__).parents[3] / "target" / "release" / "kindling"
    path = Path(os.environ.get("KINDLING_BIN", built))
    if not path.is_file():
        pytest.fail(
            f"there is no {path}: set KINDLING_BIN to a `kindling` binary, or `cargo build --release --workspace`"
        )
    return path


@pytest.fixture(scope="session")
def pictures(kindling_bin: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sample") / "hill"
    sample: list[str | Path] = [
        kindling_bin,
        "sample",
        "fire-smoke",
        folder,
        "--per-class",
        "30",
        "--size",
        "32",
        "--seed",
        "3",
    ]
    subprocess.run(sample, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="session")
def url(kindling_bin: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("service")
    command: list[str | Path] = [
        kindling_bin,
        "serve",
        "--json",
        "--stop-with-input",
        "--listen",
        "127.0.0.1:0",
        "--device",
        "flex",
    ]
    command += ["--workers", "1", "--private-webhooks", "--data-dir", folder / "data"]
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log) as service,
    ):
        assert service.stdin and service.stdout
        line = service.stdout.readline()
        assert line, (folder / "log").read_text()
        yield json.loads(line)["address"]
        service.stdin.close()
        service.wait(20)


@pytest.fixture(scope="session")
def client(url: str) -> Iterator[Kindling]:
    with Kindling(url) as client:
        yield client


@pytest.fixture()
def proxy(url: str) -> Iterator[Proxy]:
    with Proxy(url) as proxy:
        yield proxy


@pytest.fixture()
def small_parts(monkeypatch: pytest.MonkeyPatch) -> int:
    """Bytes of a part: the fewest that a service takes."""
    least = 1 << 16
    monkeypatch.setattr(_upload, "PART_BYTES", least)
    return least


@dataclass
class Study:
    dataset: Dataset
    task: Task
    model: Model
    #: The task as it was told of while it was waited for.
    told: list[Task]


@pytest.fixture(scope="session")
def study(client: Kindling, pictures: Path) -> Study:
    dataset = client.datasets.push(pictures, name="camera on the hill")
    told: list[Task] = []
    task = dataset.create_task({"name": "fire, smoke or neither", **SMALL})
    try:
        task = task.wait(timeout=PATIENCE, progress=told.append)
    except TaskFailed:
        # A machine that builds something else may need longer for the first network.
        task = task.resume(seconds=MORE).wait(timeout=PATIENCE, progress=told.append)
    assert task.best
    return Study(dataset, task, client.models.get(task.best), told)
