"""PyTorch's ``autocast``, where there is no half precision to cast to: everything stays in its own dtype."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import lru_cache

from tilegrad.engine.decorators import decorated
from tilegrad.engine.device import Device
from tilegrad.engine.dtype import DType, bfloat16, float16


@lru_cache(maxsize=1)
def _say() -> None:
    """That nothing is cast; once."""
    warnings.warn(
        "autocast: there is no half precision: everything is computed in the dtype it has",
        stacklevel=3,
    )


class autocast:
    """``with autocast("cuda"):``, or as a decorator: computes as outside, which is said once.

    Args:
        device_type: "cpu" or "cuda".
        dtype, cache_enabled: of no effect.
        enabled: False: nothing was asked for.

    Raises:
        RuntimeError: no such device.
    """

    def __init__(
        self,
        device_type: str,
        dtype: object = None,
        enabled: bool = True,
        cache_enabled: bool | None = None,
    ):
        if not isinstance(device_type, str):
            raise ValueError(f"Expected `device_type` of type `str`, got: `{type(device_type)}`")
        self.device = Device(device_type).type
        self._asked = enabled

    def __enter__(self) -> autocast:
        if self._asked:
            _say()
        return self

    def __exit__(self, *error: object) -> None:
        return None

    def __call__(self, function: Callable[..., object]) -> Callable[..., object]:
        return decorated(lambda: self, function)


class cuda_autocast(autocast):
    """:class:`autocast` of ``torch.cuda.amp``."""

    def __init__(self, enabled: bool = True, dtype: object = None, cache_enabled: bool = True):
        super().__init__("cuda", dtype, enabled, cache_enabled)


class cpu_autocast(autocast):
    """:class:`autocast` of ``torch.cpu.amp``."""

    def __init__(self, enabled: bool = True, dtype: object = None, cache_enabled: bool = True):
        super().__init__("cpu", dtype, enabled, cache_enabled)


def is_autocast_enabled(device_type: str = "cuda") -> bool:
    """Whether ops cast their operands: never."""
    return False


def get_autocast_dtype(device_type: str) -> DType:
    """What PyTorch would cast to: bfloat16 on a CPU, else float16.

    Raises:
        RuntimeError: no such device.
    """
    return bfloat16 if Device(device_type).type == "cpu" else float16


def is_autocast_available(device_type: str) -> bool:
    """Whether a device has half precision: none."""
    return False


def custom_fwd(
    fwd: Callable[..., object] | None = None,
    *,
    device_type: str = "cuda",
    cast_inputs: object = None,
) -> Callable[..., object]:
    """Decorator of a custom function's ``forward``, which nothing casts here: it itself."""
    return (lambda function: function) if fwd is None else fwd


def custom_bwd(
    bwd: Callable[..., object] | None = None, *, device_type: str = "cuda"
) -> Callable[..., object]:
    """Decorator of a custom function's ``backward``, as :func:`custom_fwd`."""
    return (lambda function: function) if bwd is None else bwd
