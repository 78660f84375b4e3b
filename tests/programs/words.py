"""Rows of source with words in braces: what newer statements are written in, and what stands for the words."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from tests.programs.values import COMPLEX, DTYPES, FLOATS, INTEGERS, Draw, Variable

Condition = Callable[[Variable], bool]


def is_float(v: Variable) -> bool:
    return v.is_float


def is_exact(v: Variable) -> bool:
    """Free of rounding, so that functions with steps, edges and poles may be applied."""
    return v.exact


def is_real(v: Variable) -> bool:
    return not v.is_complex


def is_inexact(v: Variable) -> bool:
    """Of a floating or complex dtype."""
    return v.is_float or v.is_complex


def is_complex(v: Variable) -> bool:
    return v.is_complex


def is_whole(v: Variable) -> bool:
    return v.dtype in INTEGERS


def is_finite(v: Variable) -> bool:
    return bool(v.value.isfinite().all())


def is_double(v: Variable) -> bool:
    """Wide enough for what amplifies rounding."""
    return v.dtype in ("float64", "complex128")


def has_dims(least: int) -> Condition:
    return lambda v: v.ndim >= least


def is_rank(rank: int) -> Condition:
    return lambda v: v.ndim == rank


def has_elements(v: Variable) -> bool:
    return bool(v.value.numel())


def is_distinct(v: Variable) -> bool:
    """Whether it does not matter which of equal elements is taken: PyTorch does not say."""
    return v.is_complex or v.value.unique().numel() == v.value.numel()


def is_leaf(v: Variable) -> bool:
    """Whether gradients gather in it."""
    return bool(v.value.requires_grad and v.value.is_leaf)


def is_alone(v: Variable) -> bool:
    """Whether it may be a result's place: asks for no gradient."""
    return not v.value.requires_grad


class Area(NamedTuple):
    """Rows of one kind.

    Attributes:
        rows: source; the words are those of :class:`Words`.
        wants: what ``{x}`` mostly is.
        must: what ``{x}``, ``{y}`` and ``{z}`` always are.
        exact: whether results of exact operands are free of rounding.
        weight: how often the area is drawn.
    """

    rows: tuple[str, ...]
    wants: tuple[Condition, ...] = ()
    must: tuple[Condition, ...] = ()
    exact: bool = False
    weight: int = 3


