"""Short discrete Fourier transforms as straight-line programs, for both devices.

A *codelet* transforms ``radix`` complex numbers, as ``X_j = sum_k x_k e^(-2 pi i jk / radix)``. It is
derived here, once, as a list of real additions and multiplications by constants; the CPU writes it as LLVM
IR over vectors, CUDA as Python source over scalars. Radices that are products are split as by Cooley and
Tukey (1965); an odd prime pairs ``x_k`` with ``x_(radix-k)``, whose sums meet cosines and differences sines.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from functools import cache
from typing import Any, NamedTuple

RADICES = (2, 3, 4, 5, 7, 8, 9)


class Step(NamedTuple):
    """``add``: a + b; ``sub``: a - b; ``mul``: c a; ``fma``: c a + b; ``neg``: -a. Operands are numbers of
    values: the inputs come first, re and im in turn, then what each step made.
    """

    kind: str
    a: int
    b: int = -1
    c: float = 0.0


class Codelet(NamedTuple):
    """A program over ``2 radix`` reals; ``outputs`` are numbers of values, re and im in turn."""

    radix: int
    steps: tuple[Step, ...]
    outputs: tuple[int, ...]


class _Real(NamedTuple):
    """A value of the program, or its negative, which costs nothing until it is an output."""

    number: int
    minus: bool = False


_Complex = tuple[_Real, _Real]


class _Writer:
    """Writes a program down."""

    def __init__(self, inputs: int):
        self.count = inputs
        self.steps: list[Step] = []
        self.known: dict[Step, int] = {}

    def put(self, step: Step) -> int:
        if step not in self.known:
            self.known[step] = self.count
            self.steps.append(step)
            self.count += 1
        return self.known[step]

    def add(self, x: _Real, y: _Real) -> _Real:
        if x.minus and y.minus:
            return _Real(self.put(Step("add", x.number, y.number)), True)
        if y.minus:
            return _Real(self.put(Step("sub", x.number, y.number)))
        if x.minus:
            return _Real(self.put(Step("sub", y.number, x.number)))
        return _Real(self.put(Step("add", x.number, y.number)))

    def sub(self, x: _Real, y: _Real) -> _Real:
        return self.add(x, _Real(y.number, not y.minus))

    def mul(self, c: float, x: _Real) -> _Real:
        return _Real(self.put(Step("mul", x.number, c=abs(c))), x.minus != (c < 0))

    def fma(self, c: float, x: _Real, y: _Real) -> _Real:
        """c x + y"""
        c = -c if x.minus != y.minus else c
        return _Real(self.put(Step("fma", x.number, y.number, c)), y.minus)

    def turned(self, x: _Complex, turn: Fraction) -> _Complex:
        """x e^(-2 pi i turn)"""
        turn %= 1
        while turn >= Fraction(1, 4):  # by -i
            x, turn = (x[1], _Real(x[0].number, not x[0].minus)), turn - Fraction(1, 4)
        if turn == 0:
            return x
        re, im = x
        if turn == Fraction(1, 8):
            half = math.sqrt(0.5)
            return self.mul(half, self.add(re, im)), self.mul(half, self.sub(im, re))
        c, s = _cos_sin(turn)
        return self.fma(c, re, self.mul(s, im)), self.fma(c, im, self.mul(-s, re))


def _cos_sin(turn: Fraction) -> tuple[float, float]:
    """cos and sin of 2 pi turn, a fraction of a turn in [0, 1)."""
    angle = 2 * math.pi * float(turn)
    return math.cos(angle), math.sin(angle)


def _transform(writer: _Writer, x: list[_Complex]) -> list[_Complex]:
    n = len(x)
    if n == 1:
        return x
    if n == 2:
        (a, b), (c, d) = x
        return [(writer.add(a, c), writer.add(b, d)), (writer.sub(a, c), writer.sub(b, d))]
    factor = next((r for r in (2, 3, 5, 7) if n % r == 0 and n > r), n)
    if factor == n:
        return _odd(writer, x)
    rest = n // factor
    columns = [_transform(writer, x[k::rest]) for k in range(rest)]
    found: list[_Complex | None] = [None] * n
    for j in range(factor):
        line = [writer.turned(columns[k][j], Fraction(j * k, n)) for k in range(rest)]
        for i, value in enumerate(_transform(writer, line)):
            found[j + factor * i] = value
    return found  # type: ignore[return-value]


def _odd(writer: _Writer, x: list[_Complex]) -> list[_Complex]:
    """An odd prime's."""
    n, half = len(x), len(x) // 2
    sums = [[writer.add(x[k][c], x[n - k][c]) for c in (0, 1)] for k in range(1, half + 1)]
    gaps = [[writer.sub(x[k][c], x[n - k][c]) for c in (0, 1)] for k in range(1, half + 1)]
    first = []
    for c in (0, 1):
        total = sums[0][c]
        for term in sums[1:]:
            total = writer.add(total, term[c])
        first.append(writer.add(x[0][c], total))
    found: list[Any] = [tuple(first)] + [None] * (n - 1)
    for j in range(1, half + 1):
        even, odd = [], []
        for c in (0, 1):
            a, b = x[0][c], writer.mul(_cos_sin(Fraction(j, n))[1], gaps[0][c])
            for k in range(1, half + 1):
                cosine, sine = _cos_sin(Fraction(j * k % n, n))
                a = writer.fma(cosine, sums[k - 1][c], a)
                b = writer.fma(sine, gaps[k - 1][c], b) if k > 1 else b
            even.append(a)
            odd.append(b)
        # even - i odd, and its mirror
        found[j] = (writer.add(even[0], odd[1]), writer.sub(even[1], odd[0]))
        found[n - j] = (writer.sub(even[0], odd[1]), writer.add(even[1], odd[0]))
    return found


