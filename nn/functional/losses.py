"""Losses: one fused formula per element, then a reduction.

All take ``reduction``: ``"mean"``, ``"sum"`` or ``"none"``; ``size_average`` and ``reduce`` are
its older spelling.
"""

from __future__ import annotations

import math
import warnings

from tilegrad.autograd.graph import called
from tilegrad.autograd.rules.arithmetic import refuse_truth
from tilegrad.autograd.rules.creation import full_like
from tilegrad.autograd.rules.cross_entropy import reduction_of
from tilegrad.autograd.rules.elementwise import apply, to_dtype
from tilegrad.autograd.rules.masked import where
from tilegrad.autograd.rules.moments import row_products
from tilegrad.autograd.rules.rearrange import broadcast_tensors
from tilegrad.autograd.tensor import Tensor
from tilegrad.engine.dtype import DType, bool_, can_cast, get_default_dtype
from tilegrad.engine.ops.elementwise import OPS
from tilegrad.nn.functional.composed import pairwise_distance

Flag = bool | None


def reduced(loss: Tensor, reduction: str) -> Tensor:
    """``loss`` by its mean, its sum, or as it is."""
    if reduction == "mean":
        return loss.mean()
    return loss.sum() if reduction == "sum" else loss


def _warn_sizes(input: Tensor, target: Tensor) -> None:
    if target.shape != input.shape:
        warnings.warn(
            f"Using a target size ({target.shape}) that is different to the input size "
            f"({input.shape}). This will likely lead to incorrect results due to broadcasting. "
            f"Please ensure they have the same size.",
            stacklevel=4,
        )


def _stored(loss: Tensor, kind: DType) -> Tensor:
    """``loss`` in the dtype of the tensor that PyTorch writes it to.

    Raises:
        RuntimeError: that dtype is of a lesser kind, as of whole numbers.
    """
    if loss.layout.dtype is kind:
        return loss
    if not can_cast(loss.dtype, kind):
        raise RuntimeError(
            f"result type {loss.dtype.name} can't be cast to the desired output type {kind.name}"
        )
    return to_dtype(loss, kind)


def _loss(
    name: str,
    input: Tensor,
    target: Tensor,
    reduction: str,
    weight: Tensor | None = None,
    params: tuple[float, ...] = (),
) -> Tensor:
    """The formula ``name``, weighted (the mean then by the sum of the weights), reduced."""
    _warn_sizes(input, target)
    kinds, shape = (input.layout.dtype, target.layout.dtype), input.layout.shape
    if kinds[0] is not kinds[1] and name != "huber":
        # first, or one without dimensions would not promote the other
        input, target = broadcast_tensors(input, target)
    whole = not (kinds[0].has_gradient or kinds[1].has_gradient)
    if whole and name != "l1" and weight is None:
        raise NotImplementedError(f"\"{name}\" not implemented for '{kinds[0].name}'")
    if weight is not None or name == "l1":
        refuse_truth(name, input, target)
    if name == "l1" and (input.layout.dtype.is_complex or target.layout.dtype.is_complex):
        loss = (input - target).abs()
    else:
        loss = apply(OPS[name], input, target, params=params)
    if name == "huber":
        loss = _stored(loss, kinds[0])
    if weight is None:
        made = reduced(loss, reduction)
        return made if name == "l1" else called(name, made)
    if weight.layout.shape != shape:
        raise ValueError("Weights and input must have the same size.")
    loss = loss * weight
    return loss.sum() / weight.sum() if reduction == "mean" else reduced(loss, reduction)


def mse_loss(
    input: Tensor,
    target: Tensor,
    size_average: Flag = None,
    reduce: Flag = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """(x - y)^2."""
    return _loss("mse", input, target, reduction_of(reduction, size_average, reduce), weight)


def l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: Flag = None,
    reduce: Flag = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """|x - y|."""
    return _loss("l1", input, target, reduction_of(reduction, size_average, reduce), weight)


def smooth_l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: Flag = None,
    reduce: Flag = None,
    reduction: str = "mean",
    beta: float = 1.0,
) -> Tensor:
    """(x - y)^2 / (2 beta) where |x - y| < beta, else |x - y| - beta / 2 (Girshick 2015).

    Raises:
        RuntimeError: beta is negative.
    """
    if not beta >= 0:
        raise RuntimeError("smooth_l1_loss does not support negative values for beta.")
    mode = reduction_of(reduction, size_average, reduce)
    if beta == 0:
        return _loss("l1", input, target, mode)
    return _loss("smooth_l1", input, target, mode, params=(beta,))


