"""What PyTorch calls the nodes of the graph: ``AddBackward0`` for ``add``, by one rule and a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from tilegrad.autograd.custom_call import CustomCall
from tilegrad.engine.array import Layout


class Node(Protocol):
    """What is asked of a node; see :class:`tilegrad.autograd.graph.Node`."""

    op: str
    meta: Any
    inputs: Sequence[Layout]
    outputs: tuple[Layout, ...]

    @property
    def edges(self) -> Sequence[object]:
        """Where gradients go; None: nowhere."""


# where the name is not that of the op in capitals, with "Backward0"
_NAMES = {
    "add_scaled": "AddBackward0", "bce": "BinaryCrossEntropyBackward0",
    "bce_logits": "BinaryCrossEntropyWithLogitsBackward0",
    "bce_logits_weighted": "BinaryCrossEntropyWithLogitsBackward0", "batch_norm": "NativeBatchNormBackward0",
    "clamp": "ClampBackward1", "clamp_above": "ClampBackward0", "clamp_below": "ClampBackward0",
    "clamp_between": "ClampBackward0", "clamp_max": "ClampBackward1", "clamp_min": "ClampBackward1",
    "cross_entropy_smoothed": "AddBackward0", "cross_entropy_soft": "NegBackward0",
    "cross_entropy_soft_mean": "DivBackward1",
    "conv": "ConvolutionBackward0", "conv_input": "ConvolutionBackward0", "copy": "CloneBackward0", "copy_": "CopyBackwards",
    "copy_slices": "CopySlices", "embed": "DiagEmbedBackward0", "fill": "FillBackward2",
    "gate": "GluBackward0", "gelu_tanh": "GeluBackward0", "group_norm": "NativeGroupNormBackward0",
    "heaviside": "NotImplemented",
    "huber": "HuberLossBackward0", "l1": "AbsBackward0", "mantissa": "FrexpBackward0",
    "max_unpool1d": "SqueezeBackward1", "masked_fill_tensor": "MaskedFillBackward1",
    "mse": "MseLossBackward0", "power": "PowBackward0", "round_decimals": "RoundBackward1",
    "scatter_value": "ScatterBackward1", "smooth_l1": "SmoothL1LossBackward0",
    "soft_margin": "SoftMarginLossBackward0", "softsign": "DivBackward0",
    "div_floor": "DivBackward2", "div_trunc": "DivBackward2", "instance_norm": "ViewBackward0",
    "pairwise_distance": "NormBackward1", "rms_norm": "MulBackward0", "squeeze_dim": "SqueezeBackward1",
    "squeeze_dims": "SqueezeBackward2", "tanhshrink": "SubBackward0",
    "layer_norm": "NativeLayerNormBackward0", "logsigmoid": "LogSigmoidBackward0",
    "max_of_all": "MaxBackward1", "min_of_all": "MinBackward1",
    "norm": "LinalgVectorNormBackward0", "norm0": "LinalgVectorNormBackward0",
    "norm2": "LinalgVectorNormBackward0", "norm_inf": "LinalgVectorNormBackward0",
    "block_diag": "BlockDiagBackward0", "index_copy": "IndexCopyBackward0", "sgn": "SgnBackward0",
    "dropout": "MulBackward0", "as_strided_": "AsStridedBackward1", "celu_": "CeluBackward1", "elu_": "EluBackward1",
    "floor_divide": "NotImplemented", "leaky_relu_": "LeakyReluBackward1", "least": "ClampMinBackward0",
    "least_tensor": "ClampMinBackward1", "mean_dim": "MeanBackward1", "most": "ClampMaxBackward0",
    "most_tensor": "ClampMaxBackward1", "narrow_copy": "NarrowCopyBackward0", "prod_dim": "ProdBackward1",
    "selu_": "EluBackward1", "squeeze_": "SqueezeBackward3", "squeeze_dim_": "SqueezeBackward4",
    "squeeze_dims_": "SqueezeBackward5", "sum_dim": "SumBackward1", "t_": "TBackward1",
    "threshold_": "ThresholdBackward1", "to_copy": "ToCopyBackward0", "transpose_": "TransposeBackward1",
    "unsqueeze_": "UnsqueezeBackward1",
    "prelu": "PreluKernelBackward0", "quotient": "MulBackward0", "selu": "EluBackward0", "square": "PowBackward0",
}  # fmt: skip

# the second of a function's two forms: of two tensors, or with a dimension
_BY_OUTPUTS = ("median", "nanmedian")
_BY_OPERAND = ("fmod", "lerp", "pow", "remainder")


def name_of(node: Node) -> str:
    """PyTorch's name of ``node``."""
    if node.meta.__class__ is CustomCall:
        return f"{node.op}Backward"
    op = node.op if node.op in _NAMES else node.op.rstrip("_")
    known = _NAMES.get(op)
    if known is not None:
        return known
    if op.endswith("_copy"):
        return f"{_NAMES.get(op[:-5]) or _camel(op[:-5]) + 'Backward0'}_copy"
    if op in ("avg_pool", "max_pool"):
        dims = node.inputs[0].ndim - 2
        if dims == 1:
            return "SqueezeBackward1"
        if node.meta.get("adaptive"):
            return f"Adaptive{_camel(op)}{dims}DBackward0"
        return f"{_camel(op)}{dims}D{'WithIndices' if op == 'max_pool' else ''}Backward0"
    if op == "nll_loss" and node.inputs[0].ndim == 3 and node.outputs[0].ndim:
        return "ViewBackward0"
    if op in ("cross_entropy", "nll_loss"):
        return f"NllLoss{'2D' if node.inputs[0].ndim > 2 else ''}Backward0"
    if op == "pad":
        return _padding(node)
    if op == "matmul":
        return _product(node)
    if op == "linear":
        return _layer(node)
    if op == "getitem":
        return _shown(node.meta[0])
    if op == "rsub":
        return f"RsubBackward{int(node.edges[0] is None and not node.inputs[0].ndim)}"
    second = op in _BY_OUTPUTS and len(node.outputs) > 1
    if (
        op in _BY_OPERAND
        and len(node.edges) > 1
        and (node.edges[-1] is not None or node.inputs[-1].ndim)
    ):
        second = True
        if op == "pow" and node.edges[0] is None and not node.inputs[0].ndim:
            return "PowBackward2"
    return f"{_camel(op)}Backward{int(second)}"


