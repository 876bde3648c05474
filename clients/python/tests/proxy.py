"""A proxy that loses connections on purpose."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from types import TracebackType
from urllib.parse import urlsplit


class Proxy:
    """Passes bytes on to a service, as many of each connection as it may."""

    def __init__(self, service: str) -> None:
        parts = urlsplit(service)
        self._service = (parts.hostname or "", parts.port or 80)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        #: Bytes of a connection's answers and requests after which it is cut; ``None``: never.
        self.answer_limit: int | None = None
        self.request_limit: int | None = None
        #: How many connections are still to be cut; ``None``: all.
        self.cuts_left: int | None = None
        self.cuts = 0
        #: The first cut is for good: the proxy is down from then on.
        self.ends_with_cut = False
        #: Connections are closed as soon as they come.
        self.down = False
        #: All that was asked, and how many bytes were answered.
        self.asked = b""
        self.answered = 0
        self._lock = threading.Lock()

    def __enter__(self) -> Proxy:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                if self.down:
                    client.close()
                    continue
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.create_connection(self._service) as service:
            asking = threading.Thread(target=self._pass_on, args=(client, service, False), daemon=True)
            asking.start()
            self._pass_on(service, client, True)
            # Only then are they closed: their numbers are the next connection's at once.
            asking.join()

    def _pass_on(self, source: socket.socket, target: socket.socket, answers: bool) -> None:
        passed = 0
        with suppress(OSError):
            while chunk := source.recv(4096):
                limit = self.answer_limit if answers else self.request_limit
                if limit is not None and passed + len(chunk) > limit and self._may_cut():
                    chunk = chunk[: limit - passed]
                    limit = -1
                target.sendall(chunk)
                passed += len(chunk)
                with self._lock:
                    if answers:
                        self.answered += len(chunk)
                    else:
                        self.asked += chunk
                if limit == -1:
                    break
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _may_cut(self) -> bool:
        with self._lock:
            if self.cuts_left == 0:
                return False
            if self.cuts_left is not None:
                self.cuts_left -= 1
            self.cuts += 1
            self.down = self.ends_with_cut
            return True
