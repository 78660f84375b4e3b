"""Which way attention is computed: PyTorch's ``torch.nn.attention``."""

from __future__ import annotations

import enum
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class SDPBackend(enum.IntEnum):
    """Ways to compute attention. Fused ones are one here: the scores are never stored."""

    ERROR = -1
    MATH = 0
    FLASH_ATTENTION = 1
    EFFICIENT_ATTENTION = 2
    CUDNN_ATTENTION = 3
    OVERRIDEABLE = 4

    def __repr__(self) -> str:
        return f"<SDPBackend.{self.name}: {self.value}>"

    def __str__(self) -> str:
        return f"SDPBackend.{self.name}"


FUSED = (SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.CUDNN_ATTENTION)
EVERY = (*FUSED, SDPBackend.MATH)


class _Chosen(threading.local):
    """The ways that this thread allows, the first one preferred."""

    backends: tuple[SDPBackend, ...] = EVERY


chosen = _Chosen()


@contextmanager
def sdpa_kernel(
    backends: list[SDPBackend] | SDPBackend, set_priority: bool = False
) -> Iterator[dict[str, object]]:
    """Inside the block attention is computed in one of these ways: with ``MATH`` alone by products and a softmax,
    else by the fused kernels where they take the operands.

    Args:
        set_priority: the first one goes first: with ``MATH`` there, products and a softmax are taken.

    Raises:
        AssertionError: no backend, or something else.
    """
    if not isinstance(backends, list | SDPBackend):
        raise AssertionError(
            f"Backend must be an instance of SDPBackend or a list of SDPBackend instances, got "
            f"{type(backends).__name__}"
        )
    wanted = list(dict.fromkeys([backends] if isinstance(backends, SDPBackend) else backends))
    if not set_priority:
        wanted.sort(key=lambda b: b is SDPBackend.MATH)
    before = chosen.backends
    chosen.backends = tuple(wanted)
    try:
        yield {}
    finally:
        chosen.backends = before


def composed() -> bool:
    """Whether attention is to be made of products and a softmax.

    Raises:
        RuntimeError: no way is allowed.
    """
    for backend in chosen.backends:
        if backend is SDPBackend.MATH:
            return True
        if backend in FUSED:
            return False
    raise RuntimeError(
        "No viable backend for scaled_dot_product_attention was found. This is likely due to turning off "
        "both the math kernel and the fused kernels."
    )
