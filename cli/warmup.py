"""`tilegrad warmup`: kernels compiled ahead, so that no later process waits for them.

An op is called, with its backward pass, on operands that stand for how it is used
(:mod:`tilegrad.cli.standing`). On a GPU's behalf it is planned on paper, where nothing runs, and the
kernels are assembled.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

from tqdm import tqdm

from tilegrad.cli.failure import Failure
from tilegrad.cli.operands import find, perform, prepare
from tilegrad.cli.standing import OPTIMIZERS, STANDING, examples
from tilegrad.kernels import cache


def run(arguments: argparse.Namespace) -> None:
    """Compile, with a progress bar, and say what that came to.

    Raises:
        Failure: an op is unknown or takes other operands, or a package for GPUs is missing.
    """
    names = list(dict.fromkeys(arguments.names)) or [*STANDING, *OPTIMIZERS]
    for name in names:
        if name not in OPTIMIZERS:
            find(name)
    start = time.perf_counter()
    collect = _on_cuda(arguments.arch) if arguments.device == "cuda" else _on_cpu()
    compiled = found = 0
    with tqdm(names, desc="tilegrad warmup", unit="op", dynamic_ncols=True) as bar:
        for name in bar:
            bar.set_postfix_str(f"{name}, {compiled} kernels compiled")
            _use(name, arguments.dtype, arguments.device)
            made, had = collect()
            compiled, found = compiled + made, found + had
    print(
        f"{compiled} {'kernel' if compiled == 1 else 'kernels'} compiled, {found} found in "
        f"{cache.cache_dir()}; {time.perf_counter() - start:.1f} s"
    )


def _use(name: str, dtype: str, device: str) -> None:
    """Every call that stands for ``name``, forward and, where it has one, backward: from a gradient
    of its own for each element, and from one for all, as a loss hands it down.
    """
    if name in OPTIMIZERS:
        _step(name, dtype, device)
        return
    for example in examples(name):
        try:
            call = prepare(name, example.shapes, dtype, device, dict(example.given), grad=True)
            perform(call, backward=True, needed=False)
            perform(call, backward=True, needed=False, gradient=_one_for_all)
        except Failure as failure:
            raise Failure(f"{name}: {failure}") from None


def _one_for_all(output: Any) -> Any:
    return output.detach().new_ones(1).expand(*output.shape) if output.ndim else output.detach()


def _step(name: str, dtype: str, device: str) -> None:
    """Two steps of an optimizer, the second with the state that the first one made."""
    import tilegrad
    from tilegrad import nn, optim

    parameter = nn.Parameter(tilegrad.zeros(64, 64, dtype=getattr(tilegrad, dtype), device=device))
    chosen: Any = getattr(optim, name)
    more = {"momentum": 0.9} if name == "SGD" else {}
    for options in ({}, more) if more else ({},):
        optimizer = chosen([parameter], lr=0.1, **options)
        for _ in range(2):
            parameter.grad = tilegrad.zeros_like(parameter)
            optimizer.step()


def _on_cpu() -> Callable[[], tuple[int, int]]:
    """A function that counts the kernels (compiled, found on disk) since it was last called."""
    seen = len(cache.compile_log)

    def collect() -> tuple[int, int]:
        nonlocal seen
        fresh = cache.compile_log[seen:]
        seen += len(fresh)
        cached = sum(was_cached for _, _, was_cached in fresh)
        return len(fresh) - cached, cached

    return collect


def _on_cuda(name: str) -> Callable[[], tuple[int, int]]:
    """The same on paper: assembles what was planned since the last call."""
    from tilegrad.kernels.cuda import driver, jit, planned
    from tilegrad.kernels.cuda.occupancy import CHIPS

    arch = next(a for a in CHIPS if f"sm_{a[0]}{a[1]}" == name)
    planned.plan_for(arch)
    seen = 0

    def collect() -> tuple[int, int]:
        nonlocal seen
        fresh = jit.kernels_built[seen:]
        seen += len(fresh)
        try:
            cached = sum(factory.keep(variant, arch)[1] for factory, variant in fresh)
        except driver.Unavailable as error:
            raise Failure(" ".join(str(error).split())) from None
        except ImportError as error:
            raise Failure(
                f"cannot assemble kernels ({error}); pip install 'tilegrad[cuda]'"
            ) from None
        return len(fresh) - cached, cached

    return collect
