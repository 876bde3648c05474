"""What both drivers are made of: address, times, headers."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

import httpx

from ._steps import FileBody, Request

DEFAULT_URL = "http://127.0.0.1:8080"
VERSION = "0.1.0"


def address(given: str | None) -> httpx.URL:
    """The service's address: as given, else the environment's ``KINDLING_URL``, else this machine's port 8080."""
    text = given or os.environ.get("KINDLING_URL") or DEFAULT_URL
    try:
        url = httpx.URL(text.rstrip("/") + "/")
    except httpx.InvalidURL:
        url = httpx.URL("")
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError(f"`{text}` is no address of a service; it looks like {DEFAULT_URL}")
    return url


def authorization(key: str | None) -> dict[str, str]:
    """The header that a key is sent in: the one given, else the environment's ``KINDLING_KEY``, else none."""
    text = (key or os.environ.get("KINDLING_KEY") or "").strip()
    if not text.isascii() or any(character.isspace() for character in text):
        raise ValueError("a key is one word of ASCII, such as `kindling keys create` prints")
    return {"Authorization": f"Bearer {text}"} if text else {}


def client_options(
    base_url: str | None, key: str | None, timeout: float, headers: Mapping[str, str] | None
) -> dict[str, Any]:
    """What an ``httpx`` client is made with."""
    url = address(base_url)
    usual = {"User-Agent": f"kindling-client/{VERSION}", "Accept": "application/json", **authorization(key)}
    return {
        "base_url": url,
        "timeout": httpx.Timeout(timeout),
        "headers": {**usual, **(headers or {})},
        # A proxy that the environment names knows nothing of this machine's own ports.
        "trust_env": not _is_loopback(url.host),
    }


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def request_options(client: httpx.Client | httpx.AsyncClient, request: Request, *, blocking: bool) -> dict[str, Any]:
    """What ``httpx`` is told of a request."""
    options: dict[str, Any] = {
        "method": request.method,
        # Relative, so that a service behind a path of a proxy is found.
        "url": request.path.lstrip("/"),
        "params": dict(request.params),
        "headers": dict(request.headers),
    }
    content: bytes | Iterator[bytes] | AsyncIterator[bytes] | None
    if isinstance(request.content, FileBody):
        content = request.content.chunks() if blocking else request.content.async_chunks()
    else:
        content = request.content
    if content is not None:
        options["content"] = content
    elif request.form:
        options["files"] = [(field, (name, data)) for field, name, data in request.form]
    elif request.json is not None:
        options["json"] = request.json
    if request.silence is not None:
        limits = client.timeout
        options["timeout"] = httpx.Timeout(limits.connect, read=request.silence, write=limits.write, pool=limits.pool)
    return options
