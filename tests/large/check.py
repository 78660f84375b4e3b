"""What a large program does: the same call in tilegrad and, in float64, in PyTorch."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

import tilegrad

refused: list[str] = []  # what PyTorch and tilegrad refuse both: programs that show nothing


def check(
    make: Callable[[Any], list[Any]],
    call: Callable[..., Any],
    seed: int,
    fixed: tuple[int, ...] = (),
    tolerance: float = 1.0,
    device: str = "cpu",
    least: float = 1e-3,
    cancels: float = 1e-3,
) -> list[str]:
    """Forward and all gradients of ``call(lib, F, *make(tensor))``; gives what differs.

    ``fixed`` are the positions of tensors that take no gradient. Floating results may differ by
    ``tolerance`` times 2e-5 (float32) or 1e-11 (float64) of the largest right value of a tensor;
    of a gradient that is smaller than ``least``, or a result smaller than ``cancels``, of that: the
    size of the terms that cancel. An element of what is broadcast has a gradient of many terms of either
    sign: their number's root, a tenth of it, is the least there. A call that PyTorch refuses has to be refused here too, and is
    counted in :data:`refused`.
    """
    wide = lambda a: torch.from_numpy(np.asarray(a, "float64" if a.dtype.kind == "f" else a.dtype))
    theirs = [t.contiguous() for t in make(wide)]  # some of PyTorch's rules refuse other layouts
    try:
        right = _results(torch, theirs, call, fixed, seed)
    except RuntimeError as error:
        refused.append(f"seed {seed}: {error}")
        try:
            _results(tilegrad, make(lambda a: _ours(a, device)), call, fixed, seed)
        except RuntimeError:
            return []
        return [f"not refused; PyTorch: {error}"]
    mine = _results(tilegrad, make(lambda a: _ours(a, device)), call, fixed, seed)
    faults = [] if len(mine) == len(right) else [f"{len(mine)} results, not {len(right)}"]
    results = sum(b.size for name, b in right if name.startswith("result"))
    for (name, a), (_, b) in zip(mine, right, strict=False):
        if a is None or b is None:
            faults += [] if a is b else [f"{name}: {a is not None} that it is there"]
            continue
        bound = tolerance * (1e-11 if a.dtype == np.float64 else 2e-5)
        floor = cancels
        if name.startswith("gradient"):
            floor = max(least, math.sqrt(results / b.size) / 10 if 0 < b.size < results else 0)
        faults += [f"{name}: {fault}" for fault in _difference(a, b, bound, floor)]
    return faults


def _ours(array: Any, device: str) -> Any:
    return tilegrad.from_numpy(np.asarray(array)).to(device)


def _results(
    lib: Any, tensors: list[Any], call: Callable[..., Any], fixed: tuple[int, ...], seed: int
) -> list[tuple[str, Any]]:
    rng = np.random.default_rng(seed + 1)
    leaves = [
        (i, t.requires_grad_())
        for i, t in enumerate(tensors)
        if t.is_floating_point() and i not in fixed
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # values are compared here
        outs = call(lib, lib.nn.functional, *tensors)
    outs = list(outs) if isinstance(outs, tuple | list) else [outs]
    found = [(f"result {i}", out.detach().cpu().numpy()) for i, out in enumerate(outs)]
    outs = [out for out in outs if out.requires_grad]
    if outs and leaves:
        seeds = [rng.standard_normal(tuple(out.shape)) for out in outs]
        seeds = [
            lib.from_numpy(np.asarray(s, str(out.dtype).split(".")[-1])).to(out.device)
            for s, out in zip(seeds, outs, strict=True)
        ]
        grads = lib.autograd.grad(outs, [t for _, t in leaves], seeds, allow_unused=True)
        for (i, _), grad in zip(leaves, grads, strict=True):
            array = None if grad is None else grad.detach().cpu().numpy()
            found.append((f"gradient of {i}", array))
    return found


def _difference(a: Any, b: Any, bound: float, least: float) -> list[str]:
    if a.shape != b.shape:
        return [f"shape {a.shape}, not {b.shape}"]
    if b.dtype.kind != "f" or not b.size:
        where = np.argwhere(a != b) if b.size else []
        return [f"{len(where)} of {b.size} differ, first at {where[0]}"] if len(where) else []
    if (np.isfinite(a) != np.isfinite(b)).any() or (np.isnan(a) != np.isnan(b)).any():
        return ["finite elsewhere"]
    finite = np.isfinite(b)
    with np.errstate(invalid="ignore"):
        error = np.where(finite, np.abs(a - b), np.where(a == b, 0, np.inf))
    limit = bound * max(np.abs(b[finite]).max(initial=0.0), least)
    if error.max() <= limit:
        return []
    where = np.argwhere(error > limit)
    return [f"off by {error.max():.3g} (limit {limit:.3g}) at {len(where)} of {b.size}, "
            f"first {where[0].tolist()}, last {where[-1].tolist()}"]  # fmt: skip