@cache
def codelet(radix: int) -> Codelet:
    """The program of this radix, at least 2."""
    writer = _Writer(2 * radix)
    x = [(_Real(2 * k), _Real(2 * k + 1)) for k in range(radix)]
    outputs = []
    for value in _transform(writer, x):
        for part in value:
            number = part.number
            outputs.append(writer.put(Step("neg", number)) if part.minus else number)
    return Codelet(radix, tuple(writer.steps), tuple(outputs))


def run(
    program: Codelet,
    inputs: list[Any],
    constant: Callable[[float], Any],
    fma: Callable[[Any, Any, Any], Any],
    arithmetic: dict[str, Callable[..., Any]],
) -> list[Any]:
    """The outputs of a program for these inputs. ``arithmetic`` has add, sub, mul and neg."""
    values = list(inputs)
    for kind, a, b, c in program.steps:
        if kind == "mul":
            made = arithmetic["mul"](constant(c), values[a])
        elif kind == "fma":
            made = fma(constant(c), values[a], values[b])
        elif kind == "neg":
            made = arithmetic["neg"](values[a])
        else:
            made = arithmetic[kind](values[a], values[b])
        values.append(made)
    return [values[number] for number in program.outputs]


def source(program: Codelet) -> str:
    """A program as a Python function ``codelet(v0, v1, …) -> tuple``, its constants of ``v0``'s type."""
    inputs = [f"v{k}" for k in range(2 * program.radix)]
    lines = [f"def codelet({', '.join(inputs)}):", "    T = type(v0)"]
    for number, (kind, a, b, c) in enumerate(program.steps, 2 * program.radix):
        text = {
            "add": f"v{a} + v{b}", "sub": f"v{a} - v{b}", "mul": f"T({c!r}) * v{a}",
            "fma": f"T({c!r}) * v{a} + v{b}", "neg": f"-v{a}",
        }[kind]  # fmt: skip
        lines.append(f"    v{number} = {text}")
    lines.append(f"    return ({', '.join(f'v{k}' for k in program.outputs)},)")
    return "\n".join(lines) + "\n"
