"""Random programs of linear algebra: a call, its matrices and how they lie, as source text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tests.matrices import operands
from tests.matrices.check import check

EPS = {"float32": 1.2e-7, "complex64": 1.2e-7, "float64": 2.3e-16, "complex128": 2.3e-16}
ROWS = [
    0,
    1,
    2,
    3,
    3,
    4,
    5,
    7,
    8,
    9,
    11,
    13,
    16,
    17,
    23,
    29,
    31,
    32,
    33,
    37,
    53,
    64,
    65,
    67,
    97,
    131,
]
SPECIAL = ["zeros", "identity", "minus", "permutation", "ones", "jordan", "nilpotent", "zero row", "rank one",
           "integers", "symmetric", "graded"]  # fmt: skip
SINGULAR = ["zeros", "ones", "nilpotent", "zero row", "rank one"]


@dataclass
class Program:
    """``call`` is an expression over ``lib`` and the operands' names; see :func:`tests.matrices.check.check`."""

    seed: int
    name: str
    dtype: str
    call: str = ""
    proof: str = "nothing"
    loss: str | None = None
    amplify: float = 1.0
    edge: int = 0
    clean: bool = True
    names: list[str] = field(default_factory=list)
    values: list[str] = field(default_factory=list)
    layouts: list[str] = field(default_factory=list)

    def text(self) -> str:
        """The source; it runs by itself from the root (``PYTHONPATH=.dev``)."""
        lines = [
            "import numpy as np", "from tests.matrices.check import check",
            "from tests.matrices.operands import *", "",
            f"rng, dtype = np.random.default_rng({self.seed}), {self.dtype!r}",
            *(f"{n} = {v}" for n, v in zip(self.names, self.values, strict=True)), "", "",
            "def make(t):", f"    return [{', '.join(self.layouts)}]", "", "",
            f"def call(lib, {', '.join(self.names)}):", f"    return {self.call}", "", "",
            f"loss = {self.loss and 'lambda lib, ' + self.loss}",
            f"print(check(make, call, {self.proof!r}, {self.seed}, loss=loss, amplify={self.amplify:.3g}, "
            f"edge={self.edge}, clean={self.clean}))",
        ]  # fmt: skip
        return "\n".join(lines)

    def run(self) -> list[str]:
        """What is wrong; ``[]`` if nothing is."""
        scope: dict[str, Any] = {}
        source = self.text().replace("print(check(", "faults = (check(")
        exec(compile(source, f"<seed {self.seed}>", "exec"), scope)
        return list(scope["faults"])


