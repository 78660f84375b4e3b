"""Elementwise functions that are made from the rows of the formula tables.

``pointwise.pyi`` says their signatures to type checkers; ``python -m tests.house.stubs`` writes it.

Attributes:
    functional: those that :mod:`tilegrad.nn.functional` has.
"""

from tilegrad.autograd.rules.define import publish

_public = publish(globals())
__all__ = _public["tilegrad"]
functional = _public["nn.functional"]


def __getattr__(name: str) -> object:
    raise AttributeError(f'no row of kernels/formulas makes {name}: Formula("{name}", …)')
