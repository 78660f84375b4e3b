"""Every row of the tests' table of ops on the hardware: values and gradients against float64, and
the CPU's bits where they are promised equal.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch

import tilegrad
from tests.cases import table
from tests.cases.case import FLOATS, Case
from tests.settled import settle
from tilegrad.bench.gpu.pool import Check, chosen, serve, stage

TOLERANCES = {"float32": 2e-5, "float64": 1e-10}


def _outputs(result: Any) -> list[Any]:
    return [result] if hasattr(result, "dtype") else list(result)


def _wide(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float64) if array.dtype.kind == "f" else array


def _same(have: Any, want: Any, dtype: str, case: Case) -> None:
    limit = TOLERANCES.get(dtype, 0) * case.tolerance
    got, ref = have.detach().cpu().numpy(), want.detach().numpy()
    np.testing.assert_allclose(got.astype(ref.dtype), ref, rtol=limit, atol=limit, equal_nan=True)


def _strided(array: np.ndarray) -> Any:
    if array.ndim == 0:
        return tilegrad.from_numpy(array).to("cuda")
    places = tuple(slice(None, None, 2) for _ in array.shape)
    wide = np.zeros(tuple(2 * n for n in array.shape[::-1]), array.dtype)
    wide.transpose()[places] = array
    tensor = tilegrad.from_numpy(wide).to("cuda")
    return tensor.permute(*range(array.ndim - 1, -1, -1))[places]


def forward(case: Case, dtype: str, strided: bool, rng: np.random.Generator) -> None:
    """Values."""
    arrays = [a.make(rng, dtype) for a in case.args]
    place = _strided if strided else lambda a: tilegrad.from_numpy(a).to("cuda")
    results = _outputs(case.call(tilegrad, *(place(a) for a in arrays)))
    exact = _outputs(case.call(torch, *(torch.from_numpy(_wide(a)) for a in arrays)))
    plain = _outputs(case.call(torch, *(torch.from_numpy(a) for a in arrays)))
    for have, wide, same in zip(results, exact, plain, strict=True):
        _same(have, wide if have.dtype.name in TOLERANCES else same, have.dtype.name, case)


def gradient(case: Case, dtype: str, rng: np.random.Generator) -> None:
    """First-order gradients."""
    arrays = [a.make(rng, dtype) for a in case.args]
    ours = [tilegrad.from_numpy(a.copy()).to("cuda") for a in arrays]
    theirs = [torch.from_numpy(_wide(a.copy())) for a in arrays]
    for position in case.gradient_positions():
        ours[position].requires_grad_()
        theirs[position].requires_grad_()
    outs = [o for o in _outputs(case.call(tilegrad, *ours)) if o.requires_grad]
    wanted = [o for o in _outputs(case.call(torch, *theirs)) if o.requires_grad]
    seeds = [rng.standard_normal(tuple(o.shape)).astype(o.dtype.name) for o in outs]
    tilegrad.autograd.backward(outs, [tilegrad.from_numpy(np.asarray(s)).to("cuda") for s in seeds])
    torch.autograd.backward(wanted, [torch.from_numpy(_wide(np.asarray(s))) for s in seeds])
    for position in case.gradient_positions():
        if theirs[position].grad is not None:
            _same(ours[position].grad, theirs[position].grad, dtype, case)


def bits(function: Callable[[str], Any]) -> None:
    """The same bits on both devices."""
    one, other = (np.atleast_1d(function(d).cpu().numpy()) for d in ("cpu", "cuda"))
    np.testing.assert_array_equal(one.view(np.uint8), other.view(np.uint8))


def _seeded(make: Callable[[str], Any]) -> Callable[[str], Any]:
    def run(device: str) -> Any:
        tilegrad.manual_seed(7)
        return make(device)

    return run


def promised() -> dict[str, Callable[[str], Any]]:
    """Results whose bits must not depend on the device."""
    rng = np.random.default_rng(5)
    x = rng.standard_normal((513, 259)).astype("f4")
    order = rng.permutation(513)

    def on(device: str, array: np.ndarray) -> Any:
        return tilegrad.from_numpy(array).to(device)

    return {
        "rand": _seeded(lambda d: tilegrad.rand(100_003, device=d)),
        "randint": _seeded(lambda d: tilegrad.randint(0, 1000, (100_003,), device=d)),
        "bernoulli": _seeded(lambda d: tilegrad.bernoulli(tilegrad.full((70_001,), 0.3, device=d))),
        "dropout": _seeded(
            lambda d: tilegrad.nn.functional.dropout(tilegrad.ones(70_001, device=d))
        ),
        "transpose": lambda d: on(d, x).t().contiguous(),
        "index": lambda d: on(d, x)[on(d, order)],
        "sort": lambda d: tilegrad.sort(on(d, x), 1).values,
        "argsort": lambda d: tilegrad.sort(on(d, x), 1).indices,
        "integer sum": lambda d: on(d, order).sum(),
        "maximum": lambda d: on(d, x).amax(1),
    }


def _generator(name: str) -> np.random.Generator:
    return np.random.default_rng([ord(c) for c in name])


def checks() -> list[Check]:
    """All of them, by name."""
    found: list[Check] = []

    def add(name: str, function: Callable[..., None], *given: Any) -> None:
        found.append((name, lambda: function(*given, _generator(name))))

    for case in (c for c in table() if chosen(c.name, 8)):
        for dtype in case.dtypes:
            add(f"{case.name}-{dtype}", forward, case, dtype, False)
        if case.strided:
            add(f"{case.name}-strided", forward, case, case.dtypes[0], True)
        if "float64" in case.dtypes and case.gradient_positions():
            for dtype in (d for d in case.dtypes if d in FLOATS):
                add(f"{case.name}-{dtype}-gradient", gradient, case, dtype)
    found += [(f"bits-{name}", partial(bits, function)) for name, function in promised().items()]
    return found


if __name__ == "__main__":
    if sys.argv[1] == "work":
        settle()
        serve(checks(), tilegrad.cuda.synchronize)
    else:
        stage("tilegrad.bench.gpu.correctness", each=30)