class Draw:
    """A source of random choices that writes a :class:`Program`."""

    def __init__(self, seed: int, name: str, most: int):
        self.rng = np.random.default_rng([seed, 11])
        self.most = most
        self.program = Program(
            seed, name, self.pick("float32", "float64", "complex64", "complex128")
        )
        self.huge = self.chance(0.01) and most > 1000
        self.spoil = self.chance(0.06)
        self.batch: tuple[int, ...] = self.pick(
            (), (), (), (), (1,), (3,), (2, 3), (5,), (0,), (70,), (2, 1, 2)
        )
        self.many = self.chance(0.03) and most > 100
        if self.many:
            self.batch = (10_000,)
        if self.huge:
            self.batch = ()

    def pick(self, *options: Any) -> Any:
        """One of them."""
        return options[int(self.rng.integers(len(options)))]

    def chance(self, share: float) -> bool:
        """True that often."""
        return bool(self.rng.random() < share)

    def rows(self, huge: bool = False) -> int:
        """A size; 3 of large batches, 2,049 where ``huge`` says that the function has time for it."""
        if self.many:
            return 3
        if self.huge and huge:
            return 2049
        most = min(self.most, 40 if len(self.batch) and max(self.batch) > 10 else self.most)
        return int(self.pick(*[n for n in ROWS if n <= most]))

    def matrix(self, m: int, n: int | None = None, kind: str = "any") -> str:
        """Add matrices of a ``kind`` (any, hermitian, positive, lower, upper); gives their name."""
        n = m if n is None else n
        p, shape = self.program, (*self.batch, m, n)
        limit = 0.02 / EPS[p.dtype] / max(m, n, 1)
        cond = (
            float(10 ** self.rng.uniform(0, 16)) if self.chance(0.6) else self.pick(1.0, 10.0, 1e16)
        )
        how, scale = self.pick("even", "even", "one small", "one large"), "1.0"
        if self.chance(0.12):
            scale = (
                self.pick("1e-15", "1e15")
                if EPS[p.dtype] > 1e-10
                else self.pick("1e-130", "1e130", "1e-15")
            )
        if kind == "any" and self.chance(0.25):
            word = self.pick(
                *[s for s in SPECIAL if m == n or s not in ("symmetric", "permutation")]
            )
            value, cond = f"special(rng, {shape}, dtype, {word!r})", np.inf
            if word in ("identity", "minus", "permutation") and m == n:
                cond = 1.0
        elif kind in ("hermitian", "positive"):
            if kind == "hermitian" and self.chance(0.2):
                word = self.pick("zeros", "identity", "minus", "ones", "symmetric")
                value, cond = f"special(rng, {shape}, dtype, {word!r})", np.inf
            else:
                value = f"hermitian(rng, {shape}, dtype, {cond:.3g}, {how!r}, {scale}, {kind == 'positive'})"
        elif kind in ("lower", "upper"):
            cond = min(cond, limit / 2)
            value = f"triangular(rng, {shape}, dtype, {cond:.3g}, {kind == 'lower'}, {scale})"
        elif self.chance(0.3):
            value, cond = f"numbers(rng, {shape}, dtype, {scale})", float(max(m, n, 2)) ** 2
        else:
            value = f"conditioned(rng, {shape}, dtype, {cond:.3g}, {how!r}, {scale})"
        if self.spoil and m and n and kind != "plain":
            value, p.clean = f"spoiled(rng, {value})", False
        exact = "special" in value and word in SINGULAR
        p.edge = max(p.edge, 2 if exact else int(cond > limit))
        p.amplify = max(p.amplify, min(cond, 1e300) * max(m, n, 1))
        return self._add(value, shape)

    def sides(self, m: int, n: int, batch: tuple[int, ...] | None = None) -> str:
        """Add plain numbers; gives their name."""
        shape = (*(self.batch if batch is None else batch), m, n)
        return self._add(f"numbers(rng, {shape}, dtype)", shape)

    def vectors(self, *shape: int) -> str:
        """Add vectors."""
        return self._add(f"numbers(rng, {shape}, dtype)", shape)

    def _add(self, value: str, shape: tuple[int, ...]) -> str:
        p = self.program
        name = "abcdefgh"[len(p.names)]
        p.names.append(name)
        p.values.append(value)
        p.layouts.append(self._layout(name, shape))
        return name

    def _layout(self, name: str, shape: tuple[int, ...]) -> str:
        rank = len(shape)
        ways = (
            ["plain"] * 3
            + ["step", "wide", "conj"]
            + ["turned"] * 2 * (rank > 1)
            + ["batch"] * (rank > 2)
        )
        way = self.pick(*ways)
        if way == "step":
            return f"t(np.stack([{name}, np.full_like({name}, np.nan)], -1)).select(-1, 0)"
        if way == "wide":
            pads = [(1, 2) if i == rank - 1 else (0, 0) for i in range(rank)]
            return f"t(np.pad({name}, {pads}, constant_values=np.nan)).narrow({rank - 1}, 1, {shape[-1]})"
        if way == "turned":
            return f"t({name}.swapaxes(-1, -2).copy()).transpose(-1, -2)"
        if way == "batch":
            return f"t(np.moveaxis({name}, 0, -1).copy()).movedim(-1, 0)"
        if way == "conj":
            return f"t({name}.conj()).conj()"
        return f"t({name})"

    def says(self, call: str, proof: str, loss: str | None = None, amplify: float = 1.0) -> None:
        """The program's call; ``amplify`` times the condition number is what errors of gradients may grow by."""
        p = self.program
        p.call, p.proof = call, proof
        p.loss = loss if p.clean else None
        p.amplify = p.amplify**amplify if p.amplify < 1e100 else 1e300


Generator = Callable[[Draw], None]


def write(seed: int, table: dict[str, Generator], names: list[str], most: int) -> Program:
    """The program of a seed; rows up to ``most``."""
    name = names[int(np.random.default_rng([seed, 3]).integers(len(names)))]
    draw = Draw(seed, name, most)
    table[name](draw)
    return draw.program


__all__ = ["Draw", "Generator", "Program", "check", "operands", "write"]
