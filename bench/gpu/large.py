"""Every family at large and awkward shapes, 2^31 elements included, forward and backward, compared on
the GPU with PyTorch in float64: the large column of :mod:`tests.emulator.families`.
"""

from __future__ import annotations

import fcntl
import os
import sys
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch

import tilegrad
from tests.emulator.families import FAMILIES, Family, Operand
from tilegrad.bench.gpu.pool import Check, chosen, processes, serve, stage

EACH = 10 << 30  # bytes of the GPU for each process
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"  # PyTorch's, where ours is simulated


def _made(operand: Operand, generator: torch.Generator) -> Any:
    """An operand, made where PyTorch computes."""
    how: dict[str, Any] = {"device": DEVICE, "generator": generator}
    if operand.kind == "f":
        return torch.randn(operand.shape, **how)
    if operand.kind == "i":
        return torch.randint(0, operand.high, operand.shape, **how)
    return torch.rand(operand.shape, **how) < 0.4


def _ours(x: Any) -> Any:
    """PyTorch's tensor as ours; on a GPU it is the same memory."""
    if DEVICE == "cpu":
        return tilegrad.from_numpy(x.numpy()).to("cuda")
    torch.cuda.synchronize()
    return tilegrad.from_dlpack(x)


def _theirs(x: Any) -> Any:
    """Our tensor as PyTorch's."""
    if DEVICE == "cpu":
        return torch.from_numpy(x.detach().cpu().numpy())
    tilegrad.cuda.synchronize()
    return torch.from_dlpack(x.detach())


def _results(t: Any, family: Family, operands: list[Any], seed: Any) -> tuple[list[Any], list[Any]]:
    """(results, gradients of the first). ``seed(shape)`` is what comes in from behind."""
    floats = [x for x in operands if x.is_floating_point()]
    for x in floats if family.grad else []:
        x.requires_grad_()
    outs = family.call(t, *operands)
    outs = list(outs) if isinstance(outs, tuple) else [outs]
    if not family.grad:
        return outs, []
    outs[0].backward(seed(tuple(outs[0].shape), outs[0]))
    return outs, [x.grad for x in floats]


def error_of(have: Any, want: Any) -> float:
    """The norm of the difference over that of what it should be; infinite where the kind differs."""
    if tuple(have.shape) != tuple(want.shape):
        return float("inf")
    if not want.is_floating_point():
        return float((have != want).sum())
    have, want = have.double(), want.double()
    if bool((have.isfinite() != want.isfinite()).any()):
        return float("inf")
    return float((have - want).norm() / want.norm().clamp_min(1e-30))


def compare(family: Family, operands: tuple[Operand, ...]) -> list[float]:
    """The errors of all results and gradients.

    Raises:
        AssertionError: one is beyond the family's tolerance.
    """
    generator = torch.Generator(DEVICE).manual_seed(zlib.crc32(family.name.encode()))
    given = [_made(operand, generator) for operand in operands]
    state = generator.get_state()

    def seed(shape: tuple[int, ...], like: Any, ours: bool) -> Any:
        generator.set_state(state)
        made = torch.randn(shape, device=DEVICE, generator=generator)
        if not ours:
            return made.to(like.dtype)
        return _ours(made.double() if like.dtype == tilegrad.float64 else made)

    mine = _results(tilegrad, family, [_ours(x) for x in given], partial(seed, ours=True))
    have = [_theirs(x) for x in (*mine[0], *mine[1])]
    del mine
    wide = [x.double() if x.is_floating_point() else x for x in given]
    right = _results(torch, family, wide, partial(seed, ours=False))
    errors = [error_of(h, w.detach()) for h, w in zip(have, (*right[0], *right[1]), strict=True)]
    assert max(errors) <= family.tolerance, f"errors {errors}, tolerance {family.tolerance}"
    return errors


@contextmanager
def _alone() -> Iterator[None]:
    """One process at a time."""
    with (Path(tempfile.gettempdir()) / f"tilegrad-large-{os.getuid()}").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _free() -> None:
    tilegrad.cuda.empty_cache()
    if DEVICE == "cuda":
        torch.cuda.empty_cache()


def check(family: Family) -> list[float]:
    """:func:`compare` of the large column; again, alone, where the GPU was too full."""
    try:
        if family.large:
            return compare(family, family.large)
        with _alone():
            return compare(family, ())
    except Exception as error:
        if "out of memory" not in str(error):
            raise
    finally:
        _free()
    with _alone():
        return compare(family, family.large)


def checks() -> list[Check]:
    """The largest first."""
    rows = sorted((f for f in FAMILIES if chosen(f.name, 5)), key=lambda f: f.large != ())
    found: list[Check] = [(f.name, partial(check, f)) for f in rows]
    return found


def _alive() -> None:
    tilegrad.cuda.synchronize()
    if DEVICE == "cuda":
        torch.cuda.synchronize()


def main() -> None:
    """The stage."""
    memory = tilegrad.cuda.get_device_properties(0).total_memory
    pool = stage(
        "tilegrad.bench.gpu.large", each=40, workers=max(1, min(processes(), memory // EACH))
    )
    for found in sorted(pool.found, key=lambda f: -f.get("seconds", 0))[:20]:
        print(found)


if __name__ == "__main__":
    serve(checks(), _alive) if sys.argv[1] == "work" else main()
