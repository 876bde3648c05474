"""Carries flows out on asyncio's loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any, TypeVar

import httpx

from ._settings import request_options
from ._steps import QUIET, Close, Flow, Open, Quiet, Read, Send, Sleep, Step, Together, Work

T = TypeVar("T")


class AwaitingStream:
    """An answer being read. A read that is waited for only so long goes on and is taken up the next time."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self._chunks: AsyncIterator[bytes] = response.aiter_bytes()
        self._reading: asyncio.Task[bytes | None] | None = None

    async def read(self, patience: float | None) -> bytes | Quiet | None:
        if patience is None and self._reading is None:
            return await self._next()
        if self._reading is None:
            self._reading = asyncio.ensure_future(self._next())
        done, _ = await asyncio.wait({self._reading}, timeout=patience)
        if not done:
            return QUIET
        reading, self._reading = self._reading, None
        return reading.result()

    async def _next(self) -> bytes | None:
        return await anext(self._chunks, None)

    async def close(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            with suppress(asyncio.CancelledError, httpx.HTTPError):
                await self._reading
        await self.response.aclose()


class Awaiting:
    """The driver that awaits."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client

    async def run(self, flow: Flow[T]) -> T:
        try:
            step = next(flow)
            while True:
                try:
                    result = await self._do(step)
                except BaseException as error:
                    step = flow.throw(error)
                else:
                    step = flow.send(result)
        except StopIteration as end:
            value: T = end.value
            return value

    async def _do(self, step: Step) -> Any:
        if isinstance(step, Send):
            return await self._send(step, stream=False)
        if isinstance(step, Open):
            response = await self._send(step, stream=True)
            if response.status_code >= 400:
                await response.aread()
            return AwaitingStream(response)
        if isinstance(step, Read):
            stream: Any = step.stream
            return await stream.read(step.patience)
        if isinstance(step, Close):
            stream = step.stream
            return await stream.close()
        if isinstance(step, Sleep):
            return await asyncio.sleep(step.seconds)
        if isinstance(step, Together):
            running = [asyncio.ensure_future(self.run(flow)) for flow in step.flows]
            try:
                await asyncio.wait(running)
            except asyncio.CancelledError:
                for one in running:
                    one.cancel()
                await asyncio.wait(running)
                raise
            for one in running:
                one.result()
            return None
        assert isinstance(step, Work)
        return await asyncio.to_thread(step.function)

    async def _send(self, step: Send | Open, *, stream: bool) -> httpx.Response:
        request = self.client.build_request(**request_options(self.client, step.request, blocking=False))
        return await self.client.send(request, stream=stream)
