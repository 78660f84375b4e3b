"""The heat equation by Fourier transforms: what is known exactly, and the picture."""

from __future__ import annotations

import math
import zlib
from pathlib import Path

import numpy as np

import tilegrad
from examples import heat


def test_a_wave_fades_at_its_own_rate() -> None:
    plate = heat.Plate(32, 0.01, kappa=0.05)
    at = np.arange(32) / 32
    wave = np.cos(2 * np.pi * (3 * at[:, None] - 2 * at[None, :])) + 0.5
    plate.set(tilegrad.from_numpy(wave.astype("f4")))
    for _ in range(20):
        plate.advance()
    rate = 0.05 * (2 * math.pi) ** 2 * (9 + 4)
    want = (wave - 0.5) * math.exp(-rate * 0.2) + 0.5
    np.testing.assert_allclose(plate.field().numpy(), want, atol=2e-6)


def test_heat_is_neither_lost_nor_made() -> None:
    (*_, (done, field)) = heat.moments(24, 30, 1)
    assert done == 30 and field is not None
    assert abs(field.mean().item() - 1) < 1e-5  # a source of 1 over a time of 1
    y, x = heat.figure_of_eight(1.0)
    hottest = divmod(int(field.argmax().item()), 24)
    assert max(abs(hottest[0] / 24 - y), abs(hottest[1] / 24 - x)) < 0.15


def test_the_picture_is_what_was_computed(tmp_path: Path, capsys) -> None:
    out = tmp_path / "plate.png"
    heat.main(["--size", "16", "--steps", "8", "--shown", "2", "--out", str(out)])
    assert "all heat of the source is there: 1.0000" in capsys.readouterr().out
    data = out.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n" and data[16:24] == (32).to_bytes(4, "big") + (
        16
    ).to_bytes(4, "big")
    start = data.index(b"IDAT") + 4
    rows = zlib.decompress(data[start : data.index(b"IEND") - 8])
    assert len(rows) == 16 * (1 + 3 * 32)
    assert bytes(heat.COLOURS[-1]) in rows  # the hottest point of all
