"""tilegrad: tensors, autograd and neural networks on kernels written by hand in Python.

Names, arguments and semantics are PyTorch's.
"""

from tilegrad import autograd
from tilegrad.autograd.functions import *  # noqa: F403
from tilegrad.autograd.gradcheck import GradcheckError
from tilegrad.autograd.mode import (
    enable_grad,
    inference_mode,
    is_grad_enabled,
    is_inference_mode_enabled,
    no_grad,
    set_grad_enabled,
)
from tilegrad.autograd.tensor import Size, Tensor
from tilegrad.engine.device import Device, device
from tilegrad.engine.dtype import (
    DType,
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
from tilegrad.engine.random import Generator
from tilegrad.engine.memory import empty_cache, memory_stats, reset_peak_memory_stats
from tilegrad.kernels.cpu.threads import get_num_threads, set_num_threads

bool = bool_
double, float, half = float64, float32, None
long, int, short = int64, int32, int16
dtype = DType
__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    if name in ("nn", "optim", "data"):
        import importlib

        return importlib.import_module(f"tilegrad.{name}")
    raise AttributeError(f"module 'tilegrad' has no attribute {name!r}")
