"""Both networks learn the digits, and what they misread is drawn."""

from __future__ import annotations

from pathlib import Path

import pytest

from examples import digits as example


def test_both_learn_and_are_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "digits.png"
    perceptron, network = example.main(["--epochs", "2", "--picture", str(out)])
    for made in (perceptron, network):
        assert made.losses[-1] < 0.8 * made.losses[0]
        assert len(made.guesses) == 360
    assert perceptron.accuracy[-1] > 0.7 and network.accuracy[-1] > 0.9
    said = capsys.readouterr().out
    assert f"{round(network.accuracy[-1] * 360)} of 360" in said
    assert out.stat().st_size > 20_000


def test_one_may_be_chosen(tmp_path: Path) -> None:
    out = tmp_path / "digits.png"
    (made,) = example.main(["--net", "mlp", "--epochs", "1", "--picture", str(out)])
    assert made.title == "multilayer perceptron" and out.is_file()
