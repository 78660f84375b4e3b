"""Gaussian process regression by Cholesky factors, its kernel's parameters found by gradients.

The logarithm of the marginal likelihood of observations y at places x is ``-(y^T K^-1 y + log |K| + n log 2 pi)
/ 2`` with K the kernel between the places and the noise on its diagonal (Rasmussen, Williams, Gaussian
Processes for Machine Learning, 2006, algorithm 2.1). It is maximised by Adam over length scale, variance and noise; then the
prediction between and beyond the observations, with its uncertainty, is drawn::

    python -m examples.gaussian_process [--points 60] [--steps 200] [--picture gaussian_process.png]
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import tilegrad as tg
from tilegrad import Tensor


class Fit(NamedTuple):
    """What was found: the negative log likelihoods on the way, and exp of the parameters."""

    losses: list[float]
    length: float
    variance: float
    noise: float
    mean: Tensor
    deviation: Tensor


def kernel(x: Tensor, y: Tensor, length: Tensor, variance: Tensor) -> Tensor:
    """The squared exponential kernel between places, (n,) and (m,)."""
    return variance * (-0.5 * ((x[:, None] - y) / length) ** 2).exp()


def factor(x: Tensor, parameters: Tensor) -> Tensor:
    """The Cholesky factor of the kernel between observations, with their noise."""
    length, variance, noise = parameters.exp()
    one = tg.eye(len(x), dtype=x.dtype)
    return tg.linalg.cholesky(kernel(x, x, length, variance) + (noise + 1e-8) * one)


def loss(x: Tensor, y: Tensor, parameters: Tensor) -> Tensor:
    """The negative logarithm of the marginal likelihood, of one observation."""
    low = factor(x, parameters)
    white = tg.linalg.solve_triangular(low, y[:, None], upper=False)
    logarithm = tg.linalg.diagonal(low).log().sum()
    return 0.5 * (white * white).mean() + logarithm / len(x) + 0.5 * math.log(2 * math.pi)


def predict(x: Tensor, y: Tensor, parameters: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of the function at other places."""
    length, variance, _ = parameters.exp()
    low = factor(x, parameters)
    across = kernel(x, places, length, variance)
    mean = across.mT @ tg.cholesky_solve(y[:, None], low)
    white = tg.linalg.solve_triangular(low, across, upper=False)
    return mean[:, 0], (variance - (white * white).sum(0)).clamp(min=0).sqrt()


def observations(points: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Noisy values of a wave, at random places, with a gap."""
    generator = tg.Generator().manual_seed(seed)
    x = 10 * tg.rand(points, generator=generator, dtype=tg.float64)
    x = tg.where((x > 4.5) & (x < 6.5), x - 3, x)
    noise = 0.15 * tg.randn(points, generator=generator, dtype=tg.float64)
    return x, (1.3 * x).sin() + 0.1 * x + noise


def fit(points: int, steps: int, places: Tensor, bar: bool = True) -> Fit:
    """Maximise the likelihood of the observations and predict."""
    x, y = observations(points)
    mean = y.mean()
    parameters = tg.zeros(3, dtype=tg.float64, requires_grad=True)  # logarithms
    optimizer = tg.optim.Adam([parameters], lr=0.05)
    losses = []
    for _ in progress(steps) if bar else range(steps):
        optimizer.zero_grad()
        value = loss(x, y - mean, parameters)
        value.backward()
        optimizer.step()
        losses.append(value.item())
    with tg.no_grad():
        found, deviation = predict(x, y - mean, parameters, places)
        return Fit(losses, *parameters.exp().tolist(), found + mean, deviation)


def progress(steps: int) -> Any:
    """A progress bar."""
    from tqdm import trange

    return trange(steps, desc="likelihood")


def draw(points: int, places: Tensor, made: Fit, path: str) -> None:
    """The observations, the prediction and twice its deviation on both sides."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    x, y = observations(points)
    figure, axes = pyplot.subplots(figsize=(8, 4))
    low, high = made.mean - 2 * made.deviation, made.mean + 2 * made.deviation
    axes.fill_between(places.numpy(), low.numpy(), high.numpy(), alpha=0.25, label="two deviations")
    axes.plot(places.numpy(), made.mean.numpy(), label="prediction")
    axes.plot(x.numpy(), y.numpy(), ".", color="black", label="observations")
    axes.set_title(
        f"length {made.length:.2f}, variance {made.variance:.2f}, noise {made.noise:.3f}"
    )
    axes.legend()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def main(arguments: Sequence[str] | None = None) -> Fit:
    """Fit, draw, say what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--points", type=int, default=60)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--picture", default="gaussian_process.png")
    given = parser.parse_args(arguments)
    places = tg.linspace(-1, 12, 300, dtype=tg.float64)
    made = fit(given.points, given.steps, places)
    draw(given.points, places, made, given.picture)
    print(
        f"length {made.length:.3f}, variance {made.variance:.3f}, noise {made.noise:.4f}; negative log "
        f"likelihood {made.losses[0]:.3f} -> {made.losses[-1]:.3f} an observation; {given.picture}"
    )
    return made


if __name__ == "__main__":
    main()
