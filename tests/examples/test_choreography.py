"""Orbits by least action: gradients, and that the bodies do go where Newton's laws send them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.integrate import solve_ivp

import tilegrad
from examples import choreography as example


def test_the_gradient_of_the_action_is_right() -> None:
    curve = example.Curve(3, 30, harmonics=4)
    scaled = curve.scaled(example.KNOWN[0].waves).clone().requires_grad_()
    assert tilegrad.autograd.gradcheck(curve.action, [scaled])


@pytest.mark.parametrize("number", [0, 2])  # of three bodies, and of four
def test_bodies_go_where_gravity_sends_them(number: int) -> None:
    """SciPy's integration of Newton's law from the orbit's places and velocities brings each body to
    where the next one was.
    """
    bodies, _, waves = example.KNOWN[number]
    made = example.search(bodies, waves, steps=300)
    assert made.residual < 1e-5 and made.actions[-1] < made.actions[0]
    step = len(made.curve) // bodies
    z, velocity = (part.numpy()[::step] for part in (made.curve, made.velocity))

    def law(_: float, state: np.ndarray) -> np.ndarray:
        at, speed = state[:bodies], state[bodies:]
        away = at[:, None] - at[None, :]
        far = np.abs(away) + np.eye(bodies)
        return np.concatenate([speed, -(away / far**3).sum(1)])

    end = 2 * np.pi / bodies
    found = solve_ivp(law, (0, end), np.concatenate([z, velocity]), rtol=1e-11, atol=1e-12)
    there = found.y[:bodies, -1]
    np.testing.assert_allclose(there, np.roll(z, -1), atol=2e-4)
    np.testing.assert_allclose(z.sum(), 0, atol=1e-12)  # the centre of mass rests


def test_a_search_finds_no_orbit_twice() -> None:
    (first, second) = (example.search(3, example.KNOWN[0].waves, 200, 40, 32) for _ in range(2))
    assert example.is_new(first, []) and not example.is_new(second, [first])
    circle = example.search(3, {1: 0.8}, 100, 10, 16)
    assert not example.is_new(circle, [])
    assert abs(circle.curve.abs().mean().item() - 3 ** (-1 / 6)) < 1e-6  # Lagrange's triangle


def test_it_draws(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    monkeypatch.setattr(example, "KNOWN", example.KNOWN[:1])
    out = tmp_path / "orbits.png"
    example.main(["--steps", "100", "--picture", str(out)])
    assert "3 bodies, the figure eight" in capsys.readouterr().out
    assert out.stat().st_size > 10_000