def huber_loss(
    input: Tensor,
    target: Tensor,
    reduction: str = "mean",
    delta: float = 1.0,
    weight: Tensor | None = None,
) -> Tensor:
    """(x - y)^2 / 2 where |x - y| <= delta, else delta (|x - y| - delta / 2) (Huber 1964).

    Raises:
        RuntimeError: delta is not positive.
    """
    if not delta > 0:
        raise RuntimeError("huber_loss does not support non-positive values for delta.")
    mode = reduction_of(reduction)
    if weight is None:
        return _loss("huber", input, target, mode, params=(delta,))
    if weight.shape != input.shape:
        raise ValueError("Weights and input must have the same size.")
    return reduced(_loss("huber", input, target, "none", params=(delta,)) * weight, mode)


def binary_cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: Flag = None,
    reduce: Flag = None,
    reduction: str = "mean",
) -> Tensor:
    """-y log(x) - (1 - y) log(1 - x) for probabilities x, with logarithms of at least -100.

    Raises:
        ValueError: the shapes differ. RuntimeError: the dtypes differ, or an element of either
            lies outside [0, 1].
    """
    mode = reduction_of(reduction, size_average, reduce)
    if target.shape != input.shape:
        raise ValueError(
            f"Using a target size ({target.shape}) that is different to the input size "
            f"({input.shape}) is deprecated. Please ensure they have the same size."
        )
    if target.dtype is not input.dtype:
        raise RuntimeError(
            f"binary_cross_entropy: Found dtype {target.dtype.name} but expected {input.dtype.name}"
        )
    if not input.dtype.has_gradient:
        raise NotImplementedError(
            f"\"binary_cross_entropy\" not implemented for '{input.dtype.name}'"
        )
    for name, x in (("input", input.detach()), ("target", target.detach())):
        if not bool(((x >= 0) & (x <= 1)).all()):
            raise RuntimeError(f"all elements of {name} should be between 0 and 1")
    loss = apply(OPS["bce"], input, target)
    if weight is not None:
        loss = _stored(loss * weight, loss.dtype)
    return called("bce", reduced(loss, mode))


def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: Flag = None,
    reduce: Flag = None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """The binary cross-entropy of sigmoid(x), in a form that does not overflow.

    Args:
        pos_weight: factor on the positive term, broadcast over ``input``.

    Returns:
        In the dtype of ``target``.

    Raises:
        ValueError: the shapes differ.
        RuntimeError: target is not of floating point, or ``pos_weight`` of truth values.
    """
    mode = reduction_of(reduction, size_average, reduce)
    if target.shape != input.shape:
        raise ValueError(
            f"Target size ({target.shape}) must be the same as input size ({input.shape})"
        )
    if not input.layout.dtype.has_gradient:
        raise NotImplementedError(f"\"log_sigmoid\" not implemented for '{input.dtype.name}'")
    refuse_truth("binary_cross_entropy_with_logits", target, pos_weight)
    if not target.layout.dtype.has_gradient:
        raise RuntimeError(
            f"binary_cross_entropy_with_logits: result type {input.dtype.name} can't be cast to the "
            f"desired output type {target.dtype.name}"
        )
    if pos_weight is None:
        loss = apply(OPS["bce_logits"], input, target)
    else:
        loss = apply(OPS["bce_logits_weighted"], input, target, pos_weight)
    kind = target.layout.dtype
    loss = _stored(loss if weight is None else loss * weight, kind)
    return called("bce_logits", reduced(loss, mode))


