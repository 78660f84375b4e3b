"""The lasso's paths are scikit-learn's, and what is drawn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import Lasso, lasso_path

import tilegrad
from examples import diabetes as example


def test_paths_are_scikit_learns() -> None:
    data = example.load()
    made = example.solve(data, prices=12, steps=1500)
    x, y = data.x.numpy(), data.y.numpy()
    _, want, _ = lasso_path(x, y, alphas=made.prices.numpy(), tol=1e-8, max_iter=100_000)
    np.testing.assert_allclose(made.weights.numpy(), want.T, atol=0.05)  # of coefficients to 40
    assert made.weights[0].abs().max() < 1e-9  # the highest price leaves nothing
    assert made.losses[-1] < made.losses[0]
    model = Lasso(made.prices[5].item(), fit_intercept=False, tol=1e-8).fit(x, y)
    held = data.y_held.numpy() - data.y_held.numpy().mean()
    assert made.held[5].item() == pytest.approx(model.score(data.x_held.numpy(), held), abs=1e-4)


def test_data_are_whole_and_centred() -> None:
    data = example.load()
    assert (len(data.y), len(data.y_held), data.x.shape[1]) == (332, 110, 10)
    assert data.x.mean(0).abs().max().item() < 1e-12
    assert tilegrad.allclose(data.x.var(0, correction=0), tilegrad.ones(10, dtype=data.x.dtype))


def test_it_draws(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "diabetes.png"
    example.main(["--prices", "10", "--steps", "200", "--picture", str(out)])
    said = capsys.readouterr().out
    assert "body mass index +" in said and "least squares, all 10: 38.2%" in said
    assert out.stat().st_size > 10_000
