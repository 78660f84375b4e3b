"""Two numbers keep a digit's likeness, and the picture shows them."""

from __future__ import annotations

from pathlib import Path

import pytest

import tilegrad
from examples import autoencoder as example


def test_digits_find_places_of_their_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "plane.png"
    made = example.main(["--epochs", "8", "--picture", str(out)])
    assert made.losses[-1] < 0.85 * made.losses[0] and made.held_out < made.losses[0]
    share = float(capsys.readouterr().out.split(";")[1].split("%")[0])
    assert share > 40  # 10 by chance
    assert out.stat().st_size > 50_000


def test_neighbours_and_tiles() -> None:
    codes = tilegrad.tensor([[0.0, 0.0], [0.1, 0.0], [1.0, 1.0], [1.1, 1.0]])
    assert example.neighbours(codes, tilegrad.tensor([1, 1, 2, 3])) == 0.5
    model = example.Autoencoder(8).eval()
    plane = example.plane(model, 3)
    assert plane.shape == (30, 30)
    corner = model.paint(tilegrad.tensor([[-1.0, 1.0]])).reshape(8, 8)  # top left
    assert tilegrad.allclose(plane[1:9, 1:9], corner)
