"""The kernels of examples/: each op is what its check says, on both devices, and what its page says."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import tilegrad
from examples.kernels import heat, histogram, mandelbrot, matmul, rms_norm, rotary, swish
from examples.kernels.__main__ import NAMES, load
from tests.conftest import ROOT
from tilegrad.autograd.gradcheck import gradcheck, gradgradcheck

SMALL = {  # operands of two orders of gradcheck
    "swish": ((2, 3),),
    "bias_dropout_residual": ((2, 3), (3,), (2, 3), (2, 3)),
    "rms_norm": ((2, 5), (5,)),
    "rotary": ((2, 3, 4), (3, 2), (3, 2)),
    "heat": ((3, 4),),
    "matmul": ((3, 4), (4, 2)),
}


@pytest.mark.parametrize("name", NAMES)
def test_check_passes(name, capsys):
    module = load(name)
    for op in module.OPS:
        op.check(**getattr(module, "CHECKED", {}).get(op, {}))
    assert "right" in capsys.readouterr().out


@pytest.mark.parametrize("name", SMALL)
def test_gradients_of_two_orders(name):
    (op,) = load(name).OPS
    given = [tilegrad.rand(*shape, dtype=tilegrad.float64) for shape in SMALL[name]]
    given = [x.requires_grad_() for x in given]
    assert gradcheck(op, given)
    assert gradgradcheck(op, given)


@pytest.mark.parametrize("name", SMALL)
def test_the_device_gives_the_references_values(name, device, rng):
    (op,) = load(name).OPS
    given = [tilegrad.tensor(rng.random(shape), dtype=tilegrad.float64) for shape in SMALL[name]]
    have = op(*[x.to(device) for x in given])
    want = op(*given)
    for a, b in zip(
        have if isinstance(have, tuple) else (have,), want if isinstance(want, tuple) else (want,),
        strict=True,
    ):  # fmt: skip
        np.testing.assert_allclose(a.cpu().numpy(), b.numpy(), rtol=1e-12)


def test_swish_is_silu():
    x = tilegrad.randn(1000)
    assert tilegrad.allclose(swish.swish(x), tilegrad.nn.functional.silu(x))


def test_rms_norm_is_the_layers():
    x, weight = tilegrad.randn(4, 37), tilegrad.rand(37)
    want = tilegrad.nn.functional.rms_norm(x, (37,), weight, 1e-6)
    assert tilegrad.allclose(rms_norm.rms_norm(x, weight)[0], want, atol=1e-6)


def test_rotary_keeps_lengths():
    x = tilegrad.randn(2, 7, 10)
    turned = rotary.rotary(x, *rotary.angles(7, 10))
    assert tilegrad.allclose(turned.norm(dim=-1), x.norm(dim=-1), atol=1e-5)
    assert tilegrad.allclose(turned[:, 0], x[:, 0])  # position 0 is not turned


def test_matmul_is_matmul():
    x, y = tilegrad.randn(33, 17), tilegrad.randn(17, 29)
    assert tilegrad.allclose(matmul.matmul(x, y), x @ y, atol=1e-5)


def test_heat_is_found_again():
    plate = tilegrad.zeros(12, 12)
    plate[3:6, 4:9] = 1
    found, losses = heat.find(heat.run(plate, 2), 2, rounds=200)
    assert losses[-1] < losses[0] / 100
    assert (found - plate).abs().mean().item() < 0.03


def test_mandelbrot_is_counted_right(device):
    size = (9, 6) if device == "cuda" else (90, 60)
    have = mandelbrot.image(*size, device=device).cpu().numpy()
    x = np.linspace(-2.2, 0.8, size[0], dtype=np.float32)
    y = np.linspace(-1, 1, size[1], dtype=np.float32)[:, None]
    z, c = np.zeros_like(have, np.complex128), x + 1j * y
    count = np.zeros_like(have)
    with np.errstate(all="ignore"):
        for _ in range(200):
            inside = np.abs(z) <= 2
            count += inside
            z = np.where(inside, z * z + c, z)
    assert (have != count).mean() < 0.01  # orbits near the border differ by their rounding


def test_histogram_is_numpys():
    x = tilegrad.randn(10_007)
    want = np.histogram(x.numpy(), 13, (-1.0, 2.0))[0]
    have = histogram.histogram(x, 13, -1.0, 2.0)
    assert have.dtype is tilegrad.int64
    assert np.abs(have.numpy() - want).sum() <= 4  # NumPy rounds the borders of bins otherwise


@pytest.mark.parametrize("name", ["heat", "mandelbrot"])
def test_pictures(name, tmp_path):
    module = load(name)
    if name == "heat":
        module.picture(tmp_path / "x.png", side=24, steps=3)
    else:
        module.picture(tmp_path / "x.png")
    assert (tmp_path / "x.png").stat().st_size > 2000


def test_an_example_that_is_not_there():
    done = subprocess.run(
        [sys.executable, "-m", "examples.kernels", "nothing"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "examples are swish" in done.stderr
