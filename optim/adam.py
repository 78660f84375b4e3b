"""Adam and its relatives."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tilegrad.optim.optimizer import Group, Optimizer, check_options, check_ways

Betas = tuple[float, float]


class _Averaging(Optimizer):
    """Optimizers that keep running averages of the gradient and of its square."""

    name: str

    def rule(self, group: Group) -> tuple[str, tuple[float, ...]]:
        beta1, beta2 = group["betas"]
        decay = float(group["weight_decay"])
        decoupled = group.get("decoupled_weight_decay", False)
        hypers = (
            float(group["lr"]),
            float(beta1),
            float(beta2),
            float(group["eps"]),
            0.0 if decoupled else decay,
            decay if decoupled else 0.0,
            -1.0 if group["maximize"] else 1.0,
        )
        return self.name, hypers


class Adam(_Averaging):
    """Adam (Kingma & Ba 2015).

    Args:
        lr: learning rate.
        betas: decay of the averages of the gradient and of its square.
        eps: added to the root of the latter.
        weight_decay: times the parameter, is added to the gradient.
        amsgrad: use the largest average of squares so far (Reddi et al. 2018).
        maximize: climb instead of descend.
        decoupled_weight_decay: shrink the parameter instead, as :class:`AdamW`.
        foreach, fused: accepted; every step is one fused kernel.
    """

    name = "adam"

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        decoupled_weight_decay: bool = False,
        foreach: bool | None = None,
        fused: bool | None = None,
    ):
        options = {
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "amsgrad": amsgrad,
            "maximize": maximize, "decoupled_weight_decay": decoupled_weight_decay,
        }  # fmt: skip
        check_options(options)
        check_ways(foreach, fused)
        super().__init__(params, options)

    def rule(self, group: Group) -> tuple[str, tuple[float, ...]]:
        name, hypers = super().rule(group)
        return ("adam_amsgrad" if group["amsgrad"] else name), hypers


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019). Arguments as :class:`Adam`."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        fused: bool | None = None,
    ):
        super().__init__(
            params, lr, betas, eps, weight_decay, amsgrad,
            maximize=maximize, decoupled_weight_decay=True, foreach=foreach, fused=fused,
        )  # fmt: skip


class Adamax(_Averaging):
    """Adam by the largest gradient instead of the mean square (Kingma & Ba 2015)."""

    name = "adamax"

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 2e-3,
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
    ):
        options = {
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay,
            "maximize": maximize,
        }  # fmt: skip
        check_options(options)
        super().__init__(params, options)


class NAdam(_Averaging):
    """Adam with Nesterov momentum (Dozat 2016).

    Args:
        momentum_decay: how fast the momentum approaches ``betas[0]``.
        lr, betas, eps, weight_decay, maximize, decoupled_weight_decay: as :class:`Adam`.
    """

    name = "nadam"
    initial: Mapping[str, float] = {"mu_product": 1.0}

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 2e-3,
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
    ):
        options = {
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay,
            "momentum_decay": momentum_decay, "maximize": maximize,
            "decoupled_weight_decay": decoupled_weight_decay,
        }  # fmt: skip
        check_options(options)
        super().__init__(params, options)

    def rule(self, group: Group) -> tuple[str, tuple[float, ...]]:
        name, hypers = super().rule(group)
        return name, (*hypers, float(group["momentum_decay"]))


class RAdam(_Averaging):
    """Adam with its variance rectified (Liu et al. 2020). Arguments as :class:`Adam`."""

    name = "radam"

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        decoupled_weight_decay: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
    ):
        options = {
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay,
            "maximize": maximize, "decoupled_weight_decay": decoupled_weight_decay,
        }  # fmt: skip
        check_options(options)
        super().__init__(params, options)
