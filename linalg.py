"""``tilegrad.linalg``: PyTorch's linear algebra.

Matrices are the last two dimensions, batches any before them. Cholesky, LU, triangular solves and QR are
blocked kernels over the engine's own matrix product; eigenvalues and singular values of matrices of up to 32
rows are found by rotations of our own, on CUDA of any number; larger ones on the CPU by LAPACK in SciPy
(``pip install 'tilegrad[linalg]'``).
"""

from __future__ import annotations

from types import FunctionType as _FunctionType

from tilegrad.autograd.arguments import checked as _checked
from tilegrad.autograd.extra import extras as _extras
from tilegrad.autograd.kinds import exact as _exact
from tilegrad.autograd.names import renamed as _renamed
from tilegrad.autograd.rules.decompositions import *
from tilegrad.autograd.rules.indefinite import *
from tilegrad.autograd.rules.matrices import *
from tilegrad.autograd.rules.spectral import *
from tilegrad.engine.errors import LinAlgError as LinAlgError

_functions = [f for n, f in list(globals().items()) if n[0] != "_" and f.__class__ is _FunctionType]
_exact(_functions)
_renamed(_functions, _extras)
_checked(_functions)
for _function in _functions:
    _function.__module__ = "tilegrad.linalg"
