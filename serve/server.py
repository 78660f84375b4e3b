"""uvicorn with the limits of ours: sockets, time, and a stop that finishes what was taken."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import signal
import socket
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from tilegrad.serve.app import App


class Connection(H11Protocol):
    """HTTP/1.1 with bounds that uvicorn lacks: of the time until a request's headers are whole, and of the time that
    a client reads nothing of its answer.
    """

    seconds = 10.0
    _headers: asyncio.TimerHandle | None = None
    _reading: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        transport.set_write_buffer_limits(0)  # whatever is not written yet pauses, and has its time
        self._await_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel("_headers")
        self._cancel("_reading")
        super().connection_lost(exc)

    def handle_events(self) -> None:
        super().handle_events()
        if self.cycle is not None and not self.cycle.response_complete:
            self._cancel("_headers")

    def on_response_complete(self) -> None:
        self._await_headers()
        super().on_response_complete()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._cancel("_reading")
        self._reading = self.loop.call_later(self.seconds, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._cancel("_reading")

    def _await_headers(self) -> None:
        self._cancel("_headers")
        self._headers = self.loop.call_later(self.seconds, self.transport.abort)

    def _cancel(self, name: str) -> None:
        timer = getattr(self, name)
        if timer is not None:
            timer.cancel()
            setattr(self, name, None)


def listen(host: str, port: int) -> socket.socket:
    """A socket that is bound to an address; port 0 is any that is free.

    Raises:
        OSError: the address is taken, not allowed, or none of this machine.
    """
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError:
        bound.close()
        raise
    return bound


def run(app: App, bound: socket.socket, ready: Callable[[], None] = lambda: None) -> None:
    """Serve until SIGTERM or SIGINT; requests that were taken are answered before this returns.

    Args:
        app: :func:`tilegrad.serve.app`'s.
        bound: from :func:`listen`.
        ready: called when connections are taken.
    """
    limits = app.service.limits
    _allow_files(limits.connections + 64)
    config = uvicorn.Config(
        app,
        http=type("Connection", (Connection,), {"seconds": limits.timeout}),
        ws="none",
        lifespan="on",
        log_config=None,
        log_level="error",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=limits.connections + 1,  # it refuses from there on
        timeout_keep_alive=max(1, round(limits.timeout)),
        timeout_graceful_shutdown=round(2 * limits.timeout) + 1,
    )
    server = _Server(config)
    server.ready = ready
    # uvicorn raises the signals that stopped it once more, for the handlers that were there before
    with _no_handlers():
        server.run(sockets=[bound])


class _Server(uvicorn.Server):
    ready: Callable[[], None]

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready()


@contextlib.contextmanager
def _no_handlers() -> Any:
    def nothing(_: int, __: FrameType | None) -> None: ...

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {s: signal.signal(s, nothing) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _allow_files(count: int) -> None:
    """Raise the process's soft limit of open files to ``count``, as far as the hard limit allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
