"""tilegrad: tensors, autograd and neural networks on kernels written by hand in Python.

Names, arguments and semantics are PyTorch's.
"""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING

from tilegrad import autograd
from tilegrad.autograd.formatting import set_printoptions
from tilegrad.autograd.functions import *
from tilegrad.autograd.gradcheck import GradcheckError
from tilegrad.autograd.mode import (
    enable_grad,
    inference_mode,
    is_grad_enabled,
    is_inference_mode_enabled,
    no_grad,
    set_grad_enabled,
)
from tilegrad.autograd.size import Size
from tilegrad.autograd.tensor import Tensor
from tilegrad.engine.device import Device as device, get_default_device, set_default_device
from tilegrad.engine.dtype import (
    DType as dtype,
    bool_,
    finfo,
    float32,
    float64,
    get_default_dtype,
    iinfo,
    int8,
    int16,
    int32,
    int64,
    promote_types,
    set_default_dtype,
    uint8,
)
from tilegrad.engine.errors import DeviceError, OutOfMemoryError
from tilegrad.engine.memory import empty_cache, memory_stats, reset_peak_memory_stats
from tilegrad.engine.random import Generator, default_generator
from tilegrad.kernels.cpu.run.threads import get_num_threads, set_num_threads

if TYPE_CHECKING:
    from tilegrad import cuda, data, nn, optim
    from tilegrad.data.serialization import load, save

bool = bool_
double, float = float64, float32
long, int, short = int64, int32, int16

__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    """Load what a first tensor does not need when it is asked for."""
    if name in ("nn", "optim", "data", "cuda"):
        return _import_module(f"tilegrad.{name}")
    if name in ("save", "load"):
        return getattr(_import_module("tilegrad.data.serialization"), name)
    raise AttributeError(f"module 'tilegrad' has no attribute {name!r}")


__all__ = [
    "DeviceError",
    "Generator",
    "GradcheckError",
    "OutOfMemoryError",
    "Size",
    "Tensor",
    "autograd",
    "bool",
    "cuda",
    "data",
    "default_generator",
    "device",
    "double",
    "dtype",
    "empty_cache",
    "enable_grad",
    "finfo",
    "float",
    "float32",
    "float64",
    "get_default_device",
    "get_default_dtype",
    "get_num_threads",
    "iinfo",
    "inference_mode",
    "int",
    "int8",
    "int16",
    "int32",
    "int64",
    "is_grad_enabled",
    "is_inference_mode_enabled",
    "load",
    "long",
    "memory_stats",
    "nn",
    "no_grad",
    "optim",
    "promote_types",
    "reset_peak_memory_stats",
    "save",
    "set_default_device",
    "set_default_dtype",
    "set_grad_enabled",
    "set_num_threads",
    "set_printoptions",
    "short",
    "uint8",
]
