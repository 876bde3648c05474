"""Webhooks: made, looked into, and what a receiver makes of a message."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from queue import SimpleQueue
from threading import Thread

import pytest
from conftest import PATIENCE, Study

from kindling_client import AsyncKindling, InvalidSignature, Kindling, Problem, verify_webhook

Message = tuple[dict[str, str], bytes]


@pytest.fixture()
def receiver() -> Iterator[tuple[str, SimpleQueue[Message]]]:
    """An address that takes messages, and those that came."""
    came: SimpleQueue[Message] = SimpleQueue()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            came.put((dict(self.headers.items()), self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/hook", came
        server.shutdown()


def test_a_message_comes_signed_and_is_told_from_others(
    client: Kindling, study: Study, receiver: tuple[str, SimpleQueue[Message]]
) -> None:
    url, came = receiver
    hook = client.webhooks.create(url)
    assert hook.secret and hook.url == url
    task = client.tasks.create({**study.task.spec, "name": "told of"})
    client.tasks.cancel(task)
    headers, body = came.get(timeout=PATIENCE)
    message = verify_webhook(hook.secret, headers, body)
    assert (message.type, message.task, message.data["state"]) == ("task", task.id, "queued")

    with pytest.raises(InvalidSignature, match="not signed"):
        verify_webhook(hook.secret, headers, body.replace(b"queued", b"failed"))
    other = client.webhooks.create(url)
    assert other.secret
    with pytest.raises(InvalidSignature, match="not signed"):
        verify_webhook(other.secret, headers, body)
    with pytest.raises(InvalidSignature, match="seconds old"):
        verify_webhook(hook.secret, headers, body, now=time.time() + 301)
    with pytest.raises(InvalidSignature, match="no id"):
        verify_webhook(hook.secret, {}, body)
    with pytest.raises(ValueError, match="whsec_"):
        verify_webhook("secret!", headers, body)

    came.get(timeout=PATIENCE)
    told = client.webhooks.deliveries(hook)
    assert [delivery.data["state"] for delivery in told] == ["cancelled", "queued"]
    assert told[1].state == "delivered" and told[1].failures == 0
    assert [one.id for one in client.webhooks.list()] == [hook.id, other.id]
    assert client.webhooks.get(hook.id).secret is None
    client.webhooks.delete(hook)
    client.webhooks.delete(other.id)
    with pytest.raises(Problem) as gone:
        client.webhooks.get(hook)
    assert gone.value.code == "webhook_not_found"


def test_on_asyncio_too(url: str) -> None:
    async def way() -> None:
        async with AsyncKindling(url) as kindling:
            hook = await kindling.webhooks.create("https://kindling.invalid/hook")
            assert [one.id for one in await kindling.webhooks.list()] == [hook.id]
            assert await kindling.webhooks.deliveries(hook) == []
            await kindling.webhooks.delete(hook)
            assert await kindling.webhooks.list() == []

    asyncio.run(way())
