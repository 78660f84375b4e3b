"""What works on parameters and modules from outside, PyTorch's names."""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING as _TYPE_CHECKING

from tilegrad.nn.utils.clip_grad import (
    clip_grad_norm,
    clip_grad_norm_,
    clip_grad_value_,
    clip_grads_with_norm_,
    get_total_norm,
)
from tilegrad.nn.utils.convert_parameters import parameters_to_vector, vector_to_parameters
from tilegrad.nn.utils.spectral_norm import remove_spectral_norm, spectral_norm
from tilegrad.nn.utils.weight_norm import remove_weight_norm, weight_norm

if _TYPE_CHECKING:
    from tilegrad.nn.utils import (
        fusion as fusion,
        parametrizations as parametrizations,
        parametrize as parametrize,
        prune as prune,
        rnn as rnn,
        stateless as stateless,
    )
    from tilegrad.nn.utils.fusion import (
        fuse_conv_bn_eval,
        fuse_conv_bn_weights,
        fuse_linear_bn_eval,
        fuse_linear_bn_weights,
    )
    from tilegrad.nn.utils.init import skip_init
    from tilegrad.nn.utils.memory_format import (
        convert_conv2d_weight_memory_format,
        convert_conv3d_weight_memory_format,
    )

__all__ = [
    "clip_grad_norm", "clip_grad_norm_", "clip_grad_value_", "clip_grads_with_norm_",
    "convert_conv2d_weight_memory_format", "convert_conv3d_weight_memory_format",
    "fuse_conv_bn_eval", "fuse_conv_bn_weights", "fuse_linear_bn_eval", "fuse_linear_bn_weights",
    "get_total_norm", "parameters_to_vector", "parametrizations", "parametrize", "prune",
    "remove_spectral_norm", "remove_weight_norm", "rnn", "skip_init", "spectral_norm", "stateless",
    "vector_to_parameters", "weight_norm",
]  # fmt: skip

_LATER = {  # what most programs do without is loaded when it is asked for
    **{
        name: name
        for name in (
            "fusion",
            "init",
            "parametrizations",
            "parametrize",
            "prune",
            "rnn",
            "stateless",
        )
    },
    **{
        f"fuse_{layer}_bn_{what}": "fusion"
        for layer in ("conv", "linear")
        for what in ("eval", "weights")
    },
    "skip_init": "init",
    "convert_conv2d_weight_memory_format": "memory_format",
    "convert_conv3d_weight_memory_format": "memory_format",
}

if not _TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        if name not in _LATER:
            raise AttributeError(f"module 'tilegrad.nn.utils' has no attribute {name!r}")
        module = _import_module(f"tilegrad.nn.utils.{_LATER[name]}")
        if name == _LATER[name] and not hasattr(module, name):
            return module
        return getattr(module, name)

    def __dir__() -> list[str]:
        return sorted({*globals(), *_LATER})
