"""What ``torch`` itself has of layers and losses: the functions of :mod:`tilegrad.nn.functional`, and forms of
their own of those that PyTorch calls otherwise there (``batch_norm``'s and ``embedding``'s order of arguments,
reductions as numbers, ``train`` for ``training``).

``tilegrad`` looks its names up here when they are asked for (``paths.NATIVE``).
"""

from __future__ import annotations

from collections.abc import Sequence
from types import FunctionType
from typing import Any

from tilegrad.autograd.arguments import checked
from tilegrad.autograd.kinds import exact
from tilegrad.autograd.rules import (
    conv as convolutions,
    embedding as tables,
    norm as norms,
    sampling,
)
from tilegrad.autograd.rules.random import rand
from tilegrad.autograd.tensor import Tensor
from tilegrad.nn import functional as F
from tilegrad.nn.functional import (
    channel_shuffle,
    conv1d,
    conv2d,
    conv3d,
    conv_tbc,
    conv_transpose1d,
    conv_transpose2d,
    conv_transpose3d,
    cosine_similarity,
    max_pool1d_with_indices,
    native_channel_shuffle,
    pairwise_distance,
    pdist,
    pixel_shuffle,
    pixel_unshuffle,
    rms_norm,
)  # fmt: skip
from tilegrad.nn.functional.noise import rrelu_of

__all__ = [
    "adaptive_max_pool1d", "affine_grid_generator", "alpha_dropout", "alpha_dropout_", "batch_norm",
    "binary_cross_entropy_with_logits", "channel_shuffle", "conv1d", "conv2d", "conv3d", "conv_tbc",
    "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "convolution", "cosine_embedding_loss",
    "cosine_similarity", "ctc_loss", "dropout", "dropout_", "embedding", "feature_alpha_dropout",
    "feature_alpha_dropout_", "feature_dropout", "feature_dropout_", "grid_sampler", "grid_sampler_2d",
    "grid_sampler_3d", "group_norm", "hinge_embedding_loss", "instance_norm", "kl_div", "layer_norm",
    "margin_ranking_loss", "max_pool1d_with_indices", "native_channel_shuffle", "native_dropout",
    "norm_except_dim", "pairwise_distance", "pdist", "pixel_shuffle", "pixel_unshuffle",
    "poisson_nll_loss", "rms_norm", "rrelu", "rrelu_", "triplet_margin_loss",
]  # fmt: skip

REDUCTIONS = ("none", "mean", "sum")  # by their numbers
_MODES = ("bilinear", "nearest", "bicubic")
_PADDINGS = ("zeros", "border", "reflection")


def _reduction(number: int) -> str:
    """The reduction that a number stands for.

    Raises:
        ValueError: none.
    """
    if not isinstance(number, int) or not 0 <= number < len(REDUCTIONS):
        raise ValueError(
            f"{number} is not a valid value for reduction: 0 (none), 1 (mean) or 2 (sum)"
        )
    return REDUCTIONS[number]


# ------------------------------------------------------------------------------------------ layers


def convolution(
    input: Tensor, weight: Tensor, bias: Tensor | None, stride: Sequence[int], padding: Sequence[int],
    dilation: Sequence[int], transposed: bool, output_padding: Sequence[int], groups: int,
) -> Tensor:  # fmt: skip
    """A convolution over as many dimensions as ``weight`` has behind its channels, or its transpose."""
    count = weight.ndim - 2
    if not 1 <= count <= 3:
        raise RuntimeError(f"convolution: expects 1 to 3 spatial dimensions; got {count}")
    if transposed:
        run: Any = getattr(convolutions, f"conv_transpose{count}d")
        made: Tensor = run(input, weight, bias, stride, padding, output_padding, groups, dilation)
    else:
        run = getattr(convolutions, f"conv{count}d")
        made = run(input, weight, bias, stride, padding, dilation, groups)
    return made


def batch_norm(
    input: Tensor, weight: Tensor | None, bias: Tensor | None, running_mean: Tensor | None,
    running_var: Tensor | None, training: bool, momentum: float, eps: float, cudnn_enabled: bool,
) -> Tensor:  # fmt: skip
    """:func:`tilegrad.nn.functional.batch_norm`; ``cudnn_enabled`` is of no effect."""
    return norms.batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)


