"""Rows for losses and for the functions composed of others."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.cases.case import FLOATS, Arg, Case

_X = Arg((5, 7))
_Y = Arg((5, 7), 4.0, 9.0)
_LOGS = Arg((5, 7), -3.0, -0.1)
_UNIT = Arg((5, 7), 0.05, 0.95)
_SIGNS = Arg((5, 7), values=np.where(np.arange(35) % 3 == 0, 1.0, -1.0))
_NEAR = Arg((5, 7), 3.1, 3.6)  # targets within the quadratic part for inputs of 3 and a little more


def _loss(
    name: str,
    *args: Arg,
    first: str = "mean",
    curved: bool = False,
    to: tuple[int, ...] | None = None,
    **options: Any,
) -> list[Case]:
    """A loss with each reduction; gradients with the mean, to second order if it is ``curved``."""

    def call(reduction: str) -> Any:
        def run(t: Any, *tensors: Any) -> Any:
            return getattr(t.nn.functional, name)(*tensors, reduction=reduction, **options)

        return run

    title = "-".join([name, *(f"{k}={v}" for k, v in options.items())])
    return [
        Case(title, call(first), args, FLOATS, to, curved, strided=False),
        Case(f"{title}-sum", call("sum"), args, ("float64",), (), strided=False),
        Case(f"{title}-none", call("none"), args, ("float64",), (), strided=False),
    ]


def _weighted(t: Any, x: Any, y: Any, w: Any) -> Any:
    f = t.nn.functional
    return f.mse_loss(x, y, weight=w), f.l1_loss(x, y, weight=w), f.huber_loss(x, y, weight=w)


def _pos_weight(t: Any, x: Any, y: Any, p: Any, w: Any) -> Any:
    return t.nn.functional.binary_cross_entropy_with_logits(x, y, w, pos_weight=p)


def _function(name: str, *args: Arg, **options: Any) -> Case:
    title = "-".join([name, *(f"{k}={v}" for k, v in options.items())])

    def call(t: Any, *tensors: Any) -> Any:
        return getattr(t.nn.functional, name)(*tensors, **options)

    return Case(title, call, args, second_order=name == "bilinear", strided=False)


_VECTOR = Arg((5, 4))
_ROW_SIGNS = Arg((5,), values=[1, -1, 1, 1, -1])

CASES = [
    *_loss("mse_loss", _X, _Y, curved=True),
    *_loss("l1_loss", _X, _Y),
    *_loss("smooth_l1_loss", _X, _Y),
    *_loss("smooth_l1_loss", Arg((5, 7), 2.9, 3.0), _NEAR, beta=1.0),
    *_loss("huber_loss", _X, _Y, delta=0.7),
    *_loss("huber_loss", Arg((5, 7), 2.9, 3.0), _NEAR, delta=1.5, curved=True),
    *_loss("binary_cross_entropy", _UNIT, _UNIT, curved=True),
    *_loss("binary_cross_entropy_with_logits", _X, _UNIT, curved=True),
    *_loss("kl_div", _LOGS, _UNIT, first="batchmean"),
    *_loss("kl_div", _LOGS, _LOGS, first="batchmean", log_target=True),
    *_loss("poisson_nll_loss", _X, Arg((5, 7), 2.0, 4.0), full=True),
    *_loss("poisson_nll_loss", Arg((5, 7), 0.5, 3.0), _Y, log_input=False),
    *_loss("gaussian_nll_loss", _X, _Y, Arg((5, 7), 0.3, 2.0), full=True),
    *_loss("soft_margin_loss", _X, _SIGNS, to=(0,)),
    *_loss("hinge_embedding_loss", Arg((5, 7), away=(0.0, 1.0)), _SIGNS, to=(0,)),
    *_loss("margin_ranking_loss", _X, Arg((5, 7), 4.0, 5.0), _SIGNS, margin=0.3, to=(0, 1)),
    *_loss("cosine_embedding_loss", _VECTOR, _VECTOR, _ROW_SIGNS, margin=-0.8, to=(0, 1)),
    *_loss("triplet_margin_loss", _VECTOR, _VECTOR, _VECTOR, margin=9.0, swap=True),
    Case("kl_div-zeros", lambda t, x, y: t.nn.functional.kl_div(x, y, reduction="none"),
         (Arg((4,), -3.0, -0.1), Arg((4,), values=[0.0, 0.5, 0.0, 1.0])), FLOATS, ()),
    Case("losses-weighted", _weighted, (_X, _Y, Arg((5, 7), 0.5, 2.0)), FLOATS, ()),
    Case("cross_entropy-across",
         lambda t, x, y: t.nn.functional.cross_entropy(x.transpose(0, 1), y, reduction="none"),
         (Arg((3, 5)), Arg((5,), values=[0, 2, 1, 1, 0], dtype="int64")), strided=False),
    Case("bce-weighted", _pos_weight, (_X, _UNIT, Arg((7,), 0.5, 2.0), Arg((5, 1), 0.5, 2.0)),
         differentiable=(0, 1), second_order=False, strided=False),
    Case("bce-ends", lambda t, x, y: t.nn.functional.binary_cross_entropy(x, y, reduction="none"),
         (Arg((4,), values=[0.0, 1.0, 0.0, 1.0]), Arg((4,), values=[0.0, 0.0, 1.0, 1.0])), FLOATS, ()),
    Case("bce-logits-wide",
         lambda t, x, y: t.nn.functional.binary_cross_entropy_with_logits(x, y, reduction="none"),
         (Arg((33,), -800.0, 800.0), Arg((33,), 0.0, 1.0)), FLOATS, ()),
    Case("gaussian_nll-short-var",
         lambda t, x, y, v: t.nn.functional.gaussian_nll_loss(x, y, v, eps=0.5),
         (_X, _Y, Arg((5,), 0.1, 2.0)), differentiable=(0, 1)),
    _function("cosine_similarity", Arg((5, 4, 3)), Arg((5, 4, 3))),
    _function("cosine_similarity", _VECTOR, _VECTOR, dim=-1),
    _function("cosine_similarity", Arg((1, 4, 3)), Arg((5, 1, 3)), dim=-2),
    _function("pairwise_distance", _VECTOR, _VECTOR),
    _function("pairwise_distance", _VECTOR, _VECTOR, p=1.0, keepdim=True),
    _function("normalize", _VECTOR),
    _function("normalize", Arg((5, 4), 0.2, 3.0), p=3.0, dim=0),
    _function("softmin", _VECTOR, dim=1),
    _function("bilinear", Arg((3, 2, 4)), Arg((3, 2, 5)), Arg((6, 4, 5)), Arg((6,))),
]  # fmt: skip
