"""What a random program works on: variables as the generator knows them, and how literals are written."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

FLOATS = ("float32", "float64")
INTEGERS = ("uint8", "int8", "int16", "int32", "int64")
DTYPES = (*FLOATS, *INTEGERS, "bool")
COMPLEX = ("complex64", "complex128")
SIZES = (0, 1, 1, 2, 2, 3, 3, 4, 5)


@dataclass
class Variable:
    """A tensor of the program, by what PyTorch made of it.

    Attributes:
        name: in the program.
        value: PyTorch's tensor.
        exact: no rounding happened on the way, so that functions with steps may be applied.
    """

    name: str
    value: Any
    exact: bool

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.value.shape)

    @property
    def ndim(self) -> int:
        return int(self.value.dim())

    @property
    def dtype(self) -> str:
        return str(self.value.dtype).split(".")[1]

    @property
    def is_float(self) -> bool:
        return self.dtype in FLOATS

    @property
    def is_complex(self) -> bool:
        return self.dtype in COMPLEX


@dataclass
class Draw:
    """The random choices of one program.

    Attributes:
        rng: where they come from.
        variables: what exists so far.
        slips: how often, of 1, an argument is drawn without regard to what it must be.
        newer: whether statements are of :mod:`tests.programs.newer` too.
        wider: whether those are of :mod:`tests.programs.wider` too, and operands of every layout.
    """

    rng: random.Random
    variables: list[Variable] = field(default_factory=list)
    slips: float = 0.04
    newer: bool = False
    wider: bool = False

    def slip(self) -> bool:
        """Whether the next argument is to be a wrong one."""
        return self.rng.random() < self.slips

    def variable(self, *conditions: Any, must: tuple[Any, ...] = ()) -> Variable | None:
        """One that meets the conditions, mostly a recent one; now and then one that meets only what
        it ``must``.
        """
        fits = [v for v in self.variables if all(c(v) for c in must)]
        if not (fits and self.slip()):
            fits = [v for v in fits if all(c(v) for c in conditions)]
        if not fits:
            return None
        return self.rng.choice(fits[-6:] if self.rng.random() < 0.7 else fits)

    def dim(self, ndim: int) -> int:
        """A dimension of a tensor that has ``ndim``."""
        if self.slip():
            return self.rng.randint(-ndim - 2, ndim + 1)
        bound = max(ndim, 1)
        return self.rng.randint(-bound, bound - 1)

    def shape(self, most: int = 4) -> tuple[int, ...]:
        """Sizes of a small tensor."""
        return tuple(
            self.rng.choice(SIZES) for _ in range(self.rng.choice((0, 1, 1, 2, 2, 2, 3, 3, most)))
        )

    def number(self, dtype: str) -> str:
        """A Python number to meet a tensor of ``dtype``; seldom one outside its range."""
        rng = self.rng
        if self.slip():
            return rng.choice(
                ("300", "-129", "2**40", "True", "float('inf')", "float('nan')", "2.5")
            )
        if dtype in FLOATS:
            return repr(rng.choice((0.25, 0.5, 1.0, 1.5, 2.0, -0.5, -1.0, 3.0, 2, -1)))
        if dtype in COMPLEX:
            return rng.choice(("2", "-0.5", "1j", "(1 - 2j)", "(0.5 + 0.25j)"))
        if dtype == "bool":
            return rng.choice(("True", "False", "1", "2"))
        return repr(rng.choice((0, 1, 2, 3, 5, -1 if dtype != "uint8" else 7)))

    def element(self, dtype: str, special: bool) -> str:
        """One element, as a literal: floats are quarters, so that sums and products are exact."""
        rng = self.rng
        if dtype == "bool":
            return rng.choice(("True", "False"))
        if dtype in INTEGERS:
            return repr(rng.randint(0 if dtype == "uint8" else -5, 9))
        if special and rng.random() < 0.15:
            return rng.choice(("nan", "inf", "-inf", "-0.0", "0.0"))
        part = repr(rng.randint(-12, 12) / 4)
        return f"complex({part}, {rng.randint(-12, 12) / 4})" if dtype in COMPLEX else part

    def literal(self, shape: tuple[int, ...], dtype: str) -> str:
        """Nested lists of elements."""
        special = self.rng.random() < 0.1

        def write(sizes: tuple[int, ...]) -> str:
            if not sizes:
                return self.element(dtype, special)
            return "[" + ", ".join(write(sizes[1:]) for _ in range(sizes[0])) + "]"

        return write(shape)

    def laid_out(self, shape: tuple[int, ...], dtype: str) -> str:
        """A tensor as source; in a wider program its elements may lie in any order, apart or late in memory."""
        plain = f"t.tensor({{}}, dtype=t.{dtype})"
        choice = self.rng.random() if self.wider and shape else 1.0
        if choice < 0.1:
            text = plain.format(self.literal(shape[::-1], dtype))
            return f"{text}.permute({', '.join(str(k) for k in reversed(range(len(shape))))})"
        if choice < 0.2:
            return f"{plain.format(self.literal((*shape[:-1], 2 * shape[-1]), dtype))}[..., ::2]"
        if choice < 0.25:
            return f"{plain.format(self.literal((2, *shape), dtype))}[1]"
        if choice < 0.3:
            return f"{plain.format(self.literal((1, *shape[1:]), dtype))}.expand{shape}"
        return plain.format(self.literal(shape, dtype))

    def sizes_like(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """A shape that broadcasts with ``shape``."""
        made = [n if self.rng.random() < 0.75 else 1 for n in shape]
        cut = self.rng.randint(0, len(made)) if self.rng.random() < 0.3 else 0
        return tuple(made[cut:])
