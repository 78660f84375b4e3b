"""Activation functions that are made from the rows of the formula tables.

``pointwise.pyi`` says their names to type checkers; ``python -m tests.house.stubs`` writes it.
"""

from tilegrad.autograd.rules import pointwise as _made

__all__ = _made.functional
globals().update({name: getattr(_made, name) for name in __all__})
