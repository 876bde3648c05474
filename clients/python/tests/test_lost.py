"""Connections that are lost on the way, by a proxy that cuts them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from conftest import Study
from proxy import Proxy

from kindling_client import Kindling, KindlingError, ServiceUnreachable, UploadInterrupted, _upload


def test_every_event_comes_once(proxy: Proxy, study: Study) -> None:
    # Room for the head of an answer and a few events.
    proxy.answer_limit = 1200
    with Kindling(proxy.url) as client:
        events = list(client.tasks.events(study.task.id))
    assert proxy.cuts > 1
    assert events == list(study.task.events())
    assert re.search(rb"last-event-id: \d+", proxy.asked, re.IGNORECASE)


def test_a_download_goes_on_where_it_stopped(proxy: Proxy, study: Study, tmp_path: Path) -> None:
    proxy.answer_limit = 10_000
    with Kindling(proxy.url) as client:
        client.models.download(study.model, tmp_path, files=["model.onnx"])
    (file,) = (file for file in study.model.list_files() if file.name == "model.onnx")
    assert (tmp_path / file.name).stat().st_size == file.bytes
    assert proxy.cuts >= file.bytes // 10_000
    # What was there was not sent again: all but the heads of the answers.
    assert proxy.answered < file.bytes + 2000 * (proxy.cuts + 2)


def test_a_later_download_goes_on_too(proxy: Proxy, study: Study, tmp_path: Path) -> None:
    size = {file.name: file.bytes for file in study.model.list_files()}["model.onnx"]
    proxy.answer_limit, proxy.ends_with_cut = size // 2, True
    with Kindling(proxy.url) as client, pytest.raises(ServiceUnreachable, match="broke off"):
        client.models.download(study.model, tmp_path, files=["model.onnx"])
    (part,) = tmp_path.iterdir()
    assert part.name.startswith(".model.onnx.") and 0 < part.stat().st_size < size
    proxy.down, proxy.answer_limit, proxy.asked = False, None, b""
    with Kindling(proxy.url) as client:
        client.models.download(study.model, tmp_path, files=["model.onnx"])
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]
    assert re.search(rb"range: bytes=\d+-", proxy.asked, re.IGNORECASE)


def test_a_lost_answer_does_not_make_a_second_task(proxy: Proxy, client: Kindling, study: Study) -> None:
    before = sum(1 for _ in client.tasks.list())
    # The request arrives whole, its answer never does.
    proxy.answer_limit, proxy.cuts_left = 0, 1
    with Kindling(proxy.url) as lossy:
        task = lossy.tasks.create({**study.task.spec, "name": "once"})
    assert proxy.cuts == 1 and proxy.asked.lower().count(b"idempotency-key") > 1
    assert sum(1 for _ in client.tasks.list()) == before + 1
    client.tasks.cancel(task.id)


def test_of_an_upload_what_was_lost_is_sent_again(proxy: Proxy, pictures: Path, small_parts: int) -> None:
    proxy.request_limit, proxy.cuts_left = 60_000, 1
    with Kindling(proxy.url) as lossy:
        dataset = lossy.datasets.push(pictures)
        assert proxy.cuts == 1 and dataset.summary and dataset.summary.examples == 90
        dataset.delete()
    # Beside the one that was cut, each part came once.
    sent = re.findall(rb"PUT /v1/uploads/upload_[0-9a-f]+/parts/(\d+) ", proxy.asked)
    assert len(set(sent)) > 2 and len(sent) == len(set(sent)) + 1


def test_a_later_upload_goes_on_with_what_is_there(
    proxy: Proxy, client: Kindling, pictures: Path, small_parts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = client.datasets.create("in two goes")
    # One after another on one connection, so that some arrive before it has had its bytes.
    monkeypatch.setattr(_upload, "AT_ONCE", 1)
    proxy.request_limit, proxy.ends_with_cut = 2 * small_parts, True
    with Kindling(proxy.url) as lossy, pytest.raises(UploadInterrupted, match="resume=") as broken:
        lossy.datasets.upload(dataset, pictures)
    interrupted = broken.value
    assert interrupted.dataset == dataset.id
    (whole,) = re.findall(rb'"bytes":\s*(\d+)', proxy.asked)
    parts = -(-int(whole) // small_parts)
    proxy.down, proxy.request_limit, proxy.asked = False, None, b""
    with Kindling(proxy.url) as again:
        with pytest.raises(KindlingError, match="this archive has"):
            again.datasets.upload(dataset, next(pictures.glob("smoke/*.png")), resume=interrupted.upload)
        proxy.asked = b""
        ready = again.datasets.upload(dataset, pictures, resume=interrupted.upload)
    assert ready.state == "ready" and ready.summary and ready.summary.examples == 90
    sent = set(re.findall(rb"PUT /v1/uploads/upload_[0-9a-f]+/parts/(\d+) ", proxy.asked))
    # What was there is not sent again.
    assert 0 < len(sent) < parts
    client.datasets.delete(ready)
