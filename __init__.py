"""tilegrad: tensors, autograd and neural networks on kernels written by hand in Python.

Names, arguments and semantics are PyTorch's.
"""

import math as _math
import typing as _typing
from importlib import import_module as _import_module
from types import FunctionType as _FunctionType, ModuleType as _ModuleType

from tilegrad import autograd as autograd, paths as _paths
from tilegrad.autograd.custom import elementwise as elementwise
from tilegrad.autograd.custom_reduction import reduction as reduction
from tilegrad.autograd.formatting import set_printoptions as set_printoptions
from tilegrad.autograd.functions import *
from tilegrad.autograd.gradcheck import GradcheckError as GradcheckError
from tilegrad.autograd.later import FUNCTIONS as _FUNCTIONS, function as _function
from tilegrad.autograd.mode import (
    enable_grad as enable_grad,
    inference_mode as inference_mode,
    is_grad_enabled as is_grad_enabled,
    is_inference_mode_enabled as is_inference_mode_enabled,
    no_grad as no_grad,
    set_grad_enabled as set_grad_enabled,
)
from tilegrad.autograd.size import Size as Size
from tilegrad.autograd.tensor import Tensor as Tensor
from tilegrad.autograd.typed import (
    TYPES as _TYPES,
    set_default_tensor_type as set_default_tensor_type,
)
from tilegrad.autograd.user_op import op as op
from tilegrad.engine.device import (
    Device as _Device,
    get_default_device as get_default_device,
    set_default_device as set_default_device,
)
from tilegrad.engine.dtype import (
    DType as _DType,
    bfloat16 as bfloat16,
    bool_ as _bool,
    complex32 as complex32,
    complex64 as complex64,
    complex128 as complex128,
    finfo as finfo,
    float16 as float16,
    float32 as float32,
    float64 as float64,
    get_default_dtype as get_default_dtype,
    iinfo as iinfo,
    int8 as int8,
    int16 as int16,
    int32 as int32,
    int64 as int64,
    promote_types as promote_types,
    set_default_dtype as set_default_dtype,
    uint8 as uint8,
)
from tilegrad.engine.errors import DeviceError as DeviceError, OutOfMemoryError as OutOfMemoryError
from tilegrad.engine.formats import (
    MemoryFormat as _MemoryFormat,
    MemoryLayout as _MemoryLayout,
    channels_last as channels_last,
    channels_last_3d as channels_last_3d,
    contiguous_format as contiguous_format,
    preserve_format as preserve_format,
    strided as strided,
)
from tilegrad.engine.memory import (
    empty_cache as empty_cache,
    memory_stats as memory_stats,
    reset_peak_memory_stats as reset_peak_memory_stats,
)
from tilegrad.engine.random import Generator as Generator, default_generator as default_generator
from tilegrad.kernels.cpu.run.threads import (
    get_num_threads as get_num_threads,
    set_num_threads as set_num_threads,
)

if _typing.TYPE_CHECKING:
    from tilegrad import (
        cuda as cuda,
        data as data,
        distributions as distributions,
        formulas as formulas,
        frozen as frozen,
        linalg as linalg,
        nn as nn,
        onnx as onnx,
        ops as ops,
        optim as optim,
        testing as testing,
    )
    from tilegrad.autograd.autocast import (
        autocast as autocast,
        is_autocast_enabled as is_autocast_enabled,
    )
    from tilegrad.autograd.batching import vmap as vmap
    from tilegrad.autograd.fusing import FuseError as FuseError, fuse as fuse
    from tilegrad.autograd.settings import *
    from tilegrad.data.serialization import load as load, save as save
    from tilegrad.drop_in import as_torch as as_torch
    from tilegrad.frozen import freeze as freeze, load_frozen as load_frozen
    from tilegrad.nn.functional.native import *

device = _Device
dtype = _DType
bool = _bool
layout = _MemoryLayout
memory_format = _MemoryFormat
double, float, half = float64, float32, float16
long, int, short = int64, int32, int16
cfloat, cdouble, chalf = complex64, complex128, complex32
pi, e, inf, nan = _math.pi, _math.e, _math.inf, _math.nan
newaxis = None
BoolTensor, ByteTensor, CharTensor = (_TYPES[n] for n in ("BoolTensor", "ByteTensor", "CharTensor"))
ShortTensor, IntTensor, LongTensor = (_TYPES[n] for n in ("ShortTensor", "IntTensor", "LongTensor"))
FloatTensor, DoubleTensor = _TYPES["FloatTensor"], _TYPES["DoubleTensor"]

__version__ = "0.4.0.dev0"
_release = __version__  # which as_torch leaves as it is

_LATER = {  # what a first tensor does not need is loaded when it is asked for
    "as_torch": "tilegrad.drop_in",
    "cuda": "tilegrad.cuda",
    "data": "tilegrad.data",
    "distributions": "tilegrad.distributions",
    "formulas": "tilegrad.formulas",
    "freeze": "tilegrad.frozen",
    "frozen": "tilegrad.frozen",
    "fuse": "tilegrad.autograd.fusing",
    "FuseError": "tilegrad.autograd.fusing",
    "linalg": "tilegrad.linalg",
    "load": "tilegrad.data.serialization",
    "load_frozen": "tilegrad.frozen",
    "nn": "tilegrad.nn",
    "onnx": "tilegrad.onnx",
    "ops": "tilegrad.ops",
    "optim": "tilegrad.optim",
    "save": "tilegrad.data.serialization",
    "testing": "tilegrad.testing",
    "autocast": "tilegrad.autograd.autocast",
    "compile": "tilegrad.autograd.eager",
    "get_autocast_dtype": "tilegrad.autograd.autocast",
    "is_autocast_enabled": "tilegrad.autograd.autocast",
    "vmap": "tilegrad.autograd.batching",
    **dict.fromkeys(_paths.SETTINGS, "tilegrad.autograd.settings"),
    **dict.fromkeys(_paths.NATIVE, "tilegrad.nn.functional.native"),
    **{name: f"tilegrad.{name}" for name in _paths.TOP if name != "serialization"},
}
_paths.install()


for _value in list(globals().values()):
    if _value.__class__ is _FunctionType:
        _value.__module__ = "tilegrad"  # where pickle and help() find it, whatever file it is in

if not _typing.TYPE_CHECKING:  # type checkers read the imports

    def __getattr__(name: str) -> object:
        if name in _FUNCTIONS:
            found = globals()[name] = _function(name)
            return found
        if name.startswith("_foreach_"):
            foreach = _import_module("tilegrad.autograd.rules.foreach")
            if foreach.known(name):
                found = globals()[name] = foreach.made(name)
                return found
        if name not in _LATER:
            raise AttributeError(f"module 'tilegrad' has no attribute {name!r}")
        module = _import_module(_LATER[name])
        return module if _LATER[name] == f"tilegrad.{name}" else getattr(module, name)

    def __dir__() -> list[str]:
        return sorted({*globals(), *_LATER, *_FUNCTIONS})

    __all__ = [
        "load",
        "save",
        *_paths.EVERYDAY,
        *(n for n in _FUNCTIONS if n[0] != "_"),
        *_paths.NATIVE,
        *_paths.SETTINGS,
    ]  # as PyTorch's, no modules
    _hidden = (_ModuleType, _MemoryFormat, _MemoryLayout)
    __all__ += [n for n, v in globals().items() if n[0] != "_" and v.__class__ not in _hidden]
    # of dtypes without kernels: to compare with
    HalfTensor, BFloat16Tensor = _TYPES["HalfTensor"], _TYPES["BFloat16Tensor"]
