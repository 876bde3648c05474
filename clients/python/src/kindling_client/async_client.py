"""The client that awaits, on asyncio."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import Any, TypeVar

import httpx

from ._awaiting import Awaiting
from ._events import Events
from ._exchange import Pages, call
from ._settings import client_options
from ._steps import Flow, Quiet
from .async_parts import AsyncDatasets, AsyncDrafts, AsyncModels, AsyncTasks, AsyncWebhooks
from .async_things import bind
from .models import Readiness, TaskEvent

T = TypeVar("T")


class AsyncKindling:
    """As ``Kindling``, on asyncio: methods are awaited, and what is iterated over comes by ``async for``.

    Close it with ``aclose`` or use it in an ``async with``.
    """

    def __init__(
        self,
        base_url: str | None = None,
        *,
        key: str | None = None,
        timeout: float = 30.0,
        headers: Mapping[str, str] | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        options = client_options(base_url, key, timeout, headers)
        self._driver = Awaiting(httpx.AsyncClient(transport=transport, **options))
        self.datasets = AsyncDatasets(self)
        self.drafts = AsyncDrafts(self)
        self.tasks = AsyncTasks(self)
        self.models = AsyncModels(self)
        self.webhooks = AsyncWebhooks(self)

    @property
    def base_url(self) -> str:
        """The service's address."""
        return str(self._driver.client.base_url).rstrip("/")

    async def ready(self) -> Readiness:
        """What the service stands on; raises ``Problem`` if it cannot serve."""
        return await self._run(call(Readiness, "getReadiness"))

    async def task_schema(self) -> dict[str, Any]:
        """The JSON Schema of task specifications."""
        return await self._run(call(dict[str, Any], "getTaskSpecSchema"))

    async def aclose(self) -> None:
        """Ends its connections."""
        await self._driver.client.aclose()

    async def __aenter__(self) -> AsyncKindling:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.base_url!r})"

    async def _run(self, flow: Flow[T]) -> T:
        return bind(self, await self._driver.run(flow))

    async def _iterate(self, pages: Pages[T]) -> AsyncIterator[T]:
        while (item := await self._run(pages.next())) is not None:
            yield item

    async def _follow(self, events: Events) -> AsyncIterator[TaskEvent]:
        try:
            while (event := await self._run(events.next())) is not None:
                assert not isinstance(event, Quiet)
                yield event
        finally:
            await self._run(events.close())
