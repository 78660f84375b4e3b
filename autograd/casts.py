"""The methods that name a dtype: ``x.float()`` is ``x.to(float32)``."""

from __future__ import annotations

from tilegrad.autograd.annotations import Tensor
from tilegrad.autograd.rules import elementwise
from tilegrad.engine import dtype as dt


def bool(self: Tensor) -> Tensor:
    """As bool."""
    return elementwise.to_dtype(self, dt.bool_)


def byte(self: Tensor) -> Tensor:
    """As uint8."""
    return elementwise.to_dtype(self, dt.uint8)


def char(self: Tensor) -> Tensor:
    """As int8."""
    return elementwise.to_dtype(self, dt.int8)


def short(self: Tensor) -> Tensor:
    """As int16."""
    return elementwise.to_dtype(self, dt.int16)


def int(self: Tensor) -> Tensor:
    """As int32."""
    return elementwise.to_dtype(self, dt.int32)


def long(self: Tensor) -> Tensor:
    """As int64."""
    return elementwise.to_dtype(self, dt.int64)


def float(self: Tensor) -> Tensor:
    """As float32."""
    return elementwise.to_dtype(self, dt.float32)


def double(self: Tensor) -> Tensor:
    """As float64."""
    return elementwise.to_dtype(self, dt.float64)


def cfloat(self: Tensor) -> Tensor:
    """As complex64."""
    return elementwise.to_dtype(self, dt.complex64)


def cdouble(self: Tensor) -> Tensor:
    """As complex128."""
    return elementwise.to_dtype(self, dt.complex128)