class Words(dict[str, str]):
    """What stands for a word in a row; drawn when it is first read, then the same throughout the row."""

    def __init__(self, draw: Draw, x: Variable, must: tuple[Condition, ...]) -> None:
        super().__init__(x=x.name)
        self.draw, self.variable, self.must = draw, x, must
        self.exact = x.exact

    def __missing__(self, word: str) -> str:
        made: str = getattr(self, f"word_{word.rstrip('0123456789')}")()
        self[word] = made
        return made

    def another(self, condition: Condition, literal: tuple[int, ...], dtype: str) -> str:
        """A variable, or a literal where there is none; now and then although there is one."""
        y = self.draw.variable(condition, must=self.must)
        if y is not None and self.draw.rng.random() < 0.6:
            self.exact = self.exact and y.exact
            return y.name
        return self.draw.laid_out(literal, dtype)

    def word_y(self) -> str:
        """An operand that broadcasts with ``{x}``."""
        x = self.variable
        fits = lambda v: all(
            m == n or 1 in (m, n) for m, n in zip(v.shape[::-1], x.shape[::-1], strict=False)
        )
        others = [d for d in DTYPES if all(c(_of_dtype(x, d)) for c in self.must)] or [x.dtype]
        dtype = self.draw.rng.choice((x.dtype, x.dtype, x.dtype, *others))
        return self.another(fits, self.draw.sizes_like(x.shape), dtype)

    def word_z(self) -> str:
        """A tensor like ``{x}``."""
        x = self.variable
        alike = lambda v: v.shape == x.shape and v.dtype == x.dtype
        return self.another(alike, x.shape, x.dtype)

    def word_mask(self) -> str:
        """Truth values that broadcast over ``{x}``."""
        return f"t.tensor({self.draw.literal(self.draw.sizes_like(self.variable.shape), 'bool')}, dtype=t.bool)"

    def word_n(self) -> str:
        return self.draw.number(self.variable.dtype)

    def word_d(self) -> str:
        return str(self.draw.dim(self.variable.ndim))

    def word_k(self) -> str:
        return str(self.draw.rng.randint(0, 4))

    def word_size(self) -> str:
        return str(self.draw.rng.randint(1, 4))

    def word_step(self) -> str:
        return str(self.draw.rng.randint(-3, 3))

    def _extent(self) -> int:
        x, d = self.variable, int(self["d"])
        return x.shape[d] if -x.ndim <= d < x.ndim else 1

    def word_at(self) -> str:
        """A position along ``{d}``."""
        size = self._extent()
        return str(self.draw.rng.randint(-size - self.draw.slip(), max(size - 1, 0)))

    def word_ids(self) -> str:
        """Positions along ``{d}``, any number of them."""
        size = self._extent()
        most = 3 if size else 0
        picks = [
            self.draw.rng.randint(0, max(size - 1 + self.draw.slip(), 0))
            for _ in range(self.draw.rng.randint(0, most))
        ]
        return f"t.tensor({picks}, dtype=t.{self.draw.rng.choice(('int64', 'int64', 'int32'))})"

    def word_wide(self) -> str:
        """Positions along ``{d}`` for each element."""
        x, size = self.variable, self._extent()
        count = x.value.numel()
        picks = [self.draw.rng.randint(0, max(size - 1, 0)) for _ in range(count)]
        return f"t.tensor({picks}, dtype=t.int64).reshape({list(x.shape)})"

    def word_keep(self) -> str:
        return self.draw.rng.choice(("True", "False"))

    def word_dtype(self) -> str:
        """Any; but what a number beyond an integer's range becomes, no library says."""
        whole = not is_inexact(self.variable) or self.draw.slip()
        return f"t.{self.draw.rng.choice((*(DTYPES if whole else FLOATS), *COMPLEX))}"

    def word_float(self) -> str:
        return f"t.{self.draw.rng.choice(FLOATS)}"

    def word_norm(self) -> str:
        return self.draw.rng.choice(("None", "'forward'", "'backward'", "'ortho'"))

    def word_p(self) -> str:
        return self.draw.rng.choice(("0", "1", "2", "3", "0.5", "float('inf')", "-1"))

    def word_fold(self) -> str:
        """How several values become one."""
        return self.draw.rng.choice(("'prod'", "'mean'", "'amax'", "'amin'"))

    def word_mean(self) -> str:
        return self.draw.rng.choice(("'none'", "'mean'", "'sum'"))

    def word_mode(self) -> str:
        return self.draw.rng.choice(("'constant'", "'reflect'", "'replicate'", "'circular'"))

    def word_whole(self) -> str:
        """How a segment becomes one value."""
        return self.draw.rng.choice(("'sum'", "'mean'", "'max'", "'min'", "'prod'"))

    def word_bag(self) -> str:
        return self.draw.rng.choice(("'sum'", "'mean'", "'max'"))

    def word_scale(self) -> str:
        return self.draw.rng.choice(
            ("'nearest'", "'nearest-exact'", "'bilinear'", "'bicubic'", "'area'")
        )

    def word_border(self) -> str:
        return self.draw.rng.choice(("'zeros'", "'border'", "'reflection'"))

    def word_near(self) -> str:
        return self.draw.rng.choice(("'bilinear'", "'nearest'", "'bicubic'"))

    def word_spd(self) -> str:
        """A matrix that is far from singular, symmetric and positive, of ``{x}``'s last dimension."""
        x = self.variable
        return f"({x.name}.mH @ {x.name} + 4 * t.eye({x.shape[-1] if x.ndim else 1}, dtype=t.{x.dtype}))"

    def word_square(self) -> str:
        """A square matrix of ``{x}``, seldom near a singular one."""
        x = self.variable
        rows = min(x.shape[-2:]) if x.ndim > 1 else 1
        return f"({x.name}[..., :{rows}, :{rows}] + t.eye({rows}, dtype=t.{x.dtype}) * 30)"


def _of_dtype(x: Variable, dtype: str) -> Variable:
    import torch

    return Variable(x.name, torch.empty(0, dtype=getattr(torch, dtype)), x.exact)


def each(text: str, names: str) -> tuple[str, ...]:
    return tuple(text.replace("NAME", name) for name in names.split())
