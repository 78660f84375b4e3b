"""How much of everything a server takes, and how a request beyond it is refused."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Bounds of a server's memory and time.

    Attributes:
        max_batch: examples that one call of the model computes at most.
        max_wait: seconds that an example waits for others to share its call.
        queue: examples that wait at most; a request beyond is answered with 429.
        max_body: bytes of a request's body.
        buffered: bytes of all bodies that are being read or decoded at one time; 503 beyond.
        timeout: seconds for a request, from its headers to its answer; for the headers of a connection's next
            request; and for a client that reads nothing of its answer.
        connections: open ones; 503 beyond.
    """

    max_batch: int = 64
    max_wait: float = 0.002
    queue: int = 1024
    max_body: int = 4 << 20
    buffered: int = 256 << 20
    timeout: float = 10.0
    connections: int = 1000

    def __post_init__(self) -> None:
        whole = ("max_batch", "queue", "max_body", "buffered", "connections")
        for name in whole:
            value = getattr(self, name)
            if type(value) is not int or value < 1:
                raise ValueError(f"Limits: {name} must be a positive whole number; got {value!r}")
        if not (self.timeout > 0 and 0 <= self.max_wait < self.timeout):
            raise ValueError(
                "Limits: timeout must be positive, and max_wait less; "
                f"got timeout {self.timeout!r} and max_wait {self.max_wait!r}"
            )


class Refusal(Exception):  # noqa: N818 - an answer, not a fault of the program
    """A request that is answered with an error.

    Attributes:
        status: of HTTP. line: what the client can put right.
        headers: of the answer, ``Retry-After`` for one.
    """

    def __init__(self, status: int, line: str, **headers: str):
        super().__init__(line)
        self.status, self.line = status, one_line(line)
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


def one_line(text: str, most: int = 300) -> str:
    """``text`` as one line of printable characters, cut where it is long."""
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return text if len(text) <= most else text[: most - 1] + "…"
