"""The ASGI application: predictions, a page to draw on, health, metrics."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from tilegrad.serve import inputs, page
from tilegrad.serve.batching import Batcher
from tilegrad.serve.limits import Limits, Refusal
from tilegrad.serve.metrics import CONTENT_TYPE, Metrics
from tilegrad.serve.model import Model

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
PATHS = ("/", "/predict", "/model", "/health", "/metrics")


class _Service:
    """The answers of one model."""

    def __init__(self, model: Model, limits: Limits):
        self.model, self.limits, self.metrics = model, limits, Metrics()
        self.batcher = Batcher(model, limits, self.metrics)
        self.decoding: asyncio.Semaphore
        self.buffered = 0  # bytes

    @asynccontextmanager
    async def lifespan(self, _: Starlette) -> AsyncIterator[None]:
        """Serve from startup on, and finish what was taken at shutdown."""
        self.decoding = asyncio.Semaphore(2)  # images at one time
        self.batcher.start()
        yield
        await self.batcher.close()

    async def page(self, _: Request) -> Response:
        return HTMLResponse(page.text(), headers={"Content-Security-Policy": page.policy()})

    async def describe(self, _: Request) -> Response:
        given = self.model.describe()
        limits = {"max_body": self.limits.max_body, "examples": self.limits.queue}
        return _json({**given, "content_types": inputs.kinds(self.model.inputs), "limits": limits})

    async def health(self, _: Request) -> Response:
        alive = self.batcher.alive
        return _json({"status": "ok" if alive else "stopping"}, 200 if alive else 503)

    async def count(self, _: Request) -> Response:
        return Response(self.metrics.text(), media_type=CONTENT_TYPE)

    async def predict(self, request: Request) -> Response:
        kind = self._content_type(request)
        loop = asyncio.get_running_loop()
        until = loop.time() + self.limits.timeout
        held = 0
        try:
            try:
                async with asyncio.timeout_at(until):
                    body = bytearray()
                    async for chunk in self._body(request):
                        held += len(chunk)
                        self._hold(len(chunk))
                        body += chunk
            except TimeoutError:
                raise Refusal(
                    408, f"the body did not come within {self.limits.timeout:g} s", Connection="close"
                ) from None  # fmt: skip
            try:
                async with asyncio.timeout_at(until):
                    arrays = await self._arrays(bytes(body), kind)
                    del body
                    found = await self.batcher.submit(arrays)
            except TimeoutError:
                raise Refusal(
                    503, f"there was no result within {self.limits.timeout:g} s", Retry_After="1"
                ) from None
        finally:
            self._hold(-held, check=False)
        answer: dict[str, Any] = {"outputs": {n: _numbers(rows) for n, rows in found.items()}}
        if self.model.softmax:
            answer["classes"] = found["probabilities"].argmax(1).tolist()
        return _json(answer)

    def _content_type(self, request: Request) -> str:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        allowed = inputs.kinds(self.model.inputs)
        if kind not in allowed:
            raise Refusal(
                415, f"Content-Type must be {' or '.join(allowed)}; got {kind!r}", Connection="close"
            )  # fmt: skip
        if request.headers.get("content-encoding", "identity").lower() != "identity":
            raise Refusal(415, "bodies must not be compressed", Connection="close")
        return kind

    def _hold(self, change: int, check: bool = True) -> None:
        self.buffered += change
        self.metrics.body_bytes.set(self.buffered)
        if check and self.buffered > self.limits.buffered:
            raise Refusal(
                503, "too many bodies are being read", Retry_After="1", Connection="close"
            )  # fmt: skip

    async def _body(self, request: Request) -> AsyncIterator[bytes]:
        """The body in chunks.

        Raises:
            Refusal: 413, it is longer than the limit; its sender is heard for a second more, so that the answer is
                read, not lost with the connection.
        """
        told, size, most = request.headers.get("content-length", ""), 0, self.limits.max_body
        long = told.isascii() and told.isdecimal() and len(told) < 20 and int(told) > most
        if long and "expect" in request.headers:
            raise Refusal(413, f"a body may have {most} bytes; got {told}", Connection="close")
        stream = request.stream()
        if not long:
            async for chunk in stream:
                size += len(chunk)
                if size > most:
                    break
                yield chunk
            else:
                return
        try:
            async with asyncio.timeout(1):
                async for chunk in stream:
                    size += len(chunk)
                    if size > 8 * most:
                        break
        except TimeoutError:
            pass
        raise Refusal(413, f"a body may have {most} bytes", Connection="close")

    async def _arrays(self, body: bytes, kind: str) -> list[np.ndarray]:
        if kind == inputs.JSON:
            return inputs.from_json(body, self.model.inputs)
        only = self.model.inputs[0]
        if kind == inputs.RAW:
            return [inputs.from_bytes(body, only)]
        async with self.decoding:
            image = await asyncio.to_thread(inputs.from_image, body, only, inputs.IMAGES[kind])
        return [image]


def _numbers(rows: np.ndarray) -> list[Any]:
    """Nested lists; what JSON cannot say (NaN, infinity) is null."""
    if rows.dtype.kind == "f" and not np.isfinite(rows).all():
        found = rows.astype(object)
        found[~np.isfinite(rows)] = None
        rows = found
    return list(rows.tolist())


def _json(value: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    text = json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":")) + "\n"
    return Response(text, status, headers, "application/json")


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    return _json({"error": error.line}, error.status, error.headers)


async def _wrong_address(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "")
        return _json({"error": f"the method must be {allowed}"}, 405, dict(error.headers or {}))
    return _json(
        {"error": f"there is nothing here; there are {', '.join(PATHS)}"}, error.status_code
    )


async def _gone(_: Request, __: Exception) -> Response:
    return _json({"error": "the body is not whole"}, 400)


async def _broken(_: Request, __: Exception) -> Response:
    """The traceback goes to the log of the server."""
    return _json({"error": "the server failed; its log says how"}, 500)


class App:
    """:func:`app`'s: counts answers and their time, and adds headers that all of them have."""

    def __init__(self, service: _Service):
        self.service = service
        self.inner = Starlette(
            routes=[
                Route("/", service.page),
                Route("/predict", service.predict, methods=["POST"]),
                Route("/model", service.describe),
                Route("/health", service.health),
                Route("/metrics", service.count),
            ],
            exception_handlers={
                Refusal: _refused,
                HTTPException: _wrong_address,
                ClientDisconnect: _gone,
                Exception: _broken,
            },
            lifespan=service.lifespan,
        )
        self.inner.router.redirect_slashes = False

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.inner(scope, receive, send)
            return
        begin, metrics = time.perf_counter(), self.service.metrics
        path = scope["path"] if scope["path"] in PATHS else "other"

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    *message["headers"],
                    (b"x-content-type-options", b"nosniff"),
                    (b"cache-control", b"no-store"),
                ]
                metrics.requests.labels(path, str(message["status"])).inc()
                metrics.seconds.labels(path).observe(time.perf_counter() - begin)
            await send(message)

        await self.inner(scope, receive, counted)


def app(model: Model, limits: Limits | None = None) -> App:
    """An ASGI application that answers predictions of ``model``, for any server of ASGI.

    Paths: ``POST /predict``, and ``GET`` of ``/`` (a page), ``/model``, ``/health``, ``/metrics``.

    Raises:
        ValueError: the model cannot run on what its inputs say.
    """
    limits = limits or Limits()
    model.warm(limits.max_batch)
    return App(_Service(model, limits))