def _camel(op: str) -> str:
    return "".join([word.title() for word in op.split("_")])


def _padding(node: Node) -> str:
    mode, pairs = node.meta.mode, node.meta.pairs
    stem = {"reflect": "Reflection", "replicate": "Replication"}.get(mode)
    if stem is None:
        return "ConstantPadNdBackward0"
    padded = len(pairs) - next((k for k, pair in enumerate(pairs) if any(pair)), len(pairs) - 1)
    return f"{stem}Pad{padded}DBackward0"


def _product(node: Node) -> str:
    ranks = tuple([kind.ndim for kind in node.inputs[:2]])
    known: dict[tuple[int, ...], str] = {(1, 1): "Dot", (2, 2): "Mm", (2, 1): "Mv"}
    return f"{known.get(ranks, 'UnsafeView')}Backward0"


def _layer(node: Node) -> str:
    """PyTorch's chain for a linear layer ends in a view, but of matrices."""
    biased, rank = len(node.inputs) > 2, node.inputs[0].ndim
    if rank == 2:
        return "AddmmBackward0" if biased else "MmBackward0"
    return "ViewBackward0" if biased else "UnsafeViewBackward0"


def _shown(parts: tuple[object, ...]) -> str:
    """Of ``x[parts]``, the name of the last view that it is made of."""
    last: Any = ()
    for part in parts:
        if part != (None, None, 1):
            last = part
    if last.__class__ is int:
        return "SelectBackward0"
    return "UnsqueezeBackward0" if last is None else "SliceBackward0" if last else "AliasBackward0"
