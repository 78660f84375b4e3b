"""The libraries compared, started so that they disturb each other as little as possible."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tilegrad.bench.areas import Benchmark

LIBRARIES = ("tilegrad", "torch", "numpy")


def installed() -> list[str]:
    """Those that can be imported."""
    return [name for name in LIBRARIES if importlib.util.find_spec(name)]


def of(row: Benchmark) -> list[str]:
    """Those that ``row`` runs in."""
    return [name for name in installed() if name != "numpy" or row.numpy is not None]


def start(threads: int) -> None:
    """``threads`` for each; our team first, since PyTorch's and ours stall each other otherwise."""
    import tilegrad

    tilegrad.set_num_threads(threads)
    (tilegrad.ones(1 << 20) + 1).sum()
    if "torch" in installed():
        import torch

        torch.set_num_threads(threads)
    if importlib.util.find_spec("threadpoolctl"):
        from threadpoolctl import threadpool_limits

        threadpool_limits(threads, user_api="blas")
