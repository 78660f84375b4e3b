"""What optimizers that keep running averages share."""

from __future__ import annotations

from tilegrad.optim.optimizer import Group, Optimizer

Betas = tuple[float, float]


class Averaging(Optimizer):
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


def common(group: Group) -> tuple[float, float, float]:
    """Learning rate, weight decay and sign of the gradient."""
    sign = -1.0 if group["maximize"] else 1.0
    return float(group["lr"]), float(group["weight_decay"]), sign
