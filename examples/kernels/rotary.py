"""Rotary position embedding (Su et al. 2021): pairs of features are turned by an angle that grows with the position.

Its gradient is the turn back, by the same kernel.
"""

from numba import cuda

import tilegrad

THREADS = 64


@tilegrad.op("rotary(x: f[*B, T, D], cosine: f[T, H], sine: f[T, H]) -> y: like x")
def rotary(x, cosine, sine):
    """The halves (a, b) of the last dimension become (a cos - b sin, b cos + a sin)."""
    a, b = x.chunk(2, -1)
    return tilegrad.cat([a * cosine - b * sine, b * cosine + a * sine], -1)


@rotary.cpu(tasks=lambda B, T: B * T)
def _(task, x, cosine, sine, y, T, D, H):
    row, turn = task * D, task % T * H
    for j in range(H):
        a, b = x[row + j], x[row + H + j]
        c, s = cosine[turn + j], sine[turn + j]
        y[row + j] = a * c - b * s
        y[row + H + j] = b * c + a * s


@rotary.cuda(grid=lambda B, T: B * T, block=THREADS)
def _(x, cosine, sine, y, T, D, H):
    row, turn = cuda.blockIdx.x * D, cuda.blockIdx.x % T * H
    for j in range(cuda.threadIdx.x, H, THREADS):
        a, b = x[row + j], x[row + H + j]
        c, s = cosine[turn + j], sine[turn + j]
        y[row + j] = a * c - b * s
        y[row + H + j] = b * c + a * s


@rotary.vjp
def _(grad_y, x, cosine, sine):
    a, b = x.chunk(2, -1)
    g, h = grad_y.chunk(2, -1)
    over = tuple(range(x.ndim - 2))
    return (
        rotary(grad_y, cosine, -sine),
        (g * a + h * b).sum(over),
        (h * a - g * b).sum(over),
    )


def angles(length, features, base=10_000.0):
    """Cosines and sines of ``length`` positions, (length, features / 2) each."""
    speed = base ** (-tilegrad.arange(0, features, 2) / features)
    turn = tilegrad.outer(tilegrad.arange(length).to(speed.dtype), speed)
    return turn.cos(), turn.sin()


OPS = {rotary: (((2, 32, 64), (32, 32), (32, 32)), ((8, 12, 256, 64), (256, 32), (256, 32)))}
CHECKED = {rotary: {"shapes": {"B": (2,), "T": 3, "D": 10, "H": 5}}}
