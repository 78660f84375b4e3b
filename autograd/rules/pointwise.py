"""Elementwise functions that are made from the rows of the formula tables.

``pointwise.pyi`` says their signatures to type checkers; ``python -m tests.house.stubs`` writes it.
"""

from tilegrad.autograd.rules.define import publish

__all__ = publish(globals())