def kl_div(
    input: Tensor,
    target: Tensor,
    size_average: Flag = None,
    reduce: Flag = None,
    reduction: str = "mean",
    log_target: bool = False,
) -> Tensor:
    """y (log(y) - x) for log-probabilities x: the Kullback-Leibler divergence.

    Args:
        target: probabilities, or with ``log_target`` their logarithms.
        reduction: also ``"batchmean"``: the sum over the size of the first dimension.

    Raises:
        RuntimeError: of whole numbers or truth values.
    """
    if not (input.layout.dtype.has_gradient and target.layout.dtype.has_gradient):
        raise RuntimeError("kl_div: Integral inputs not supported.")
    batch = reduction == "batchmean"
    mode = reduction_of("sum" if batch else reduction, size_average, reduce)
    if mode == "mean":
        warnings.warn(
            "kl_div: reduction 'mean' divides the total loss by both the batch size and the support "
            "size. 'batchmean' divides only by the batch size, and aligns with the KL div math "
            "definition.",
            stacklevel=2,
        )
    loss = apply(OPS["divergence_log" if log_target else "divergence"], input, target)
    result = reduced(loss, mode)
    return result / input.shape[0] if batch and input.ndim else result


def poisson_nll_loss(
    input: Tensor,
    target: Tensor,
    log_input: bool = True,
    full: bool = False,
    size_average: Flag = None,
    eps: float = 1e-8,
    reduce: Flag = None,
    reduction: str = "mean",
) -> Tensor:
    """The negative logarithm of a Poisson probability, of mean e^x or x; not of truth values alone.

    Args:
        log_input: whether ``input`` is the logarithm of the mean.
        full: add Stirling's approximation of log(y!) where y > 1.
        eps: added to x under the logarithm.
    """
    mode = reduction_of(reduction, size_average, reduce)
    if input.layout.dtype is target.layout.dtype is bool_:
        refuse_truth("poisson_nll_loss", input)
    if log_input:
        loss = apply(OPS["poisson_log"], input, target)
    else:
        loss = apply(OPS["poisson_plain"], input, target, params=(eps,))
    if full:
        loss = loss + apply(OPS["stirling"], target)
    return reduced(loss, mode)


def gaussian_nll_loss(
    input: Tensor,
    target: Tensor,
    var: Tensor | float,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
) -> Tensor:
    """(log(var) + (x - y)^2 / var) / 2: the negative logarithm of a normal density.

    Args:
        var: variances shaped like ``input``, or with its last dimension missing or of size 1.
        full: add log(2 pi) / 2. eps: the least variance, which stops no gradient.

    Raises:
        ValueError: ``var`` has a wrong shape or negative entries.
    """
    mode = reduction_of(reduction)
    if not isinstance(var, Tensor):
        var = full_like(input, float(var))
    refuse_truth("gaussian_nll_loss", input, target)
    if not var.dtype.has_gradient:
        raise RuntimeError(
            f"gaussian_nll_loss: result type float32 can't be cast to the desired output type "
            f"{var.dtype.name}, of var"
        )
    if bool((var.detach() < 0).any()):
        raise ValueError("var has negative entry/entries")
    if var.shape != input.shape:
        if input.shape[:-1] == var.shape:
            var = var.unsqueeze(-1)
        elif (
            input.ndim != var.ndim
            or sum(v for x, v in zip(input.shape, var.shape, strict=True) if x != v) != 1
        ):
            raise ValueError("var is of incorrect size")
    loss = apply(OPS["gaussian"], input, target, var, params=(eps,))
    return reduced(loss + 0.5 * math.log(2 * math.pi) if full else loss, mode)


def soft_margin_loss(
    input: Tensor,
    target: Tensor,
    size_average: Flag = None,
    reduce: Flag = None,
    reduction: str = "mean",
) -> Tensor:
    """log(1 + e^(-y x)) for y = 1 or -1."""
    mode = reduction_of(reduction, size_average, reduce)
    kind = input.layout.dtype
    if not kind.has_gradient or (target.dtype.is_complex and not kind.is_complex):
        wanted = target.dtype if target.dtype.has_gradient else get_default_dtype()
        raise RuntimeError(
            f"soft_margin_loss: result type {wanted.name} can't be cast to the desired output type {kind.name}"
        )
    if kind.is_complex:
        loss = (-to_dtype(target, kind) * input).exp().log1p()
    else:
        loss = apply(OPS["soft_margin"], input, target)
    if loss.layout.shape != input.layout.shape:
        raise RuntimeError(
            f"soft_margin_loss: output with shape {list(input.shape)} doesn't match the broadcast shape "
            f"{list(loss.shape)}"
        )
    return called("soft_margin", reduced(_stored(loss, kind), mode))


