"""What a server counts, in Prometheus' words."""

from __future__ import annotations

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)

CONTENT_TYPE = CONTENT_TYPE_LATEST
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Metrics:
    """Counters of one server, in a registry of their own; the process's memory and time beside them."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self.requests = Counter(
            "tilegrad_requests", "Requests that were answered", ["path", "status"], registry=registry
        )  # fmt: skip
        self.seconds = Histogram(
            "tilegrad_request_seconds", "From a request's headers to its answer", ["path"],
            buckets=_SECONDS, registry=registry,
        )  # fmt: skip
        self.batches = Histogram(
            "tilegrad_batch_examples", "Examples of a call of the model",
            buckets=[1 << k for k in range(11)], registry=registry,
        )  # fmt: skip
        self.model_seconds = Histogram(
            "tilegrad_model_seconds", "A call of the model", buckets=_SECONDS, registry=registry
        )
        self.waiting = Gauge(
            "tilegrad_waiting_examples", "Examples that wait for a call", registry=registry
        )
        self.body_bytes = Gauge(
            "tilegrad_body_bytes", "Bytes of bodies that are being read or decoded", registry=registry
        )  # fmt: skip

    def text(self) -> bytes:
        """The text format, for ``GET /metrics``."""
        return generate_latest(self.registry)
