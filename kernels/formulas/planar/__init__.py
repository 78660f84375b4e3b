"""Formulas of complex numbers, by the names of the rows of the formula tables that they stand beside.

A row of :data:`tilegrad.kernels.formulas.TABLES` takes complex operands where :data:`TABLE` has its name, and
PyTorch refuses those that it has not. Most of arithmetic is the text of the real formula; what needs
another is written over the parts (re, im) by the real formulas, a few ulp of each part exact, with the
special values of C99's annex G.

Derivatives are those of holomorphic functions: a VJP is g conj(f'), which one place of the rules
applies. Loaded with the first complex tensor that is computed with.
"""

from tilegrad.kernels.formulas.planar import arithmetic, exponential, inverse, trigonometric

TABLE = {**arithmetic.TABLE, **exponential.TABLE, **trigonometric.TABLE, **inverse.TABLE}
