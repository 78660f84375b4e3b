"""What `tilegrad warmup` compiles: the calls that stand for an op, and the ops of everyday training."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from tilegrad.cli.operands import EXAMPLES, find
from tilegrad.engine.ops.elementwise import OPS

OPTIMIZERS = ("SGD", "Adam", "AdamW")  # names of their own, beside those of ops
DIGITS = "digits"  # the training and the predictions of the main job, another

# the standing set: what `tilegrad warmup` without names compiles
_EVERYDAY = """
    add sub mul div neg abs exp log sqrt rsqrt square pow reciprocal sin cos erf maximum minimum clamp
    eq ne lt le gt ge logical_and logical_or logical_not where masked_fill
    relu leaky_relu elu gelu silu sigmoid tanh softplus hardswish dropout
    sum mean amax amin max min argmax argmin var std prod any all logsumexp norm cumsum sort argsort topk
    softmax log_softmax cross_entropy nll_loss mse_loss l1_loss binary_cross_entropy_with_logits
    layer_norm batch_norm group_norm
    matmul mm bmm mv linear scaled_dot_product_attention
    conv1d conv2d conv_transpose2d max_pool2d avg_pool2d adaptive_avg_pool2d
    cat stack clone t contiguous flip pad gather scatter_add embedding index_select masked_select
    zeros ones arange rand randn randperm one_hot
"""
STANDING = tuple(_EVERYDAY.split())


class Example(NamedTuple):
    """Operands and other arguments of one call, as `tilegrad inspect` takes them."""

    shapes: tuple[str, ...] = ()
    given: Mapping[str, Any] = MappingProxyType({})


def _shapes(*texts: str) -> list[Example]:
    return [Example(tuple(text.split())) for text in texts]


# calls where the rules do not reach the kernels that an op is used with
CALLS: dict[str, list[Example]] = {
    "where": _shapes("1024,1024:bool 1024,1024 1024,1024", "1024,1024:bool 1024,1024 1"),
    "masked_fill": [Example(("1024,1024", "1024,1024:bool"), {"value": 0.0})],
    "masked_select": _shapes("1024,1024 1024,1024:bool"),
    "clamp": [Example(("1024,1024",), {"min": -1.0, "max": 1.0})],
    "pow": [Example(("1024,1024",), {"exponent": 2.0}), *_shapes("1024,1024 1024,1024")],
    "matmul": _shapes("32,32 32,32", "64,784 784,128", "512,512 512,512", "512,512 512",
                      "1,512 512,512", "32,64,64 32,64,64"),
    "mm": _shapes("32,32 32,32", "512,512 512,512"),
    "linear": _shapes("64,784 128,784 128", "64,128 10,128 10", "1,512 512,512 512"),
    "conv2d": [
        Example(("32,64,28,28", "64,64,3,3", "64"), {"padding": 1}),
        Example(("32,1,28,28", "16,1,3,3", "16"), {"padding": 1}),
        Example(("32,3,32,32", "16,3,3,3", "16"), {"padding": 1}),
        Example(("32,64,28,28", "128,64,1,1", "128")),
        Example(("32,32,28,28", "64,32,3,3", "64"), {"padding": 1, "stride": 2}),
    ],
    "conv1d": [Example(("16,32,256", "32,32,3", "32"), {"padding": 1})],
    "scaled_dot_product_attention": [
        Example(("8,4,64,32",) * 3, {"is_causal": causal}) for causal in (False, True)
    ],
    "layer_norm": _shapes("1024,512", "1024,512 512 512"),
    "batch_norm": [
        Example(("32,64,28,28", "64", "64", "64", "64"), {"training": True}),
        Example(("64,256", "256", "256", "256", "256"), {"training": True}),
        Example(("32,64,28,28", "64", "64", "64", "64"), {"training": False}),
    ],
    "scatter_add": _shapes("1024,1024 1024,1024:int64 1024,1024"),
    "binary_cross_entropy_with_logits": _shapes("1024 1024"),
    "pad": [Example(("32,16,28,28",), {"pad": (1, 1, 1, 1)})],
    "randperm": [Example((), {"n": 1024})],
    "arange": [Example((), {"start": 1024})],
    "one_hot": [Example(("1024:int64",), {"num_classes": 10})],
    "logical_and": _shapes("1024,1024:bool 1024,1024:bool"),
    "logical_or": _shapes("1024,1024:bool 1024,1024:bool"),
    "logical_not": _shapes("1024,1024:bool"),
    "any": [Example(("1024,1024:bool",), given) for given in ({}, {"dim": 1})],
    "all": [Example(("1024,1024:bool",), given) for given in ({}, {"dim": 1})],
}  # fmt: skip
# calls beside those of the rules
MORE: dict[str, list[Example]] = {
    "add": _shapes("1:int64 1:int64"),  # the batches that a batch norm has seen
    "sum": [Example(("8,16",), {"dim": 0})],
}


def examples(op: str) -> list[Example]:
    """The calls that stand for ``op``.

    Raises:
        Failure: there is no such op.
    """
    return [*(CALLS[op] if op in CALLS else _by_rule(op)), *MORE.get(op, ())]


def _by_rule(op: str) -> list[Example]:
    """Of two operands also one broadcast along rows, one along columns and a number; along
    dimensions also the first, the last and all of them.
    """
    parameters = inspect.signature(find(op)).parameters
    if op in EXAMPLES:
        return [Example()]
    row = OPS.get(op)
    if row is not None and row.formula.arity == 2:
        second = list(parameters)[1]
        whole = "1024,1024"
        found = _shapes(f"{whole} {whole}", f"{whole} 1024", f"{whole} 1024,1")
        if "Scalar" in str(parameters[second].annotation):
            found.append(Example((whole,), {second: 2.0}))
        return found
    if "dim" in parameters and "Tensor" in str(parameters.get("input", "")):
        whole_too = parameters["dim"].default in (None, ())
        ends = [Example((), {"dim": 0}), Example((), {"dim": -1})]
        return [Example(), *ends] if whole_too else ends
    return [Example()]
