"""tilegrad: tensors, autograd and neural networks on kernels written by hand in Python.

Names, arguments and semantics are PyTorch's.
"""

from tilegrad import autograd
from tilegrad.autograd.mode import (
    enable_grad,
    inference_mode,
    is_grad_enabled,
    is_inference_mode_enabled,
    no_grad,
    set_grad_enabled,
)
from tilegrad.autograd.rules.pointwise import *  # noqa: F403
from tilegrad.autograd.tensor import Size, Tensor
from tilegrad.engine.array import from_numpy as _from_numpy
from tilegrad.autograd.base import wrap as _wrap
from tilegrad.engine.device import Device as device
from tilegrad.kernels.cpu.jit import get_num_threads, set_num_threads


def from_numpy(a):
    return _wrap(_from_numpy(a))