def hinge_embedding_loss(
    input: Tensor,
    target: Tensor,
    margin: float = 1.0,
    size_average: Flag = None,
    reduce: Flag = None,
    reduction: str = "mean",
) -> Tensor:
    """x where y = 1, max(0, margin - x) where y = -1, in the dtype of x.

    Raises:
        RuntimeError: x is of truth values, or the mean of integers is asked for.
    """
    mode = reduction_of(reduction, size_average, reduce)
    refuse_truth("hinge_embedding_loss", input)
    kind = input.dtype if input.dtype.is_floating_point else get_default_dtype()
    loss = apply(OPS["hinge"], input, target.detach().to(kind), params=(margin,))
    return reduced(to_dtype(loss, input.layout.dtype), mode)


def margin_ranking_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0,
    size_average: Flag = None,
    reduce: Flag = None,
    reduction: str = "mean",
) -> Tensor:
    """max(0, margin - y (x1 - x2)) for y = 1 or -1.

    Raises:
        RuntimeError: the numbers of dimensions differ.
    """
    mode = reduction_of(reduction, size_average, reduce)
    if not input1.ndim == input2.ndim == target.ndim:
        raise RuntimeError(
            f"margin_ranking_loss : All input tensors should have same dimension but got sizes: "
            f"input1: {input1.shape}, input2: {input2.shape}, target: {target.shape} "
        )
    refuse_truth("margin_ranking_loss", input1, input2, target)
    return reduced(apply(OPS["ranking"], input1, input2, target, params=(margin,)), mode)


def cosine_embedding_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0,
    size_average: Flag = None,
    reduce: Flag = None,
    reduction: str = "mean",
) -> Tensor:
    """1 - cos(x1, x2) where y = 1, max(0, cos(x1, x2) - margin) where y = -1.

    Args:
        input1, input2: (N, D) or (D,); target: (N,) or ().

    Raises:
        RuntimeError: shapes that do not go together.
    """
    mode = reduction_of(reduction, size_average, reduce)
    if input1.ndim - target.ndim != 1 or input1.ndim not in (1, 2) or input2.ndim != input1.ndim:
        raise RuntimeError(
            f"{target.ndim}D target tensor expects {target.ndim + 1}D input tensors, but found "
            f"inputs with sizes {list(input1.shape)} and {list(input2.shape)}."
        )
    tiny = 1e-12  # as PyTorch keeps the lengths from 0
    product, first, second = row_products(input1, input2)
    cosine = product / ((first + tiny) * (second + tiny)).sqrt()
    zero = cosine.new_zeros(())
    near = where(target == 1, 1 - cosine, zero)
    return reduced(near + where(target == -1, (cosine - margin).clamp(min=0), zero), mode)


def triplet_margin_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: float = 1.0,
    p: float = 2,
    eps: float = 1e-6,
    swap: bool = False,
    size_average: Flag = None,
    reduce: Flag = None,
    reduction: str = "mean",
) -> Tensor:
    """max(0, margin + |a - p| - |a - n|), distances in the ``p`` norm (Balntas et al. 2016).

    Args:
        swap: use |p - n| where it is less than |a - n|.

    Raises:
        ValueError: margin is not positive. RuntimeError: the numbers of dimensions differ.
    """
    mode = reduction_of(reduction, size_average, reduce)
    if margin <= 0:
        raise ValueError(f"margin must be greater than 0, got {margin}")
    if not anchor.ndim == positive.ndim == negative.ndim:
        raise RuntimeError(
            f"The anchor, positive, and negative tensors are expected to have the same number of "
            f"dimensions, but got: anchor {anchor.ndim}D, positive {positive.ndim}D, and negative "
            f"{negative.ndim}D inputs"
        )
    anchor, positive, negative = broadcast_tensors(anchor, positive, negative)
    near = pairwise_distance(anchor, positive, p, eps)
    far = pairwise_distance(anchor, negative, p, eps)
    if swap:
        far = far.minimum(pairwise_distance(positive, negative, p, eps))
    return reduced((margin + near - far).clamp(min=0), mode)
