"""Checks of an elementwise function: each kernel against its formula run as Python, and its gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tilegrad.autograd.gradcheck import GradcheckError, gradcheck, gradgradcheck
from tilegrad.engine import cuda
from tilegrad.kernels.cpu.run.threads import get_num_threads, set_num_threads
from tilegrad.kernels.function import DeviceFunction

if TYPE_CHECKING:
    from tilegrad.autograd.tensor import Tensor

# relative to the larger of the value and 1: a formula's own roundings, in either precision
BOUNDS = {"float64": 1e-12, "float32": 3e-5}
SPECIAL = (np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0)
MANY = 100_003  # enough for several tasks, and prime

Make = Callable[[np.ndarray, str], "Tensor"]


class CheckError(AssertionError):
    """A kernel differs from its formula; the message has the smallest input found that shows it."""


class Check:
    """Runs the checks of one function and keeps what they said.

    Args:
        call: the function of tensors.
        formulas: one per output, that run as Python too.
        names: the arguments' names, operands first.
        scalars: the values of those that are not operands.
    """

    def __init__(
        self,
        call: Callable[..., Any],
        formulas: Sequence[DeviceFunction],
        names: Sequence[str],
        scalars: Mapping[str, float],
        kind: str,
        make: Make,
    ):
        self.call, self.formulas, self.kind, self.make = call, formulas, kind, make
        self.operands = [n for n in names if n not in scalars]
        self.scalars = dict(scalars)
        self.rows: list[tuple[str, str, str, str]] = []

    def run(self, low: float, high: float, seed: int = 0) -> None:
        """All checks, on each device that is there, with operands within ``[low, high]``."""
        rng = np.random.default_rng(seed)
        devices = ["cpu", *(["cuda"] if cuda.is_available() else [])]
        kinds = ["float64", "float32", *(["int64"] if self.kind == "same" else [])]
        for device in devices:
            for kind in kinds:
                for what, arrays in self.shapes(rng, kind, low, high):
                    if not (
                        simulated(device) and arrays[0].size > 100
                    ):  # Python, element by element
                        self.values(what, device, kind, arrays)
            self.values("special values", device, "float64", self.special())
            self.repeats(device, rng, low, high)
        if self.kind != "compare":
            self.gradients(rng, low, high)

    def shapes(
        self, rng: np.random.Generator, kind: str, low: float, high: float
    ) -> Iterator[tuple[str, list[np.ndarray]]]:
        """Operands of sizes 0, 1 and primes, transposed, with gaps, and broadcast."""

        def draw(*shape: int) -> np.ndarray:
            return rng.uniform(low, high, shape).astype(kind)

        count = len(self.operands)
        yield "empty", [draw(0) for _ in range(count)]
        yield "one number", [draw() for _ in range(count)]
        yield "a prime", [draw(251) for _ in range(count)]
        yield "transposed", [draw(7, 13).T for _ in range(count)]
        yield "with gaps", [draw(11, 34)[:, ::2] for _ in range(count)]
        yield "broadcast", [draw(*((5, 1) if k % 2 else (1, 9))) for k in range(count)]

    def special(self) -> list[np.ndarray]:
        grid = np.meshgrid(*[np.array(SPECIAL)] * len(self.operands), indexing="ij")
        return [np.ascontiguousarray(g) for g in grid]

    def values(self, what: str, device: str, kind: str, arrays: list[np.ndarray]) -> None:
        """The kernels against the formulas, element by element, in float64."""
        made = self.call(*[self.make(a, device) for a in arrays], **self.scalars)
        outputs = made if isinstance(made, tuple) else (made,)
        places = np.broadcast_arrays(*arrays)
        for formula, out in zip(self.formulas, outputs, strict=True):
            have = out.detach().cpu().numpy()
            for index in np.ndindex(have.shape):
                given = [p[index] for p in places]
                want = self.right(formula, given)
                if not _close(float(have[index]), want, BOUNDS.get(kind, 1e-12)):
                    raise CheckError(
                        f"{formula.__name__}: {what}, {device}, {kind}: of "
                        f"{', '.join(f'{n}={v!r}' for n, v in self.named(given).items())} it gives "
                        f"{have[index]!r}; its formula {want!r}"
                    )
        self.rows.append((what, device, kind, "right"))

    def named(self, given: Sequence[Any]) -> dict[str, Any]:
        return {**dict(zip(self.operands, given, strict=True)), **self.scalars}

    def right(self, formula: DeviceFunction, given: Sequence[Any]) -> float:
        """The formula as Python runs it."""
        numbers = [np.float64(v) for v in (*given, *self.scalars.values())]
        with np.errstate(all="ignore"):
            return float(formula(*numbers))

    def repeats(self, device: str, rng: np.random.Generator, low: float, high: float) -> None:
        """The same bits in a second run and on one thread."""
        size = 101 if simulated(device) else MANY
        operands = [
            self.make(rng.uniform(low, high, size).astype("float32"), device) for _ in self.operands
        ]

        def bits() -> list[bytes]:
            made = self.call(*operands, **self.scalars)
            outputs = made if isinstance(made, tuple) else (made,)
            return [out.cpu().numpy().tobytes() for out in outputs]

        first, threads = bits(), get_num_threads()
        try:
            set_num_threads(1 if threads > 1 else 2)
            other = bits()
        finally:
            set_num_threads(threads)
        if first != other or first != bits():
            raise CheckError(f"{self.formulas[0].__name__}: other bits in another run, {device}")
        self.rows.append(("the same bits again", device, "float32", "right"))

    def gradients(self, rng: np.random.Generator, low: float, high: float) -> None:
        """First and second order against differences, of operands and scalars."""
        middle, half = (low + high) / 2, (high - low) / 2.2  # differences stay within the domain
        inputs = [
            self.make(middle + half * rng.uniform(-1, 1, (1, 3) if k % 2 else (2, 1)), "cpu")
            for k in range(len(self.operands))
        ]
        inputs += [self.make(np.array(float(v)), "cpu") for v in self.scalars.values()]
        ready = [x.requires_grad_() for x in inputs]
        for what, check in (("first", gradcheck), ("second", gradgradcheck)):
            try:
                check(self.call, ready)
            except GradcheckError as error:
                raise CheckError(
                    f"{self.formulas[0].__name__}: gradients of {what} order; {error}"
                ) from None
            self.rows.append((f"gradients of {what} order", "cpu", "float64", "right"))

    def table(self) -> str:
        """What was checked, a line each."""
        widths = [max(len(row[k]) for row in self.rows) for k in range(4)]
        lines = [
            "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in self.rows
        ]
        return "\n".join(line.rstrip() for line in lines)


def simulated(device: str) -> bool:
    """Whether it is a GPU that Python plays."""
    return device == "cuda" and cuda.driver().simulated


def _close(have: float, want: float, bound: float) -> bool:
    if np.isnan(want) or np.isinf(want):
        return have == want or (np.isnan(want) and np.isnan(have))
    return abs(have - want) <= bound * max(1.0, abs(want))
