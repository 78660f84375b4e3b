"""Functions ``NAME_(input, …)`` that are the methods of that name, which write over their tensor."""

from __future__ import annotations

from collections.abc import Callable

from tilegrad.autograd.annotations import Tensor
from tilegrad.kernels.function import function_from_source

__all__ = [
    "addmv_", "as_strided_", "clamp_max_", "clamp_min_", "deg2rad_", "detach_", "logit_", "rad2deg_",
    "square_",
]  # fmt: skip


def _of_method(name: str) -> Callable[..., Tensor]:
    head = f"def {name}(input: Tensor, *args: object, **kwargs: object) -> Tensor:"
    source = f"{head}\n    return input.{name}(*args, **kwargs)\n"
    made = function_from_source(source, name, {"Tensor": Tensor}, __name__)
    made.__annotations__.update({"input": "Tensor", "return": "Tensor"})
    made.__doc__ = f":func:`{name[:-1]}`, in place."
    return made


addmv_, as_strided_ = _of_method("addmv_"), _of_method("as_strided_")
clamp_max_, clamp_min_ = _of_method("clamp_max_"), _of_method("clamp_min_")
deg2rad_, rad2deg_ = _of_method("deg2rad_"), _of_method("rad2deg_")
detach_, logit_ = _of_method("detach_"), _of_method("logit_")
square_ = _of_method("square_")
