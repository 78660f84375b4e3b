"""The streams that ops are queued on, and waiting for them."""

from __future__ import annotations

from typing import Any

from tilegrad.cuda.device import own
from tilegrad.engine import cuda
from tilegrad.engine.cuda import Stream


def current_stream(device: Any = None) -> Stream:
    """The stream that ops are queued on."""
    own(device)
    return cuda.current_stream()


def default_stream(device: Any = None) -> Stream:
    """The stream that ops are queued on unless another was chosen."""
    own(device)
    return cuda.default_stream()


def synchronize(device: Any = None) -> None:
    """Wait for all queued work, then raise what kernels have found wrong."""
    own(device)
    cuda.synchronize()
