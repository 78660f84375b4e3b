"""Random programs: a call, its arrays and how they lie, as source text."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tests.large import check as checking
from tests.settled import settle

FLOAT = "rng.standard_normal({shape}).astype(dtype)"
POSITIVE = "rng.uniform(0.5, 2, {shape}).astype(dtype)"
UNIT = "rng.uniform(0.02, 0.98, {shape}).astype(dtype)"
DISTINCT = "(rng.permutation({count}) / {count} - 0.5).astype(dtype).reshape({shape})"
BOOL = "(rng.random({shape}) < 0.7)"


@dataclass(frozen=True)
class Sizes:
    """How large programs may be: elements of a tensor and multiply-adds of a call."""

    elements: int = 300_000
    products: int = 12_000_000


@dataclass
class Program:
    """``call`` is an expression over ``lib``, ``F`` and the arrays' names; see :func:`check`."""

    seed: int
    dtype: str
    call: str = ""
    names: list[str] = field(default_factory=list)
    values: list[str] = field(default_factory=list)
    layouts: list[str] = field(default_factory=list)
    fixed: list[int] = field(default_factory=list)
    tolerance: float = 1.0
    least: float = 1e-3
    cancels: float = 1e-3

    def text(self, device: str = "cpu", whole: bool = False) -> str:
        """The source; ``whole`` runs by itself, else ``check`` has to be there."""
        lines = [
            "import numpy as np", "", f"dtype = {self.dtype!r}",
            f"rng = np.random.default_rng({self.seed})",
            *(f"{n} = {v}" for n, v in zip(self.names, self.values, strict=True)), "", "",
            "def make(t):", f"    return [{', '.join(self.layouts)}]", "", "",
            f"def call(lib, F, {', '.join(self.names)}):", f"    return {self.call}", "", "",
            f"faults = check(make, call, {self.seed}, {tuple(self.fixed)}, "
            f"{self.tolerance}, {device!r}, {self.least}, {self.cancels})",
        ]  # fmt: skip
        if not whole:
            return "\n".join(lines)
        head = [inspect.getsource(checking), "", inspect.getsource(settle), "", "settle()", ""]
        return "\n".join([*head, *lines, "print(faults)"])


class Draw:
    """A source of random choices that writes a :class:`Program`."""

    def __init__(self, seed: int, sizes: Sizes):
        self.rng = np.random.default_rng([seed, 7])
        self.sizes = sizes
        self.program = Program(seed, "float32" if self.rng.random() < 0.75 else "float64")

    def int(self, low: int, high: int) -> int:
        """Of ``low`` to ``high``, both included."""
        return int(self.rng.integers(low, max(low, high) + 1))

    def pick(self, *options: Any) -> Any:
        """One of them."""
        return options[int(self.rng.integers(len(options)))]

    def chance(self, share: float) -> bool:
        """True that often."""
        return bool(self.rng.random() < share)

    def size(self, most: int, least: int = 1) -> int:
        """A size, as often small as large; about a third beside a multiple of a power of two."""
        most = max(least, most)
        n = math.exp(self.rng.uniform(math.log(least), math.log(most + 1)))
        if self.chance(0.35):
            n = 2 ** round(math.log2(n)) * self.pick(1, 1, 3) + self.pick(-1, 0, 0, 1)
        return min(most, max(least, int(n)))

    def shape(self, rank: int, elements: int | None = None) -> tuple[int, ...]:
        """Sizes whose product is at most ``elements``; one dimension in random order is large."""
        left, sizes = elements or self.sizes.elements, [1] * rank
        left = self.int(max(1, left // 30), left) if self.chance(0.7) else left
        order = self.rng.permutation(rank)
        for place in order[:-1]:
            sizes[place] = self.size(left)
            left //= sizes[place]
        sizes[order[-1]] = max(1, left if self.chance(0.5) else self.size(left))
        return tuple(sizes)

    def array(
        self, shape: tuple[int, ...], values: str = FLOAT, fixed: bool = False, plain: bool = False
    ) -> str:
        """Add an array in a random layout; gives its name."""
        p, name = self.program, "xyzwuvabcdefgh"[len(self.program.names)]
        p.names.append(name)
        p.values.append(values.format(shape=shape, count=math.prod(shape)))
        p.layouts.append(f"t({name})" if plain else self._layout(name, shape, values))
        if fixed:
            p.fixed.append(len(p.names) - 1)
        return name

    def index(self, shape: tuple[int, ...], count: int, negative: bool = False) -> str:
        """Add indices below ``count``."""
        low = f"-{count}" if negative else "0"
        return self.array(shape, f"rng.integers({low}, {count}, {{shape}})", fixed=True)

    def _layout(self, name: str, shape: tuple[int, ...], values: str) -> str:
        rank = len(shape)
        ways = ["plain"] * 3 + ["step", "wide"] * (rank > 0)
        ways += ["transposed"] * 2 * (rank > 1) + ["last"] * 2 * (rank > 2) + ["first"] * (rank > 1)
        way = self.pick(*ways)
        other = "np.nan" if "dtype" in values else "1" if "uint8" in values else "-1"
        if way == "step":
            return f"t(np.stack([{name}, np.full_like({name}, {other})], -1)).select(-1, 0)"
        if way == "wide":
            at = self.int(0, rank - 1)
            pads = [(1, 2) if i == at else (0, 0) for i in range(rank)]
            padded = f"np.pad({name}, {pads}, constant_values={other})"
            return f"t({padded}).narrow({at}, 1, {shape[at]})"
        if way == "transposed":
            i, j = sorted(int(k) for k in self.rng.permutation(rank)[:2])
            return f"t({name}.swapaxes({i}, {j}).copy()).transpose({i}, {j})"
        if way == "last":
            return f"t(np.moveaxis({name}, 1, -1).copy()).movedim(-1, 1)"
        if way == "first":
            return f"t(np.moveaxis({name}, -1, 0).copy()).movedim(0, -1)"
        return f"t({name})"


Generator = Callable[[Draw], str]


def write(seed: int, table: dict[str, Generator], sizes: Sizes, names: list[str]) -> Program:
    """The program of a seed."""
    draw = Draw(seed, sizes)
    draw.program.call = table[draw.pick(*names)](draw)
    return draw.program


def run(program: Program, device: str = "cpu") -> list[str]:
    """What is wrong; ``[]`` if nothing is."""
    scope: dict[str, Any] = {"check": checking.check}
    exec(compile(program.text(device), f"<seed {program.seed}>", "exec"), scope)
    return list(scope["faults"])
