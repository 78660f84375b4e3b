"""PyTorch's vector mathematics, set up before its results are taken for right."""

from __future__ import annotations

import torch


def settle() -> None:
    """Call MKL's vector functions once, from one thread.

    MKL chooses their kernels in the first call. Where that is made by several threads at once, one of them may
    compute its part with kernels of a third of the digits (pytorch/pytorch issue 188792): values off by 1e-10
    in float64, once in a process, in one process of five where our own threads keep the processors busy.
    """
    for dtype in (torch.float32, torch.float64):
        some = torch.full((4,), 0.5, dtype=dtype)
        for name in ("exp", "log", "sqrt", "sin", "tanh", "erf"):
            getattr(torch, name)(some)
