"""Strides of what ops make are PyTorch's: random views, copies, elementwise results."""

import random

import pytest
import torch

import tilegrad


def _view(m, rng, low=1):
    x = m.zeros(tuple(rng.choice([low, 1, 2, 3, 5]) for _ in range(rng.randint(0, 4))))
    for _ in range(rng.randint(0, 3)):
        ndim, kind = x.dim(), rng.randint(0, 4)
        if kind == 0:
            x = x.permute(rng.sample(range(ndim), ndim))
        elif kind == 1 and ndim:
            cut = slice(rng.randint(0, 1), None, rng.randint(1, 2))
            x = x[(slice(None),) * rng.randrange(ndim) + (cut,)]
        elif kind == 2:
            lead = [rng.randint(1, 2) for _ in range(rng.randint(0, 1))]
            x = x.expand(lead + [rng.randint(1, 3) if n == 1 else n for n in x.shape])
        elif kind == 3:
            key = [rng.choice([None, None, slice(None), slice(0, None, 2)]) for _ in range(3)]
            sliced = sum(k is not None for k in key)
            x = x[(*key, *[0] * rng.randint(0, 1))] if ndim > sliced and x.numel() else x[None]
        else:
            x = x.unsqueeze(rng.randint(0, ndim))
    return x


OPS = {
    "clone": lambda m, x, y: x.clone(),
    "zeros_like": lambda m, x, y: m.zeros_like(x),
    "times 2": lambda m, x, y: x * 2,
    "x + x": lambda m, x, y: x + x,
    "x + y": lambda m, x, y: x + y,
    "y": lambda m, x, y: y,
}


def test_random_views():
    for seed in range(800):
        (a, c), (b, d) = (
            [_view(m, rng) for _ in range(2)]
            for m, rng in ((tilegrad, random.Random(seed)), (torch, random.Random(seed)))
        )
        for name, op in OPS.items():
            try:
                want = op(torch, b, d).stride()
            except RuntimeError:  # shapes that do not broadcast
                continue
            if 0 not in op(torch, b, d).shape:
                assert op(tilegrad, a, c).stride() == want, (seed, name)


@pytest.mark.parametrize("shape", [(5, 0, 3), (0,), (2, 0)])
def test_nothing_is_contiguous(shape):
    for m in (tilegrad, torch):
        assert m.zeros(shape).transpose(0, -1).is_contiguous()
        assert m.zeros(shape).transpose(0, -1).clone().shape == shape[::-1]
