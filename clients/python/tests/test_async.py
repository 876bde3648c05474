"""The same on asyncio, in brief."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

import pytest
from conftest import MORE, PATIENCE, SMALL, Study
from proxy import Proxy

from kindling_client import AsyncKindling, AsyncTask, Problem, ServiceUnreachable, TaskFailed


def test_the_whole_way_over_connections_that_are_lost(proxy: Proxy, pictures: Path, tmp_path: Path) -> None:
    async def way() -> None:
        async with AsyncKindling(proxy.url) as kindling:
            dataset = await kindling.datasets.push(pictures)
            assert dataset.classes == ["fire", "neither", "smoke"]
            # No connection lives longer than a few answers from here on.
            proxy.answer_limit = 4000
            task = await dataset.create_task({"name": "on asyncio", **SMALL})
            told: list[AsyncTask] = []
            try:
                task = await task.wait(timeout=PATIENCE, progress=told.append)
            except TaskFailed:
                task = await (await task.resume(seconds=MORE)).wait(timeout=PATIENCE, progress=told.append)
            assert task.state == "complete" and task.best and told[-1].state == "complete"
            assert proxy.cuts > 1
            events = [event async for event in task.events()]
            assert events[-1].event == "end"
            proxy.answer_limit = 20_000
            paths = await task.download(tmp_path)
            proxy.answer_limit = None
            listed = {file.name: file.sha256 for file in await kindling.models.files(task.best)}
            assert {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths} == listed
            answers = await kindling.models.predict_many(task.best, sorted(pictures.glob("smoke/*.png"))[:3])
            assert [answer.answer is not None for answer in answers] == [True] * 3

    asyncio.run(way())


def test_errors_are_the_same(url: str) -> None:
    async def ask() -> None:
        async with AsyncKindling(url) as kindling:
            with pytest.raises(Problem, match=r"no task `task_0{32}`"):
                await kindling.tasks.get("task_" + "0" * 32)
        async with AsyncKindling("http://127.0.0.1:1") as nobody:
            with pytest.raises(ServiceUnreachable, match="kindling serve"):
                await nobody.ready()

    asyncio.run(ask())


def test_the_loop_stays_free_and_waiting_can_be_cancelled(url: str, study: Study) -> None:
    async def way() -> None:
        async with AsyncKindling(url) as kindling:
            spec = {**study.task.spec, "name": "long", "budget": {"seconds": 600}}
            task = await kindling.tasks.create(spec)
            waiting = asyncio.create_task(task.wait())
            # Were the loop blocked, this would not go on before the task is over.
            for _ in range(20):
                await asyncio.sleep(0.05)
            assert not waiting.done()
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            assert (await task.cancel()).state == "cancelled"

    asyncio.run(way())