def instance_norm(
    input: Tensor, weight: Tensor | None, bias: Tensor | None, running_mean: Tensor | None,
    running_var: Tensor | None, use_input_stats: bool, momentum: float, eps: float,
    cudnn_enabled: bool,
) -> Tensor:  # fmt: skip
    """:func:`tilegrad.nn.functional.instance_norm`; ``cudnn_enabled`` is of no effect."""
    return norms.instance_norm(
        input, running_mean, running_var, weight, bias, use_input_stats, momentum, eps
    )


def layer_norm(
    input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None = None,
    bias: Tensor | None = None, eps: float = 1e-5, cudnn_enable: bool = True,
) -> Tensor:  # fmt: skip
    """:func:`tilegrad.nn.functional.layer_norm`; ``cudnn_enable`` is of no effect."""
    return norms.layer_norm(input, normalized_shape, weight, bias, eps)


def group_norm(
    input: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None,
    eps: float = 1e-5, cudnn_enabled: bool = True,
) -> Tensor:  # fmt: skip
    """:func:`tilegrad.nn.functional.group_norm`; ``cudnn_enabled`` is of no effect."""
    return norms.group_norm(input, num_groups, weight, bias, eps)


def embedding(
    weight: Tensor, indices: Tensor, padding_idx: int = -1, scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:  # fmt: skip
    """:func:`tilegrad.nn.functional.embedding`, the table first; a negative ``padding_idx`` is none."""
    row = None if padding_idx < 0 else padding_idx
    return tables.embedding(indices, weight, row, None, 2.0, scale_grad_by_freq, sparse)


def adaptive_max_pool1d(input: Tensor, output_size: int | Sequence[int]) -> tuple[Tensor, Tensor]:
    """(the largest of each of ``output_size`` parts, where they stand)."""
    found: tuple[Tensor, Tensor] = F.adaptive_max_pool1d_with_indices(input, output_size)
    return found


def norm_except_dim(v: Tensor, pow: int = 2, dim: int = 0) -> Tensor:
    """The ``pow`` norm over all dimensions but ``dim``, which are kept with size 1; -1: over all."""
    if dim == -1:
        return v.norm(pow)
    others = [d for d in range(v.ndim) if d != dim % v.ndim]
    return v.norm(pow, others, keepdim=True) if others else v.abs()


# ------------------------------------------------------------------------------- random functions


def dropout(input: Tensor, p: float, train: bool) -> Tensor:
    """:func:`tilegrad.nn.functional.dropout`."""
    return sampling.dropout(input, p, train)


def dropout_(input: Tensor, p: float, train: bool) -> Tensor:
    """:func:`dropout`, in place."""
    return sampling.dropout(input, p, train, True)


def feature_dropout(input: Tensor, p: float, train: bool) -> Tensor:
    """:func:`dropout` of whole channels, those of each member of the batch alone."""
    return sampling.feature_dropout(input, p, train)


def feature_dropout_(input: Tensor, p: float, train: bool) -> Tensor:
    """:func:`feature_dropout`, in place."""
    return input.copy_(sampling.feature_dropout(input, p, train))


def alpha_dropout(input: Tensor, p: float, train: bool) -> Tensor:
    """:func:`tilegrad.nn.functional.alpha_dropout`."""
    return F.alpha_dropout(input, p, train)


def alpha_dropout_(input: Tensor, p: float, train: bool) -> Tensor:
    """:func:`alpha_dropout`, in place."""
    return F.alpha_dropout(input, p, train, True)


def feature_alpha_dropout(input: Tensor, p: float, train: bool) -> Tensor:
    """:func:`tilegrad.nn.functional.feature_alpha_dropout`."""
    return F.feature_alpha_dropout(input, p, train)


def feature_alpha_dropout_(input: Tensor, p: float, train: bool) -> Tensor:
    """:func:`feature_alpha_dropout`, in place."""
    return F.feature_alpha_dropout(input, p, train, True)


def native_dropout(input: Tensor, p: float, train: bool | None) -> tuple[Tensor, Tensor]:
    """(:func:`dropout` of ``input``, a mask of what was kept)."""
    if train is False or p == 0:
        return input.clone(), input.new_ones(input.shape, dtype="bool")
    kept = rand(*input.shape, dtype=input.dtype, device=input.device) >= p
    scale = 0.0 if p == 1 else 1 / (1 - p)
    return input * kept * scale, kept


def rrelu(
    input: Tensor, lower: float = 1.0 / 8, upper: float = 1.0 / 3, training: bool = False,
    generator: Any = None,
) -> Tensor:  # fmt: skip
    """:func:`tilegrad.nn.functional.rrelu`, of this generator."""
    return rrelu_of(input, lower, upper, training, generator)


def rrelu_(
    input: Tensor, lower: float = 1.0 / 8, upper: float = 1.0 / 3, training: bool = False,
    generator: Any = None,
) -> Tensor:  # fmt: skip
    """:func:`rrelu`, in place."""
    return input.copy_(rrelu_of(input, lower, upper, training, generator))


# ------------------------------------------------------------------------------------------ losses


def binary_cross_entropy_with_logits(
    input: Tensor, target: Tensor, weight: Tensor | None = None, pos_weight: Tensor | None = None,
    reduction: int = 1,
) -> Tensor:  # fmt: skip
    """:func:`tilegrad.nn.functional.binary_cross_entropy_with_logits`."""
    return F.binary_cross_entropy_with_logits(
        input, target, weight, reduction=_reduction(reduction), pos_weight=pos_weight
    )


def cosine_embedding_loss(
    input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0.0, reduction: int = 1
) -> Tensor:
    """:func:`tilegrad.nn.functional.cosine_embedding_loss`."""
    return F.cosine_embedding_loss(input1, input2, target, margin, reduction=_reduction(reduction))


def ctc_loss(
    log_probs: Tensor, targets: Tensor, input_lengths: Tensor | Sequence[int],
    target_lengths: Tensor | Sequence[int], blank: int = 0, reduction: int = 1,
    zero_infinity: bool = False,
) -> Tensor:  # fmt: skip
    """:func:`tilegrad.nn.functional.ctc_loss`."""
    how = _reduction(reduction)
    return F.ctc_loss(log_probs, targets, input_lengths, target_lengths, blank, how, zero_infinity)


def hinge_embedding_loss(
    input: Tensor, target: Tensor, margin: float = 1.0, reduction: int = 1
) -> Tensor:
    """:func:`tilegrad.nn.functional.hinge_embedding_loss`."""
    return F.hinge_embedding_loss(input, target, margin, reduction=_reduction(reduction))


def kl_div(
    input: Tensor, target: Tensor, reduction: int = 1, *, log_target: bool = False
) -> Tensor:
    """:func:`tilegrad.nn.functional.kl_div`, whose mean is over all elements."""
    terms = F.kl_div(input, target, reduction="none", log_target=log_target)
    how = _reduction(reduction)
    return terms if how == "none" else terms.mean() if how == "mean" else terms.sum()


def margin_ranking_loss(
    input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0.0, reduction: int = 1
) -> Tensor:
    """:func:`tilegrad.nn.functional.margin_ranking_loss`."""
    return F.margin_ranking_loss(input1, input2, target, margin, reduction=_reduction(reduction))


def poisson_nll_loss(
    input: Tensor, target: Tensor, log_input: bool, full: bool, eps: float, reduction: int
) -> Tensor:
    """:func:`tilegrad.nn.functional.poisson_nll_loss`."""
    how = _reduction(reduction)
    return F.poisson_nll_loss(input, target, log_input, full, eps=eps, reduction=how)


def triplet_margin_loss(
    anchor: Tensor, positive: Tensor, negative: Tensor, margin: float = 1.0, p: float = 2,
    eps: float = 1e-6, swap: bool = False, reduction: int = 1,
) -> Tensor:  # fmt: skip
    """:func:`tilegrad.nn.functional.triplet_margin_loss`."""
    return F.triplet_margin_loss(
        anchor, positive, negative, margin, p, eps, swap, reduction=_reduction(reduction)
    )


# ---------------------------------------------------------------------------------------- sampling


def affine_grid_generator(theta: Tensor, size: Sequence[int], align_corners: bool) -> Tensor:
    """:func:`tilegrad.nn.functional.affine_grid`."""
    return F.affine_grid(theta, list(size), align_corners)


def grid_sampler(
    input: Tensor, grid: Tensor, interpolation_mode: int, padding_mode: int, align_corners: bool
) -> Tensor:
    """:func:`tilegrad.nn.functional.grid_sample`, modes by their numbers."""
    return F.grid_sample(
        input, grid, _MODES[interpolation_mode], _PADDINGS[padding_mode], align_corners
    )


grid_sampler_2d = grid_sampler_3d = grid_sampler

_own = [
    f for f in list(globals().values()) if isinstance(f, FunctionType) and f.__module__ == __name__
]
exact(_own)
checked(_own)
for _function in _own:
    _function.__module__ = "tilegrad"  # where pickle and help() find it
