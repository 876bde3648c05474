"""Carries flows out, one step after another, on the thread that asks."""

from __future__ import annotations

import queue
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from typing import Any, TypeVar

import httpx

from ._settings import request_options
from ._steps import QUIET, Close, Flow, Open, Quiet, Read, Send, Sleep, Step, Together, Work

T = TypeVar("T")


class BlockingStream:
    """An answer being read.

    One who wants to wait only so long is read for by a thread: a read of ``httpx`` that runs out of time loses the
    connection. From then on only that thread touches the answer.
    """

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self._chunks: Iterator[bytes] = response.iter_bytes()
        self._read: queue.SimpleQueue[bytes | BaseException | None] = queue.SimpleQueue()
        self._reader: threading.Thread | None = None
        self._left = threading.Event()

    def read(self, patience: float | None) -> bytes | Quiet | None:
        if patience is None and self._reader is None:
            return next(self._chunks, None)
        if self._reader is None:
            self._reader = threading.Thread(target=self._read_on, name="kindling-events", daemon=True)
            self._reader.start()
        try:
            found = self._read.get(timeout=patience)
        except queue.Empty:
            return QUIET
        if isinstance(found, BaseException):
            raise found
        return found

    def _read_on(self) -> None:
        try:
            for chunk in self._chunks:
                if self._left.is_set():
                    break
                self._read.put(chunk)
            self._read.put(None)
        except BaseException as error:  # It is raised where it is read.
            self._read.put(error)
        finally:
            self.response.close()

    def close(self) -> None:
        if self._reader is None:
            self.response.close()
            return
        self._left.set()
        if self._wake():
            self._reader.join(5.0)

    def _wake(self) -> bool:
        """Ends the thread's read. To close its socket here would be wrong: it may be about to read from that number,
        which is the next connection's by then.
        """
        stream = self.response.extensions.get("network_stream")
        connection = stream.get_extra_info("socket") if stream is not None else None
        if not isinstance(connection, socket.socket):
            return False
        with suppress(OSError):
            # Not that of a TLS socket, which would take its state from under the thread.
            socket.socket.shutdown(connection, socket.SHUT_RDWR)
        return True


class Blocking:
    """The driver that blocks."""

    def __init__(self, client: httpx.Client) -> None:
        self.client = client

    def run(self, flow: Flow[T]) -> T:
        try:
            step = next(flow)
            while True:
                try:
                    result = self._do(step)
                except BaseException as error:
                    step = flow.throw(error)
                else:
                    step = flow.send(result)
        except StopIteration as end:
            value: T = end.value
            return value

    def _do(self, step: Step) -> Any:
        if isinstance(step, Send):
            return self._send(step, stream=False)
        if isinstance(step, Open):
            response = self._send(step, stream=True)
            if response.status_code >= 400:
                response.read()
            return BlockingStream(response)
        if isinstance(step, Read):
            stream: Any = step.stream
            return stream.read(step.patience)
        if isinstance(step, Close):
            stream = step.stream
            return stream.close()
        if isinstance(step, Sleep):
            return time.sleep(step.seconds)
        if isinstance(step, Together):
            with ThreadPoolExecutor(len(step.flows), "kindling") as threads:
                running = [threads.submit(self.run, flow) for flow in step.flows]
                try:
                    wait(running)
                except BaseException:
                    step.stop()
                    raise
            for one in running:
                one.result()
            return None
        assert isinstance(step, Work)
        return step.function()

    def _send(self, step: Send | Open, *, stream: bool) -> httpx.Response:
        request = self.client.build_request(**request_options(self.client, step.request, blocking=True))
        return self.client.send(request, stream=stream)
