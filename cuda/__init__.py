"""NVIDIA GPUs: devices, streams, events and memory, PyTorch's names.

Without a GPU ``is_available()`` is False and importing this costs nothing; what needs one raises
:class:`~tilegrad.DeviceError` with the line that says what is missing.
"""

import os
import sys

if __name__ == "cuda":
    # The root of the source tree is on sys.path, where this folder hides NVIDIA's packages cuda.*:
    # give way to them.
    _places = [os.path.join(entry or os.curdir, "cuda") for entry in sys.path]
    __path__ = [
        place
        for place in _places
        if os.path.isdir(place) and not os.path.samefile(place, os.path.dirname(__file__))
    ]

if __name__ != "tilegrad.cuda":
    if not (__name__ == "cuda" and __path__):
        raise ImportError("import this package as tilegrad.cuda, not as a top-level 'cuda'")
else:
    from tilegrad.autograd.typed import CUDA_TYPES as _TYPES
    from tilegrad.cuda.device import (
        current_device,
        device,
        get_device_capability,
        get_device_name,
        get_device_properties,
        manual_seed,
        manual_seed_all,
        set_device,
    )
    from tilegrad.cuda.memory import (
        empty_cache,
        max_memory_allocated,
        max_memory_reserved,
        mem_get_info,
        memory_allocated,
        memory_reserved,
        memory_stats,
        memory_summary,
        reset_peak_memory_stats,
    )
    from tilegrad.cuda.streams import current_stream, default_stream, synchronize
    from tilegrad.engine.cuda import Event, Stream, device_count, is_available, stream
    from tilegrad.engine.debug import KernelFault, debug
    from tilegrad.engine.errors import OutOfMemoryError

    BoolTensor, ByteTensor = _TYPES["BoolTensor"], _TYPES["ByteTensor"]
    CharTensor, ShortTensor = _TYPES["CharTensor"], _TYPES["ShortTensor"]
    IntTensor, LongTensor = _TYPES["IntTensor"], _TYPES["LongTensor"]
    FloatTensor, DoubleTensor = _TYPES["FloatTensor"], _TYPES["DoubleTensor"]
    HalfTensor, BFloat16Tensor = _TYPES["HalfTensor"], _TYPES["BFloat16Tensor"]

    __all__ = [
        "BFloat16Tensor", "BoolTensor", "ByteTensor", "CharTensor", "DoubleTensor", "Event",
        "FloatTensor", "HalfTensor", "IntTensor", "KernelFault", "LongTensor", "OutOfMemoryError",
        "ShortTensor", "Stream", "current_device", "current_stream", "debug", "default_stream", "device",
        "device_count", "empty_cache", "get_device_capability", "get_device_name",
        "get_device_properties", "is_available", "is_bf16_supported", "manual_seed", "manual_seed_all",
        "max_memory_allocated", "max_memory_reserved", "mem_get_info", "memory_allocated",
        "memory_reserved", "memory_stats", "memory_summary", "reset_peak_memory_stats", "set_device",
        "stream", "synchronize",
    ]  # fmt: skip

    def is_bf16_supported(including_emulation: bool = True) -> bool:
        """False: there are no kernels for bfloat16."""
        return False

    def __getattr__(name: str) -> object:
        if name == "amp":  # gathered of names that stand elsewhere
            from importlib import import_module

            return import_module("tilegrad.cuda.amp")
        raise AttributeError(f"module 'tilegrad.cuda' has no attribute {name!r}")
