"""Kernels: the mathematics and the loops, on raw memory.

A kernel receives addresses, sizes and scalars, trusts them, and fills its outputs. It knows no
tensor, no shape rule and no gradient. ``formulas`` holds scalar mathematics once for every device;
``cpu`` and ``cuda`` hold the loops.
"""

if __name__ != "tilegrad.kernels":
    raise ImportError("import this package as tilegrad.kernels, not as a top-level 'kernels'")
