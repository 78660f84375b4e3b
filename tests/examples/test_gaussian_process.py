"""The Gaussian process: likelihood against SciPy, and that the example finds what it should."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import multivariate_normal

import tilegrad
from examples import gaussian_process as example


def test_the_likelihood_is_scipys() -> None:
    x, y = example.observations(9)
    parameters = tilegrad.tensor([0.3, -0.2, -2.0], dtype=tilegrad.float64)
    length, variance, noise = np.exp(parameters.numpy())
    covariance = variance * np.exp(-0.5 * np.subtract.outer(x.numpy(), x.numpy()) ** 2 / length**2)
    want = multivariate_normal.logpdf(y.numpy(), None, covariance + (noise + 1e-8) * np.eye(9))
    assert example.loss(x, y, parameters).item() == pytest.approx(-want / 9)
    assert tilegrad.autograd.gradcheck(
        lambda p: example.loss(x, y, p), [parameters.requires_grad_()]
    )


def test_it_fits_and_draws(tmp_path: Path) -> None:
    made = example.main(["--points", "40", "--steps", "120", "--picture", str(tmp_path / "gp.png")])
    assert made.losses[-1] < made.losses[0] - 0.3
    assert 0.005 < made.noise < 0.1  # of 0.15^2
    places = np.linspace(-1, 12, 300)
    truth = np.sin(1.3 * places) + 0.1 * places
    inside = (places > 0.5) & (places < 4)
    assert np.abs(made.mean.numpy() - truth)[inside].max() < 0.35
    gap = (places > 4.8) & (places < 6.2)
    assert made.deviation.numpy()[gap].max() > 1.5 * made.deviation.numpy()[inside].mean()
    assert (tmp_path / "gp.png").stat().st_size > 10_000
