"""What a user's body is given, and what its launch receives for that.

A launch receives int64 and float64 only: addresses in the order of operands and outputs, that of
scratch memory, the call's scalars, then what the plan knows: sizes. :class:`Arguments` names them, and
says how the body's arguments are made of them. It is part of a variant, so that equal ones are one kernel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Given:
    """An operand or an output: its name, dtype and number of dimensions."""

    name: str
    dtype: str
    ndim: int


@dataclass(frozen=True)
class Arguments:
    """See the module.

    Attributes:
        asks: the names of the body's parameters, in order.
        arrays: operands, then outputs.
        scalars: (name, dtype) of those that each call brings.
        sizes: names of integers that the plan knows.
        types: (name, dtype) of the signature's dtype variables.
        constants: (name, value): fixed when it is compiled.
        defaults: names of the body's own constants, which are its defaults.
        real: the dtype of scalars that are floats.
        scratch: the dtype of scratch memory; None where there is none.
        checked: whether accesses are compared with the bounds of what they point into.
        views: whether arrays are given as such, ``x[i, j]``, and not as pointers.
    """

    asks: tuple[str, ...]
    arrays: tuple[Given, ...]
    scalars: tuple[tuple[str, str], ...] = ()
    sizes: tuple[str, ...] = ()
    types: tuple[tuple[str, str], ...] = ()
    constants: tuple[tuple[str, Any], ...] = ()
    defaults: tuple[str, ...] = ()
    real: str = "float64"
    scratch: str | None = None
    checked: bool = False
    views: bool = False

    def __str__(self) -> str:
        return "_".join(a.dtype for a in self.arrays) + ("_checked" if self.checked else "")

    @property
    def pointed(self) -> tuple[Given, ...]:
        """The arrays that the body asks for."""
        return tuple([a for a in self.arrays if a.name in self.asks])

    @property
    def known(self) -> tuple[str, ...]:
        """What the plan has to know, in the order it is received: elements of arrays, sizes, and
        the shapes and strides that the body asks for.
        """
        counts = [f"{a.name} elements" for a in self.pointed]
        sizes = [n for n in self.sizes if n in self.asks]
        return (*counts, *sizes, *[f"{name} {k}" for name, n in self.tuples() for k in range(n)])

    def tuples(self) -> list[tuple[str, int]]:
        """The shapes and strides that the body asks for, with their lengths."""
        return [
            (f"{a.name}_{what}", a.ndim)
            for a in self.arrays
            for what in ("shape", "strides")
            if f"{a.name}_{what}" in self.asks or (self.views and a.name in self.asks)
        ]

    @property
    def received(self) -> list[str]:
        """Names of what the launch receives."""
        names = [f"at_{a.name}" for a in self.arrays]
        names += ["at_scratch"] if self.scratch else []
        names += [f"given_{name}" for name, _ in self.scalars]
        return [*names, *(f"v_{name.replace(' ', '_')}" for name in self.known)]

    @property
    def letters(self) -> str:
        """A letter for each; see :mod:`tilegrad.kernels.params`."""
        scalars = "".join(["id"[kind.startswith("float")] for _, kind in self.scalars])
        pointers = "i" * (len(self.arrays) + (self.scratch is not None))
        return pointers + scalars + "i" * len(self.known)

    @property
    def dtypes(self) -> dict[str, str]:
        """The dtype behind each name of a type in the source: ``T_x`` for that of ``x``."""
        found = {f"T_{a.name}": a.dtype for a in self.arrays}
        found.update({f"T_{name}": kind for name, kind in (*self.scalars, *self.types)})
        return {**found, "T_scratch": self.scratch} if self.scratch else found

    def prepared(self) -> list[str]:
        """Statements that make the pointers the body asks for of their addresses; those of a checked
        build read ``task`` and ``report``, too.
        """
        if self.views:
            kind, more = ("checked_view", ", task, report") if self.checked else ("view", "")
            return [
                f"p_{a.name} = {kind}(at_{a.name}, T_{a.name}, "
                f"{f'v_{a.name}_elements, ' * self.checked}{self.numbers(f'{a.name}_shape', a.ndim)}, "
                f"{self.numbers(f'{a.name}_strides', a.ndim)}, {place}{more})"
                for place, a in enumerate(self.arrays)
                if a.name in self.asks
            ]
        span, more = ("checked_span", ", task, report") if self.checked else ("span", "")
        return [
            f"p_{a.name} = {span}(at_{a.name}, T_{a.name}, v_{a.name}_elements, {place}{more})"
            for place, a in enumerate(self.arrays)
            if a.name in self.asks
        ]

    def numbers(self, name: str, count: int) -> str:
        """A tuple of what is received under a name."""
        return "(" + "".join(f"v_{name}_{k}, " for k in range(count)) + ")"

    def passed(self, **more: str) -> list[str]:
        """An expression for each of the body's parameters but its own constants; ``more``: of names of the
        device. Those behind a constant are given by name.
        """
        made, named = [], ""
        for name in self.asks:
            if name in self.defaults:
                named = "{}="
            else:
                made.append(named.format(name) + self._expression(name, more))
        return made

    def _expression(self, name: str, more: dict[str, str]) -> str:
        fixed, tuples = dict(self.constants), dict(self.tuples())
        if name in more:
            return more[name]
        if name in fixed:
            return repr(fixed[name])
        if name in dict(self.scalars):
            return f"T_{name}(given_{name})"
        if name in tuples:
            return self.numbers(name, tuples[name])
        if name in dict(self.types):
            return f"T_{name}"
        return f"p_{name}" if any(a.name == name for a in self.arrays) else f"v_{name}"
