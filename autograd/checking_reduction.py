"""Checks of a user's reduction: its kernels against a fold in Python, its laws, and its gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import permutations
from typing import Any

import numpy as np

from tilegrad.autograd.checking import BOUNDS, SPECIAL, Check, CheckError, Make, close, simulated
from tilegrad.autograd.gradcheck import GradcheckError, gradcheck, gradgradcheck
from tilegrad.autograd.reduction_parts import Parts

LAWS = (
    1e-9  # how far two ways to combine float64 numbers may lie apart, of the largest met on the way
)
TRIES = 40
Numbers = tuple[float, ...]
Over = int | tuple[int, ...] | None


class ReductionCheck(Check):
    """Runs the checks of one reduction and keeps what they said.

    Args:
        call: the function of tensors.
        parts: its functions, which run as Python too.
        kind: how dtypes go through.
        differentiable: whether it has a gradient.
    """

    STEPS = ("monoid_laws", "folded", "repeats", "differences")

    def __init__(
        self, call: Callable[..., object], parts: Parts, kind: str, differentiable: bool, make: Make
    ):  # fmt: skip
        names = [*parts.operands, *parts.scalars]
        super().__init__(call, parts.results, names, parts.scalars, kind, make)
        self.parts, self.differentiable = parts, differentiable
        self.numbers = [np.float64(v) for v in parts.scalars.values()]
        self.start: Numbers = tuple(np.float64(s) for s in parts.starts)

    def run(self, low: float, high: float, seed: int = 0, orders: int = 2) -> None:
        """All checks, on each device that is there, with operands within ``[low, high]``; gradients of so
        many orders.
        """
        rng = np.random.default_rng(seed)
        self.monoid_laws(rng, low, high)
        kinds = ["float64", "float32", *(["int64"] if self.kind == "same" else [])]
        for device in self.devices():
            special = [rng.choice(SPECIAL, (24, 3)) for _ in self.operands]
            self.folded("special values", device, "float64", special, 1)
            for kind in kinds:
                for what, arrays, dim in self.blocks(rng, kind, low, high):
                    if not (simulated(device) and arrays[0].size > 100):
                        self.folded(what, device, kind, arrays, dim)
            self.repeats(device, rng, low, high)
        if self.differentiable:
            self.differences(rng, low, high)

    # --------------------------------------------------------------------------------- in Python

    def lift(self, element: Sequence[float]) -> Numbers:
        """What an element contributes."""
        given = [*map(np.float64, element), *self.numbers]
        return tuple(np.float64(f(*given)) for f in self.parts.contributions)

    def join(self, a: Numbers, b: Numbers) -> Numbers:
        """The combination."""
        return tuple(np.float64(f(*a, *b)) for f in self.parts.combines)

    def fold(
        self, elements: Sequence[Sequence[float]], kind: str = "float64"
    ) -> tuple[Numbers, float]:
        """(accumulators of these elements, the largest number met on the way)."""
        total, reach = self.start, 1.0
        if kind == "int64":  # the ends of its range stand for the infinities
            total = tuple(np.float64(np.clip(s, -(2.0**63), 2.0**63)) for s in total)
        for element in elements:
            total = self.join(total, self.lift(element))
            reach = max([reach, *(abs(t) for t in total if np.isfinite(t))])
        return total, reach

    def right(self, formula: Callable[..., float], given: Sequence[Any]) -> float:
        """A result, of accumulators."""
        return float(formula(*given, *self.numbers))

    # -------------------------------------------------------------------------------- the checks

    def monoid_laws(self, rng: np.random.Generator, low: float, high: float) -> None:
        """Identity, commutativity, associativity on partial results of random elements."""

        def draw() -> Numbers:
            size = (int(rng.integers(1, 4)), len(self.operands))
            return self.fold(self.drawn(rng, low, high, size).tolist())[0]

        with np.errstate(all="ignore"):
            for number in range(TRIES):
                a, b, c = draw(), draw(), draw()
                if number == 0:
                    a = self.start
                e = self.start
                text = [self.shown(v) for v in (a, b, c)]
                self.same(f"the identity {self.shown(e)} changes {text[0]}", self.join(e, a), a)
                self.same(f"the identity {self.shown(e)} changes {text[0]}", self.join(a, e), a)
                what = f"is not commutative: of {text[0]} and {text[1]}"
                self.same(what, self.join(a, b), self.join(b, a))
                what = f"is not associative: of {', '.join(text)}"
                self.same(what, self.join(self.join(a, b), c), self.join(a, self.join(b, c)))
        self.rows.append(("identity, commutative, associative", "python", "float64", "right"))

    def drawn(
        self, rng: np.random.Generator, low: float, high: float, size: tuple[int, ...]
    ) -> np.ndarray:
        """Random operands; whole numbers for a reduction that integers go through."""
        made = rng.uniform(low, high, size)
        return np.rint(made) if self.kind == "same" and rng.integers(2) else made

    def same(self, what: str, one: Numbers, other: Numbers) -> None:
        reach = max([1.0, *(abs(v) for v in (*one, *other) if np.isfinite(v))])
        for u, v in zip(one, other, strict=True):
            if not close(float(u), float(v), LAWS, reach):
                raise CheckError(
                    f"{self.parts.name}: the combination {what} it gives {self.shown(one)}, and "
                    f"{self.shown(other)} the other way"
                    if "identity" not in what
                    else f"{self.parts.name}: {what} to {self.shown(one)}"
                )

    def shown(self, numbers: Sequence[float]) -> str:
        text = ", ".join(f"{float(v):.9g}" for v in numbers)
        return text if len(numbers) == 1 else f"({text})"

    def blocks(
        self, rng: np.random.Generator, kind: str, low: float, high: float
    ) -> Iterator[tuple[str, list[np.ndarray], Over]]:
        """Operands and dimensions: sizes 0, 1 and primes, transposed, with gaps, broadcast."""

        def draw(*shape: int) -> list[np.ndarray]:
            return [rng.uniform(low, high, shape).astype(kind) for _ in self.operands]

        yield "empty", draw(0), None
        yield "empty", draw(3, 0), 1
        yield "one number", draw(), None
        yield "a prime", draw(251), 0
        yield "all dimensions", draw(5, 3, 7), None
        for dim in (0, 1):
            yield "rows" if dim else "columns", draw(7, 13), dim
            yield "transposed", [a.T for a in draw(7, 13)], dim
            yield "with gaps", [a[:, ::2] for a in draw(11, 18)], dim
        yield "several dimensions", draw(4, 5, 3), (0, 2)
        if len(self.operands) > 1:
            for dim in (0, 1):
                arrays = [a[:, :1] if k % 2 else a for k, a in enumerate(draw(5, 9))]
                yield "broadcast", arrays, dim

    def folded(
        self, what: str, device: str, kind: str, arrays: list[np.ndarray], dim: Over
    ) -> None:
        """The kernels against the fold in float64."""
        made = self.call(*[self.make(a, device) for a in arrays], dim=dim, **self.scalars)
        outputs = made if isinstance(made, tuple) else (made,)
        whole = np.broadcast_arrays(*arrays)
        dims = tuple(range(whole[0].ndim)) if dim is None else np.atleast_1d(dim)
        kept = [a for a in range(whole[0].ndim) if a not in dims]
        lines = [
            w.transpose(*kept, *dims).reshape(*(w.shape[a] for a in kept), -1)
            if w.size
            else np.zeros((*(w.shape[a] for a in kept), 0))
            for w in whole
        ]
        for index in np.ndindex(lines[0].shape[:-1]):
            elements = list(zip(*(line[index] for line in lines), strict=True))
            have = [float(out.detach().cpu().numpy()[index]) for out in outputs]
            self.compare(what, device, kind, elements, have)
        row = (what, device, kind, "right")
        if row not in self.rows:
            self.rows.append(row)

    def compare(
        self,
        what: str,
        device: str,
        kind: str,
        elements: Sequence[Sequence[float]],
        have: list[float],
    ) -> None:
        short = len(elements) <= 3  # what is not finite may depend on the order: all are tried
        orders = [*permutations(elements)] if short else [elements, elements[::-1]]
        with np.errstate(all="ignore"):
            folds = [self.fold(order, kind) for order in orders]
            wants = [[self.right(f, total) for total, _ in folds] for f in self.formulas]
        reach = max(most for _, most in folds)
        shown = ", ".join(self.shown(e) for e in elements[:8]) + (", ..." if elements[8:] else "")
        for got, (want, *others) in zip(have, wants, strict=True):
            other = next((v for v in others if np.isfinite(v) != np.isfinite(want)), None)
            if other is not None:
                raise CheckError(
                    f"{self.parts.name}: {what}: the combination depends on the order of what is not "
                    f"finite: of {shown} it gives {want!r}, and {other!r} in another order"
                )
            bound = BOUNDS.get(kind, 1e-12)
            unsure = not np.isfinite(want) and not all(close(want, v, 0.0) for v in others)
            right = not np.isfinite(got) if unsure else close(got, want, bound, reach)
            if not right:
                raise CheckError(
                    f"{self.parts.name}: {what}, {device}, {kind}: of {len(elements)} elements {shown} "
                    f"it gives {got!r}; a fold of its functions {want!r}"
                )

    def differences(self, rng: np.random.Generator, low: float, high: float) -> None:
        """Gradients of first and second order against differences."""
        middle, half = (low + high) / 2, (high - low) / 2.2  # differences stay within the domain
        for dim in (1, None):
            ready = [
                self.make(middle + half * rng.uniform(-1, 1, (1, 3) if k % 2 else (2, 3)), "cpu")
                for k in range(len(self.operands))
            ]
            ready = [x.requires_grad_() for x in ready]

            def call(*xs: object, over: Over = dim) -> Any:
                return self.call(*xs, dim=over, **self.scalars)

            for what, check in (("first", gradcheck), ("second", gradgradcheck)):
                try:
                    check(call, ready)
                except GradcheckError as error:
                    raise CheckError(
                        f"{self.parts.name}: gradients of {what} order; {error}"
                    ) from None
                if dim is None:
                    self.rows.append((f"gradients of {what} order", "cpu", "float64", "right"))
