"""What a webhook's receiver does: tells messages of the service from others."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import time
from collections.abc import Mapping

from pydantic import ValidationError

from .errors import KindlingError
from .models import WebhookMessage

#: Seconds that a message's time may be off; older ones may be someone's who listened.
TOLERANCE = 300.0

_SECRET = "whsec_"


class InvalidSignature(KindlingError):
    """A message that the service did not send, or long ago."""


def verify_webhook(secret: str, headers: Mapping[str, str], body: bytes, *, now: float | None = None) -> WebhookMessage:
    """Reads a message if it is the service's, signed as Standard Webhooks says; else raises ``InvalidSignature``.

    ``secret`` is that of the answer when the webhook was made, ``headers`` and ``body`` are those of the request.
    ``webhook-id`` is the same when a message comes twice. ``now`` is the time, in seconds since 1970.
    """
    given = {name.lower(): value for name, value in headers.items()}
    try:
        key = base64.b64decode(secret.removeprefix(_SECRET), validate=True)
        name, moment, signatures = given["webhook-id"], given["webhook-timestamp"], given["webhook-signature"]
        age = (time.time() if now is None else now) - int(moment)
    except binascii.Error as error:
        raise ValueError("the secret is `whsec_` and base64, as the service told it") from error
    except (KeyError, ValueError) as error:
        raise InvalidSignature("the request has no id, time and signature of a webhook's message") from error
    if abs(age) > TOLERANCE:
        raise InvalidSignature(f"the message is {age:.0f} seconds old")
    signed = hmac.new(key, f"{name}.{moment}.".encode() + body, hashlib.sha256).digest()
    expected = f"v1,{base64.b64encode(signed).decode()}".encode()
    if not any(hmac.compare_digest(expected, one.encode()) for one in signatures.split()):
        raise InvalidSignature("the message was not signed with this secret")
    try:
        return WebhookMessage.model_validate_json(body)
    except ValidationError as error:
        raise InvalidSignature(f"the message is none of a Kindling service: {error}") from error
