"""What goes wrong reads well."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import Study

from kindling_client import (
    ChecksumMismatch,
    Kindling,
    KindlingError,
    Problem,
    ServiceUnreachable,
    TaskFailed,
    UnexpectedAnswer,
    WaitTimeout,
)


def test_an_id_that_names_nothing(client: Kindling) -> None:
    with pytest.raises(Problem) as caught:
        client.tasks.get("task_" + "0" * 32)
    problem = caught.value
    assert (problem.status, problem.code, problem.type) == (404, "task_not_found", "/problems/task_not_found")
    assert problem.title == "There is no such task" and problem.request_id
    assert str(problem) == f"There is no such task (404 task_not_found): {problem.detail}"
    with pytest.raises(Problem, match=r"no model `model_0{32}`"):
        client.models.get("model_" + "0" * 32)
    # What could climb in an address does not.
    with pytest.raises(Problem, match="is not an id of the form"):
        client.tasks.get("../datasets")
    with pytest.raises(ValueError, match="an id is empty"):
        client.tasks.get("")


def test_a_specification_is_refused_with_every_broken_rule(client: Kindling, study: Study) -> None:
    spec = {"version": 1, "name": "", "kind": "image-classification", "dataset": study.dataset.id, "colour": "red"}
    with pytest.raises(Problem) as caught:
        client.tasks.create({**spec, "budget": {"seconds": -1}})
    assert caught.value.status == 422
    assert {v.pointer for v in caught.value.violations} == {"/colour", "/name", "/budget/seconds"}
    for violation in caught.value.violations:
        assert violation.message in str(caught.value)


def test_a_refused_folder_leaves_no_data_set(client: Kindling, tmp_path: Path) -> None:
    before = [one.id for one in client.datasets.list()]
    with pytest.raises(KindlingError, match="there is no file in"):
        client.datasets.push(tmp_path)
    (tmp_path / "fire").mkdir()
    (tmp_path / "fire" / "notes.txt").write_text("no picture")
    with pytest.raises(Problem, match="The data set's content was refused") as caught:
        client.datasets.push(tmp_path)
    assert caught.value.code in ("invalid_layout", "too_few_examples") and len(caught.value.detail) > 20
    with pytest.raises(FileNotFoundError, match="no folder and no archive"):
        client.datasets.push(tmp_path / "nowhere")
    assert [one.id for one in client.datasets.list()] == before


def test_a_service_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KINDLING_URL", "http://127.0.0.1:1/")
    with Kindling() as nobody:
        assert nobody.base_url == "http://127.0.0.1:1"
        with pytest.raises(
            ServiceUnreachable, match=r"no Kindling service answers at http://127\.0\.0\.1:1 .*KINDLING_URL"
        ):
            nobody.tasks.get("task_" + "0" * 32)
    with pytest.raises(ValueError, match="`localhost` is no address of a service"):
        Kindling("localhost")
    with pytest.raises(ValueError, match="is no address of a service"):
        Kindling("http://[::1")


def test_waiting_ends_in_time(client: Kindling, study: Study) -> None:
    task = client.tasks.create({**study.task.spec, "name": "long", "budget": {"seconds": 600}})
    with pytest.raises(WaitTimeout, match="it goes on"):
        task.wait(timeout=0.3)
    task.cancel()


def test_a_task_without_a_model_has_nothing_to_download(study: Study, tmp_path: Path) -> None:
    client, _ = answering(httpx.Response(200, json=task_body(study, state="running")))
    with pytest.raises(KindlingError, match="is running and has no model yet"):
        client.tasks.download(study.task.id, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def answering(*answers: httpx.Response) -> tuple[Kindling, list[httpx.Request]]:
    """A client whose service gives these answers, the last one for ever."""
    left, asked = list(answers), []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return left.pop(0) if len(left) > 1 else left[0]

    return Kindling("http://kindling.test", transport=httpx.MockTransport(answer)), asked


def task_body(study: Study, **changed: object) -> dict[str, Any]:
    """What a service would say of the task, had it no model."""
    told = json.loads(study.task.model_dump_json())
    nothing = {"best": None, "best_model": None, "progress": {"state": changed["state"]}}
    return {**told, "created_at": 1, "started_at": 1, "ended_at": 1, **nothing, **changed}


READY = {"ready": True, "database": True, "queue": True, "files": True, "disk": True, "workers": 1}
BUSY = {"type": "/problems/internal", "title": "Busy", "status": 503, "detail": "try again", "code": "internal"}


def busy() -> httpx.Response:
    return httpx.Response(503, json=BUSY, headers={"Retry-After": "0"})


def test_a_busy_service_is_asked_again_where_that_is_harmless() -> None:
    client, asked = answering(busy(), busy(), httpx.Response(200, json=READY))
    assert client.ready().ready and len(asked) == 3
    client, asked = answering(busy())
    with pytest.raises(Problem, match="Busy"):
        client.datasets.delete("ds_1")
    assert len(asked) == 1, "deleting twice is not the same as deleting once"
    client, asked = answering(busy())
    with pytest.raises(Problem, match="Busy"):
        client.tasks.create({})
    assert len({request.headers["idempotency-key"] for request in asked}) == 1 < len(asked)
    client, asked = answering(httpx.Response(503, json=BUSY))
    with pytest.raises(Problem):
        client.ready()
    assert len(asked) == 1, "who does not say when is not asked again"


def test_members_and_words_of_a_newer_service_do_no_harm() -> None:
    dataset: dict[str, Any] = {
        "id": "ds_1", "name": "n", "kind": "audio-tagging", "labels": "tags", "state": "resting", "colour": "red",
        "created_at": 1, "updated_at": 1, "summary": {"classes": ["a"], "seconds": 3},
    }  # fmt: skip
    client, _ = answering(httpx.Response(200, json=dataset))
    found = client.datasets.get("ds_1")
    assert (found.state, found.kind, found.classes) == ("resting", "audio-tagging", ["a"])
    assert found.model_extra == {"colour": "red"}
    del dataset["id"]
    client, _ = answering(httpx.Response(200, json=dataset))
    with pytest.raises(UnexpectedAnswer, match=r"GET http://kindling\.test/v1/datasets/ds_1"):
        client.datasets.get("ds_1")


def test_answers_of_something_else() -> None:
    page = httpx.Response(200, html="<h1>Welcome</h1>")
    with pytest.raises(UnexpectedAnswer, match="is not what a Kindling service says"):
        answering(page)[0].ready()
    gateway = httpx.Response(502, html="<h1>Bad gateway</h1>")
    with pytest.raises(Problem, match="Bad gateway") as caught:
        answering(gateway)[0].ready()
    assert (caught.value.status, caught.value.type) == (502, "about:blank")


def test_a_task_that_fails_is_an_error(study: Study) -> None:
    body = task_body(study, state="failed", reason="no network learned")
    client, _ = answering(httpx.Response(200, json=body))
    with pytest.raises(TaskFailed, match=r"fire, smoke or neither.* failed: no network learned") as caught:
        client.tasks.wait(study.task.id)
    assert caught.value.task.id == study.task.id


class Corrupting(httpx.HTTPTransport):
    """Changes a byte of a file on its way."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        response = super().handle_request(request)
        if not request.url.path.endswith("/labels.json"):
            return response
        content = bytearray(response.read())
        content[3] ^= 1
        return httpx.Response(response.status_code, headers=response.headers, content=bytes(content))


def test_a_file_with_another_checksum_is_not_kept(url: str, study: Study, tmp_path: Path) -> None:
    with Kindling(url, transport=Corrupting()) as client, pytest.raises(ChecksumMismatch, match=r"labels\.json"):
        client.models.download(study.model, tmp_path, files=["labels.json"])
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_not_written_outside_the_folder(tmp_path: Path) -> None:
    file = {"name": "../evil", "bytes": 1, "sha256": "0" * 64, "media_type": "a/b", "about": "", "href": ""}
    client, _ = answering(httpx.Response(200, json={"items": [file], "next": None}))
    with pytest.raises(UnexpectedAnswer, match="no plain name"):
        client.models.download("model_1", tmp_path / "in")
