"""Calls as PyTorch had them before its factors went behind the tensors: ``x.add_(2, y)``,
``x.addcmul_(0.1, y, z)``, ``addmm(2, x, 3, a, b)``.

Such a call gives more by position than a function takes so, which :mod:`tilegrad.autograd.names` sends
here; what is given is put in order before the function begins.
"""

from __future__ import annotations

import warnings
from types import FunctionType

from tilegrad.autograd.base import TensorBase

_FACTOR = {"add": "alpha", "sub": "alpha", "rsub": "alpha", "addcmul": "value", "addcdiv": "value"}
_PRODUCTS = ("addmm", "addmv", "addr", "addbmm", "baddbmm")


def has_older(name: str) -> bool:
    """Whether a function of this name has such calls."""
    return name.removesuffix("_") in _FACTOR or name.removesuffix("_") in _PRODUCTS


_warned: list[str] = []  # functions of which a warning was given: one in a process, as in PyTorch


def _is_factor(value: object) -> bool:
    return not isinstance(value, (TensorBase, str, bytes)) or (
        isinstance(value, TensorBase) and value.layout.ndim == 0
    )


class Older:
    """Puts the arguments of a call of ``function`` in order."""

    __slots__ = ("count", "defaults", "function", "names")

    def __init__(self, function: FunctionType):
        code = function.__code__
        self.function, self.count = function.__name__, code.co_argcount
        self.names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
        given = function.__kwdefaults__ or {}
        self.defaults = [given[n] for n in self.names[self.count :]]

    def __call__(self, more: object, *values: object) -> tuple[object, ...]:
        """All arguments, where ``more`` came by position after the first of ``values``: a tuple of them, or
        one after which the next stands among the factors.

        Raises:
            TypeError: this is no such call.
        """
        factors = values[self.count :]
        given = [*values[: self.count], *(more if isinstance(more, tuple) else (more,))]
        scaled = self.function.removesuffix("_") in _FACTOR
        if not scaled and isinstance(factors[0], TensorBase):
            given.append(factors[0])
            factors = (self.defaults[0], *factors[1:])
        if all(f is d for f, d in zip(factors, self.defaults, strict=True)):
            made = self._scaled(given) if scaled else self._product(given)
            if made is not None and len(made) == len(self.names):
                self._warn(len(given))
                return made
        raise TypeError(
            f"{self.function}() takes from 1 to {self.count} positional arguments but {len(given)} were given"
        )

    def _scaled(self, given: list[object]) -> tuple[object, ...] | None:
        first, factor, *rest = given
        if not _is_factor(factor):
            return None
        if self.function == "rsub":
            return (first, factor, *rest) if _is_factor(rest[0]) else None
        return (first, *rest, factor)

    def _product(self, given: list[object]) -> tuple[object, ...] | None:
        beta, first, *rest = given
        if not (_is_factor(beta) and isinstance(first, TensorBase)):
            beta, first = first, beta  # a method: its tensor stands before all
        alpha: object = 1
        if len(rest) == 3:
            alpha, *rest = rest
        if not (_is_factor(beta) and _is_factor(alpha)):
            return None
        return (first, *rest, beta, alpha)

    def _warn(self, given: int) -> None:
        if _warned:
            return
        name, tensors = self.function, [f"Tensor {n}" for n in self.names[1 : self.count]]
        _warned.append(name)
        factors = self.names[self.count :]
        old = [f"Number {n}" for n in factors[: given - self.count]]
        new = [f"Number {n} = 1" for n in factors]
        warnings.warn(
            f"This overload of {name} is deprecated:\n\t{name}({', '.join([*old, *tensors])})\n"
            f"Consider using one of the following signatures instead:\n\t"
            f"{name}({', '.join([*tensors, '*', *new])})",
            stacklevel=4,
        )
