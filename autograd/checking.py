"""Checks of an elementwise function: each kernel against its formula run as Python, and its gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tilegrad.autograd.annotations import Tensor
from tilegrad.autograd.gradcheck import GradcheckError, gradcheck, gradgradcheck
from tilegrad.engine import cuda
from tilegrad.kernels.cpu.run.threads import get_num_threads, set_num_threads
from tilegrad.kernels.function import DeviceFunction

# relative to the larger of the value and 1: a formula's own roundings, in either precision
BOUNDS = {"float64": 1e-12, "float32": 3e-5}
SPECIAL = (np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0)
MANY = 100_003  # enough for several tasks, and prime

Make = Callable[[np.ndarray, str], "Tensor"]


class CheckError(AssertionError):
    """A kernel differs from its formula; the message has the smallest input found that shows it."""


def repeatable(bits: Callable[[], object]) -> bool:
    """Whether ``bits`` gives the same in another run and with another number of threads."""
    first, threads = bits(), get_num_threads()
    try:
        set_num_threads(1 if threads > 1 else 2)
        other = bits()
    finally:
        set_num_threads(threads)
    return first == other and first == bits()


class Check:
    """Runs the checks of one function and keeps what they said.

    Args:
        call: the function of tensors.
        formulas: one per output, that run as Python too.
        names: the arguments' names, operands first.
        scalars: the values of those that are not operands.
    """

    STEPS: tuple[str, ...] = ("values", "repeats", "gradients")  # checks that can be run one by one

    def __init__(
        self,
        call: Callable[..., object],
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

    def run(self, low: float, high: float, seed: int = 0, orders: int = 2) -> None:
        """All checks, on each device that is there, with operands within ``[low, high]``; gradients of so
        many orders.
        """
        rng = np.random.default_rng(seed)
        kinds = ["float64", "float32", *(["int64"] if self.kind == "same" else [])]
        for device in self.devices():
            for kind in kinds:
                for what, arrays in self.shapes(rng, kind, low, high):
                    if not (
                        simulated(device) and arrays[0].size > 100
                    ):  # Python, element by element
                        self.values(what, device, kind, arrays)
            self.values("special values", device, "float64", self.special())
            self.repeats(device, rng, low, high)
        if self.kind != "compare":
            self.gradients(rng, low, high, orders)

    @staticmethod
    def devices() -> list[str]:
        """Those at hand."""
        return ["cpu", *(["cuda"] if cuda.is_available() else [])]

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
                if not close(float(have[index]), want, BOUNDS.get(kind, 1e-12)):
                    raise CheckError(
                        f"{formula.__name__}: {what}, {device}, {kind}: of "
                        f"{', '.join(f'{n}={v!r}' for n, v in self.named(given).items())} it gives "
                        f"{have[index]!r}; its formula {want!r}"
                    )
        self.rows.append((what, device, kind, "right"))

    def named(self, given: Sequence[object]) -> dict[str, object]:
        return {**dict(zip(self.operands, given, strict=True)), **self.scalars}

    def right(self, formula: DeviceFunction, given: Sequence[Any]) -> float:
        """The formula as Python runs it."""
        numbers = [np.float64(v) for v in (*given, *self.scalars.values())]
        with np.errstate(all="ignore"):
            return float(formula(*numbers))

    def repeats(self, device: str, rng: np.random.Generator, low: float, high: float) -> None:
        """The same bits in a second run and on one thread."""
        size = 101 if simulated(device) else MANY
        arrays = [rng.uniform(low, high, size).astype("float32") for _ in self.operands]
        operands = [self.make(a, device) for a in self.typed(arrays)]

        def bits() -> list[bytes]:
            outputs = _several(self.call(*operands, **self.scalars))
            return [out.cpu().numpy().tobytes() for out in outputs]

        if not repeatable(bits):
            raise CheckError(f"{self.title()}: other bits in another run, {device}")
        self.rows.append(("the same bits again", device, "float32", "right"))

    def gradients(self, rng: np.random.Generator, low: float, high: float, orders: int = 2) -> None:
        """First and second order against differences, of operands and scalars."""
        middle, half = (low + high) / 2, (high - low) / 2.2  # differences stay within the domain
        arrays = [
            middle + half * rng.uniform(-1, 1, (1, 3) if k % 2 else (2, 1))
            for k in range(len(self.operands))
        ]
        inputs = [self.make(a, "cpu") for a in self.typed(arrays)]
        inputs += [self.make(np.array(float(v)), "cpu") for v in self.scalars.values()]
        floats = [x for x in inputs if x.dtype.is_floating_point]
        ready = [x.requires_grad_() for x in floats]

        def call(*given: object) -> Any:
            rest = iter(given)
            return self.call(*[next(rest) if x.dtype.is_floating_point else x for x in inputs])

        if not any(o.requires_grad for o in _several(call(*ready))):
            return
        for what, check in (("first", gradcheck), ("second", gradgradcheck))[:orders]:
            try:
                check(call, ready)
            except GradcheckError as error:
                raise CheckError(f"{self.title()}: gradients of {what} order; {error}") from None
            self.rows.append((f"gradients of {what} order", "cpu", "float64", "right"))

    def title(self) -> str:
        """The function's name."""
        return self.formulas[0].__name__

    def typed(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The arrays in the dtypes that their operands must have."""
        return list(arrays)

    def table(self) -> str:
        """What was checked, a line each."""
        return table(self.rows)


class FusedCheck(Check):
    """The checks of a fused function: against the function as it was written, one op after the other.

    Args:
        call: the fused function; function: as it was written.
        names: of the arguments; defaults: of those that are no operands.
        dtypes: of operands that are no floats.
    """

    def __init__(
        self,
        call: Callable[..., object],
        function: Callable[..., object],
        names: Sequence[str],
        defaults: Mapping[str, object],
        dtypes: Mapping[str, str],
        make: Make,
    ):
        super().__init__(call, (), [n for n in names if n not in defaults], {}, "float", make)
        self.function, self.dtypes = function, dtypes

    def title(self) -> str:
        return str(self.call.__name__)

    def shapes(
        self, rng: np.random.Generator, kind: str, low: float, high: float
    ) -> Iterator[tuple[str, list[np.ndarray]]]:
        for what, arrays in super().shapes(rng, kind, low, high):
            yield what, self.typed(arrays)

    def typed(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The arrays in their operands' dtypes; of truths, those above the middle hold."""
        made = []
        for name, array in zip(self.operands, arrays, strict=True):
            kind = self.dtypes.get(name)
            truths = array > array.mean() if kind == "bool" and array.size else array
            made.append(truths if kind is None else truths.astype(kind))
        return made

    def special(self) -> list[np.ndarray]:
        with np.errstate(all="ignore"):
            return self.typed(super().special())

    def values(self, what: str, device: str, kind: str, arrays: list[np.ndarray]) -> None:
        """Every result, its dtype and, of finite operands, the gradients against those of the function as
        it was written: 0 * inf, which gives NaN, comes up in other places of a fused gradient.
        """
        flow = what != "special values"
        have, want = (self.both(f, device, arrays, flow) for f in (self.call, self.function))
        for (name, ours), (_, theirs) in zip(have, want, strict=True):
            if ours.dtype != theirs.dtype or ours.shape != theirs.shape:
                raise CheckError(
                    f"{self.title()}: {what}, {device}, {kind}: {name} is {ours.dtype} {ours.shape}; "
                    f"unfused {theirs.dtype} {theirs.shape}"
                )
            bound = BOUNDS.get(str(ours.dtype), 0.0)
            for index in np.ndindex(ours.shape):
                if not close(float(ours[index]), float(theirs[index]), bound):
                    raise CheckError(
                        f"{self.title()}: {what}, {device}, {kind}: {name} at {index} is "
                        f"{ours[index]!r}; unfused {theirs[index]!r}"
                    )
        self.rows.append((what, device, kind, "right"))

    def both(
        self, function: Callable[..., object], device: str, arrays: list[np.ndarray], flow: bool
    ) -> list[tuple[str, np.ndarray]]:
        """Results and gradients, by name."""
        tensors = [self.make(a, device) for a in arrays]
        for t in tensors:
            t.requires_grad_(flow and t.dtype.is_floating_point)
        outputs = _several(function(*tensors))
        found = [("the result", out.detach().cpu().numpy()) for out in outputs]
        flowing = [out.sum() for out in outputs if out.requires_grad]
        if flowing:
            sum(flowing[1:], flowing[0]).backward()
        for name, t in zip(self.operands, tensors, strict=True):
            if t.grad is not None:
                found.append((f"the gradient of {name}", t.grad.cpu().numpy()))
        return found


def _several(made: Any) -> Sequence[Tensor]:
    return made if isinstance(made, tuple | list) else (made,)


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows of four words, in columns."""
    widths = [max(len(row[k]) for row in rows) for k in range(4)]
    lines = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in rows]
    return "\n".join(line.rstrip() for line in lines)


def simulated(device: str) -> bool:
    """Whether it is a GPU that Python plays."""
    return device == "cuda" and cuda.driver().simulated


def close(have: float, want: float, bound: float, reach: float = 1.0) -> bool:
    """Whether two numbers agree to ``bound`` of the larger of ``reach`` and what is wanted."""
    if np.isnan(want) or np.isinf(want):
        return have == want or (np.isnan(want) and np.isnan(have))
    return abs(have - want) <= bound * max(reach, abs(want))
