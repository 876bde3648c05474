"""Webhooks."""

from __future__ import annotations

from .._exchange import call, call_nothing
from .._steps import Flow
from ..models import Answered, Delivery, Webhook

#: What names a webhook: its id, or an answer that has it.
WebhookRef = str | Webhook


class _Webhooks(Answered):
    items: list[Webhook]


class _Deliveries(Answered):
    items: list[Delivery]


def _at(ref: WebhookRef) -> dict[str, str | int]:
    return {"id": ref if isinstance(ref, str) else ref.id}


def create(url: str) -> Flow[Webhook]:
    return call(Webhook, "createWebhook", json={"url": url})


def get(webhook: WebhookRef) -> Flow[Webhook]:
    return call(Webhook, "getWebhook", at=_at(webhook))


def every() -> Flow[list[Webhook]]:
    return (yield from call(_Webhooks, "listWebhooks")).items


def deliveries(webhook: WebhookRef) -> Flow[list[Delivery]]:
    return (yield from call(_Deliveries, "listDeliveries", at=_at(webhook))).items


def delete(webhook: WebhookRef) -> Flow[None]:
    return call_nothing("deleteWebhook", at=_at(webhook))
