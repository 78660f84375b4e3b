"""What a benchmark is: the same user code in tilegrad and PyTorch, its operands, NumPy's way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np

Shape = tuple[int, ...]
Call = Callable[..., Any]


class Operand(NamedTuple):
    """An array to be made: uniform floats from low to high, complex numbers, indices below ``high``, a mask, or
    ``firm`` matrices: symmetric, with their size added to the diagonal.
    """

    shape: Shape
    kind: str = "float"
    low: float = -1.0
    high: float = 1.0
    grad: bool = True

    def make(self, rng: np.random.Generator) -> np.ndarray:
        """Fresh values."""
        if self.kind == "float":
            values = rng.random(self.shape, dtype=np.float32)
            values *= self.high - self.low
            values += self.low
            return values
        if self.kind == "complex":
            parts = rng.random((*self.shape, 2), dtype=np.float32)
            found: np.ndarray = (2 * parts - 1).view(np.complex64)[..., 0]
            return found
        if self.kind == "firm":
            values = rng.random(self.shape, dtype=np.float32)
            values += values.swapaxes(-1, -2)
            diagonal = np.arange(self.shape[-1])
            values[..., diagonal, diagonal] += 2 * self.shape[-1]
            return values
        if self.kind == "index":
            return rng.integers(0, int(self.high), self.shape)
        return rng.random(self.shape) < 0.5


def floats(*shape: int, low: float = -1.0, high: float = 1.0, grad: bool = True) -> Operand:
    """float32, uniform from low to high; ``grad``: differentiated by in rows with a backward pass."""
    return Operand(shape, "float", low, high, grad)


def complexes(*shape: int) -> Operand:
    """complex64, both parts uniform from -1 to 1."""
    return Operand(shape, "complex")


def indices(*shape: int, below: int) -> Operand:
    """int64 from 0 to below - 1."""
    return Operand(shape, "index", 0, below, grad=False)


def firm(*shape: int) -> Operand:
    """float32 matrices that are symmetric and far from singular."""
    return Operand(shape, "firm", grad=False)


def mask(*shape: int) -> Operand:
    """bool, half of it true."""
    return Operand(shape, "mask", grad=False)


class Prepared(NamedTuple):
    """A benchmark in one library: ``call`` is what is timed, ``results`` what it computes."""

    call: Callable[[], Any]
    results: Callable[[], list[np.ndarray]]


@dataclass(frozen=True)
class Row:
    """One benchmark.

    Attributes:
        area: of the table; name: what is particular.
        call: ``call(t, *tensors)``, with ``t`` being tilegrad or torch.
        operands: what the tensors hold.
        numpy: the same on arrays, ``numpy(*arrays)``, or None.
        backward: also run the backward pass, from a fixed random gradient (1 for a scalar).
        recorded: the operands require gradients, so that the forward records its nodes.
        flops: of one call, for GFLOP/s.
        tolerance: how far the libraries' results may be apart; see :mod:`tilegrad.bench.agreement`.
        accuracy: also measure the error against float64, in ``ulp`` or ``rms``.
        op, size: which of :mod:`bench.sizes`' ops it is, and of how many elements.
        nbytes: of operands and results, each counted once.
        exact: what the results are to be, where no library can tell (random numbers).
        summary: what is compared of a result, where it is not the values themselves.
        by_norm: errors are norms of differences over norms, not those of the worst element.
        compiled: whether PyTorch's compiler is asked too.
        transfer: ``in`` or ``out`` of copies between host and GPU, which the CPU has none of.
    """

    area: str
    name: str
    call: Call
    operands: tuple[Operand, ...]
    numpy: Call | None = None
    backward: bool = False
    recorded: bool = False
    flops: float = 0.0
    tolerance: float = 1e-5
    accuracy: str = ""
    op: str = ""
    size: int = 0
    nbytes: float = 0.0
    exact: tuple[float, ...] | None = None
    summary: Call | None = None
    by_norm: bool = False
    compiled: bool = False
    transfer: str = ""

    def arrays(self, seed: int = 0) -> list[np.ndarray]:
        """Fresh operands, the same on every run."""
        rng = np.random.default_rng(len(self.name) + seed)
        return [operand.make(rng) for operand in self.operands]

    def prepare(
        self,
        library: str,
        dtype: str = "float32",
        device: str = "cpu",
        arrays: list[np.ndarray] | None = None,
    ) -> Prepared:
        """This row in ``library``: tilegrad, torch, numpy or cupy; ``arrays``: its operands, made already."""
        made = self.arrays() if arrays is None else arrays
        made = [
            a.astype(np.result_type(a, dtype)) if a.dtype.kind in "fc" and dtype != "float32" else a
            for a in made
        ]
        if library in ("numpy", "cupy"):
            assert self.numpy is not None
            given: list[Any] = made
            if library == "cupy":
                given = [__import__("cupy").asarray(a) for a in made]
            call = partial(self.numpy, *given)
            return Prepared(call, lambda: [_array(call())])
        t = __import__(library)
        tensors = [t.from_numpy(a).to(device) for a in made]
        leaves = []
        if self.backward or self.recorded:
            leaves = [x.requires_grad_() for x, o in zip(tensors, self.operands) if o.grad]
        forward = partial(self.call, t, *tensors)
        if not self.backward:
            return Prepared(forward, lambda: [forward().detach().cpu().numpy()])
        return _both(t, forward, leaves)


def _array(x: Any) -> np.ndarray:
    return np.asarray(x.get() if hasattr(x, "get") else x)


def _both(t: Any, forward: Callable[[], Any], leaves: list[Any]) -> Prepared:
    """Forward and backward; the results are the output and the gradient of each leaf."""
    out = forward()
    gradient = None
    if out.ndim:
        rng = np.random.default_rng(3)
        values = rng.uniform(-1, 1, tuple(out.shape)).astype(out[:0].detach().cpu().numpy().dtype)
        gradient = t.from_numpy(values).to(out.device)
    del out

    def both() -> Any:
        for leaf in leaves:
            leaf.grad = None
        result = forward()
        result.backward(gradient)
        return result

    def results() -> list[np.ndarray]:
        first = both().detach().cpu().numpy().copy()
        return [first, *(leaf.grad.cpu().numpy().copy() for leaf in leaves)]

    return Prepared(both, results)


def rows(
    area: str, name: str, call: Call, *operands: Operand, passes: str = "fb", **how: Any
) -> list[Row]:
    """A row of the forward pass (``f``), one with the backward pass (``b``), or both."""
    found = []
    if "f" in passes:
        found.append(Row(area, name, call, operands, **how))
    if "b" in passes:
        how = {**how, "numpy": None, "flops": 3 * how.get("flops", 0.0)}
        found.append(Row(area, f"{name}, backward", call, operands, backward=True, **how))
    return found
