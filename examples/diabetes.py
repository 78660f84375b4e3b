"""Which of ten measurements foretell how diabetes goes on: the lasso's paths on scikit-learn's diabetes data.

Least squares with a price on every coefficient, ``|y - X w|^2 / (2 n) + a |w|_1``, leaves out what it does not need
(Tibshirani, Regression shrinkage and selection via the lasso, 1996). All prices a are solved at once, a row of weights each, by
proximal gradients with momentum: a step down autograd's gradient of the smooth part, then towards zero by
``soft threshold`` (Beck, Teboulle, A fast iterative shrinkage-thresholding algorithm, 2009)::

    python -m examples.diabetes [--prices 100] [--steps 2000] [--picture diabetes.png]

The picture is the one of Efron, Hastie, Johnstone, Tibshirani (Least angle regression, 2004), who used these data:
each coefficient's path as the price falls, beside the error on patients held out.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from typing import NamedTuple

from tqdm import trange

import tilegrad as tg
from tilegrad import Tensor

NAMES = {
    "age": "age", "sex": "sex", "bmi": "body mass index", "bp": "blood pressure", "s1": "total cholesterol",
    "s2": "LDL", "s3": "HDL", "s4": "cholesterol / HDL", "s5": "log triglycerides", "s6": "blood sugar",
}  # fmt: skip
HELD = 4  # every fourth patient is held out


class Data(NamedTuple):
    """Measurements (n, 10) and progress (n,), float64; both centred by the patients learned from, the former to a
    variance of 1.
    """

    names: list[str]
    x: Tensor
    y: Tensor
    x_held: Tensor
    y_held: Tensor


class Paths(NamedTuple):
    """What was found.

    Attributes:
        prices: (P,) falling.
        weights: (P, 10).
        losses: of all prices together, after each step.
        held: (P,) the share of the held-out patients' variance that is explained.
    """

    prices: Tensor
    weights: Tensor
    losses: list[float]
    held: Tensor


def load() -> Data:
    """The 442 patients."""
    from sklearn.datasets import load_diabetes

    bunch = load_diabetes(scaled=False)
    x, y = tg.from_numpy(bunch.data).double(), tg.from_numpy(bunch.target).double()
    held = tg.arange(len(y)) % HELD == HELD - 1
    mean, deviation = x[~held].mean(0), x[~held].std(0, correction=0)
    x, y = (x - mean) / deviation, y - y[~held].mean()
    return Data(list(bunch.feature_names), x[~held], y[~held], x[held], y[held])


def smooth(x: Tensor, y: Tensor, weights: Tensor) -> Tensor:
    """Half the mean square error of each row of weights, (P,)."""
    return 0.5 * ((y - weights @ x.mT) ** 2).mean(1)


def soft_threshold(weights: Tensor, by: Tensor) -> Tensor:
    """Each weight nearer to zero by so much, or zero."""
    return weights.sign() * (weights.abs() - by).clamp(min=0)


def explained(x: Tensor, y: Tensor, weights: Tensor) -> Tensor:
    """R^2 of each row of weights, (P,)."""
    return 1 - 2 * smooth(x, y, weights) / y.var(correction=0)


def solve(data: Data, prices: int, steps: int) -> Paths:
    """All paths, from the price at which every weight is zero to a thousandth of it."""
    x, y = data.x, data.y
    most = (x.mT @ y / len(y)).abs().max()
    price = most * tg.logspace(0, -3, prices, dtype=tg.float64)
    step = 1 / tg.linalg.matrix_norm(x.mT @ x / len(y), 2)  # of the gradient's Lipschitz constant
    weights = tg.zeros(prices, x.shape[1], dtype=tg.float64)
    ahead, pace, losses = weights, 1.0, []
    for _ in trange(steps, desc="lasso", unit="step", disable=None):
        ahead = ahead.detach().requires_grad_()
        (gradient,) = tg.autograd.grad(smooth(x, y, ahead).sum(), ahead)
        with tg.no_grad():
            found = soft_threshold(ahead - step * gradient, step * price[:, None])
            following = (1 + math.sqrt(1 + 4 * pace * pace)) / 2
            ahead = found + (pace - 1) / following * (found - weights)
            weights, pace = found, following
            losses.append((smooth(x, y, weights) + price * weights.abs().sum(1)).sum().item())
    held = explained(data.x_held, data.y_held - data.y_held.mean(), weights)
    return Paths(price, weights, losses, held)


def draw(data: Data, made: Paths, path: str) -> None:
    """Coefficients and held-out error by price."""
    from matplotlib import colormaps
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 6.4), layout="constrained")
    FigureCanvasAgg(figure)
    top, below = figure.subplots(2, 1, sharex=True, height_ratios=(2.6, 1))
    price = made.prices.numpy()
    best = int(made.held.argmax())
    for number, name in enumerate(data.names):
        colour = colormaps["tab10"](number)
        line = made.weights[:, number].numpy()
        top.plot(price, line, color=colour, lw=2, label=NAMES[name])
    top.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
    top.axhline(0, color="#888888", lw=0.8)
    top.set(title="each measurement's coefficient, as the price of coefficients falls")
    top.set_ylabel("coefficient")
    below.plot(price, made.held.numpy(), color="#333333", lw=2)
    below.set(xlabel="price of a coefficient", ylabel="variance explained\nof held-out patients")
    below.set_xscale("log")
    below.invert_xaxis()
    for axes in (top, below):
        axes.axvline(price[best], color="#888888", ls="--", lw=0.9)
        axes.grid(color="#e4e4e4", lw=0.6)
        axes.spines[["top", "right"]].set_visible(False)
    below.annotate(
        f"best: {made.held[best].item():.1%}", (price[best], made.held[best].item()),
        xytext=(8, -18), textcoords="offset points",
    )  # fmt: skip
    figure.savefig(path, dpi=120)


def main(arguments: Sequence[str] | None = None) -> Paths:
    """Solve, draw, say what counts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--prices", type=int, default=100, help="of a coefficient (100)")
    parser.add_argument("--steps", type=int, default=2000, help="of the gradient (2000)")
    parser.add_argument("--picture", default="diabetes.png", help="(diabetes.png)")
    given = parser.parse_args(arguments)
    data = load()
    made = solve(data, given.prices, given.steps)
    best = int(made.held.argmax())
    weights = made.weights[best]
    kept = [n for n in weights.abs().argsort(descending=True).tolist() if weights[n] != 0]
    print(
        f"loss {made.losses[0]:.1f} -> {made.losses[-1]:.1f}; at the best price, {made.prices[best].item():.3f}, "
        f"{made.held[best].item():.1%} of the held-out patients' variance is explained by {len(kept)} of "
        f"{len(weights)} measurements:"
    )
    print("  " + ", ".join(f"{NAMES[data.names[n]]} {weights[n].item():+.1f}" for n in kept))
    exact = tg.linalg.lstsq(data.x, data.y[:, None]).solution.mT
    plain = explained(data.x_held, data.y_held - data.y_held.mean(), exact).item()
    print(f"  least squares, all {len(weights)}: {plain:.1%}")
    draw(data, made, given.picture)
    print(given.picture)
    return made


if __name__ == "__main__":
    main()
