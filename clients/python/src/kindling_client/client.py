"""The client that blocks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, TypeVar

import httpx

from ._blocking import Blocking
from ._events import Events
from ._exchange import Pages, call
from ._settings import client_options
from ._steps import Flow, Quiet
from .models import Readiness, TaskEvent
from .parts import Datasets, Drafts, Models, Tasks, Webhooks
from .things import bind

T = TypeVar("T")


class Kindling:
    """A client of a Kindling service. It may be used by several threads, and closed or used in a ``with``.

    The address is ``base_url``, else the environment's ``KINDLING_URL``, else ``http://127.0.0.1:8080``. ``key`` is a
    key to the service, else the environment's ``KINDLING_KEY``; a service without keys wants none. ``timeout`` is in
    seconds, of connecting and of silence; long uploads and downloads may take as long as they do. ``headers`` are sent
    with every request, such as those that a proxy wants. ``transport`` is one of ``httpx``, for certificates and
    proxies of your own.
    """

    def __init__(
        self,
        base_url: str | None = None,
        *,
        key: str | None = None,
        timeout: float = 30.0,
        headers: Mapping[str, str] | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._driver = Blocking(httpx.Client(transport=transport, **client_options(base_url, key, timeout, headers)))
        self.datasets = Datasets(self)
        self.drafts = Drafts(self)
        self.tasks = Tasks(self)
        self.models = Models(self)
        self.webhooks = Webhooks(self)

    @property
    def base_url(self) -> str:
        """The service's address."""
        return str(self._driver.client.base_url).rstrip("/")

    def ready(self) -> Readiness:
        """What the service stands on; raises ``Problem`` if it cannot serve."""
        return self._run(call(Readiness, "getReadiness"))

    def task_schema(self) -> dict[str, Any]:
        """The JSON Schema of task specifications."""
        return self._run(call(dict[str, Any], "getTaskSpecSchema"))

    def close(self) -> None:
        """Ends its connections."""
        self._driver.client.close()

    def __enter__(self) -> Kindling:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.base_url!r})"

    def _run(self, flow: Flow[T]) -> T:
        return bind(self, self._driver.run(flow))

    def _iterate(self, pages: Pages[T]) -> Iterator[T]:
        while (item := self._run(pages.next())) is not None:
            yield item

    def _follow(self, events: Events) -> Iterator[TaskEvent]:
        try:
            while (event := self._run(events.next())) is not None:
                assert not isinstance(event, Quiet)
                yield event
        finally:
            self._run(events.close())
