"""Neural networks: modules, layers, losses and their functions, PyTorch's names and arguments."""

if __name__ != "tilegrad.nn":
    raise ImportError("import this package as tilegrad.nn, not as a top-level 'nn'")

from tilegrad.nn import functional, init, modules, parallel, utils
from tilegrad.nn.modules import *
from tilegrad.nn.modules import __all__ as _modules
from tilegrad.nn.parallel import DataParallel
from tilegrad.nn.parameter import (
    Buffer,
    Parameter,
    UninitializedBuffer,
    UninitializedParameter,
)

__all__ = [
    *_modules,
    "Buffer",
    "DataParallel",
    "Parameter",
    "UninitializedBuffer",
    "UninitializedParameter",
    "functional",
    "init",
    "modules",
    "parallel",
    "utils",
]
