"""Fourier transforms and windows."""

from __future__ import annotations

import math

import numpy as np

import tilegrad
from tilegrad.autograd.tensor import Tensor
from tilegrad.onnx.tables.call import Call, checked_sizes, constant, dtype_of, number, says


def transformed(re: Tensor, im: Tensor | None, length: int, inverse: bool) -> tuple[Tensor, Tensor]:
    """The discrete Fourier transform of the last dimension, cut or filled to ``length``, as a product."""
    n = re.shape[-1]
    kept = min(n, length)
    turns = np.outer(np.arange(kept), np.arange(length)) % length * (2 * math.pi / length)
    cos, sin = (constant(np.ascontiguousarray(f(turns))).to(re.dtype) for f in (np.cos, np.sin))
    sign = 1 if inverse else -1
    re, im = re.narrow(-1, 0, kept), None if im is None else im.narrow(-1, 0, kept)
    real, imag = tilegrad.matmul(re, cos), sign * tilegrad.matmul(re, sin)
    if im is not None:
        real = real - sign * tilegrad.matmul(im, sin)
        imag = imag + tilegrad.matmul(im, cos)
    return (real / length, imag / length) if inverse else (real, imag)


@says("DFT")
def _dft(call: Call, x: Tensor, length: Tensor | None = None, axis: Tensor | None = None) -> Tensor:
    dim = number(axis, call.get("axis", 1 if call.version < 20 else -2))
    dim = dim % x.ndim
    one_sided, inverse = bool(call.get("onesided", 0)), bool(call.get("inverse", 0))
    count = int(number(length, x.shape[dim]))
    if inverse and one_sided:
        count = int(number(length, 2 * (x.shape[dim] - 1)))
    checked_sizes(call, [count, count])
    re = x[..., 0].movedim(dim, -1)
    im = x[..., 1].movedim(dim, -1) if x.shape[-1] == 2 else None
    if inverse and one_sided:
        assert im is not None
        half = count // 2 + 1
        rest = list(range(count - half, 0, -1))
        at = constant(np.array(rest, np.int64))
        re = tilegrad.cat([re.narrow(-1, 0, half), re.index_select(re.ndim - 1, at)], -1)
        im = tilegrad.cat([im.narrow(-1, 0, half), -im.index_select(im.ndim - 1, at)], -1)
        real, _ = transformed(re, im, count, True)
        return real.movedim(-1, dim).unsqueeze(-1)
    real, imag = transformed(re, im, count, inverse)
    if one_sided:
        real, imag = (t.narrow(-1, 0, count // 2 + 1) for t in (real, imag))
    return tilegrad.stack([real.movedim(-1, dim), imag.movedim(-1, dim)], -1)


@says("STFT")
def _stft(
    call: Call, x: Tensor, step: Tensor, window: Tensor | None = None, length: Tensor | None = None
) -> Tensor:
    size = int(number(length, window.shape[0] if window is not None else 0))
    by = int(number(step))
    if size <= 0 or by <= 0:
        raise call.refuse(f"frames of {size} elements every {by}")
    wave = x[..., 0] if x.ndim == 3 else x
    frames = wave.unfold(1, size, by)
    if window is not None:
        frames = frames * window
    imag = None
    if x.ndim == 3 and x.shape[-1] == 2:
        imag = x[..., 1].unfold(1, size, by)
        imag = imag if window is None else imag * window
    real, rest = transformed(frames, imag, size, False)
    if call.get("onesided", 1):
        real, rest = (t.narrow(-1, 0, size // 2 + 1) for t in (real, rest))
    return tilegrad.stack([real, rest], -1)


_COSINES = {
    "HannWindow": (0.5, 0.5, 0.0), "HammingWindow": (25 / 46, 21 / 46, 0.0), "BlackmanWindow": (0.42, 0.5, 0.08),
}  # fmt: skip


@says(*_COSINES)
def _window(call: Call, size: Tensor) -> Tensor:
    count = int(number(size))
    checked_sizes(call, [count])
    span = count if call.get("periodic", 1) else count - 1
    a, b, c = _COSINES[call.kind]
    turns = tilegrad.arange(count, dtype=tilegrad.float64) * (2 * math.pi / max(span, 1))
    made = a - b * tilegrad.cos(turns) + c * tilegrad.cos(2 * turns)
    return made.to(dtype_of(call.get("output_datatype", 1)))


@says("MelWeightMatrix")
def _mel(
    call: Call, bins: Tensor, length: Tensor, rate: Tensor, low: Tensor, high: Tensor
) -> Tensor:
    count, spectrum = int(number(bins)), int(number(length)) // 2 + 1
    checked_sizes(call, [spectrum, count])

    def mel(hertz: float) -> float:
        return 2595 * math.log10(1 + hertz / 700)

    first, last = mel(number(low)), mel(number(high))
    step = (last - first) / (count + 2)
    edges = [700 * (10 ** ((first + k * step) / 2595) - 1) for k in range(count + 2)]
    places = [math.floor((int(number(length)) + 1) * e / number(rate)) for e in edges]
    table = np.zeros((spectrum, count))
    for k in range(count):
        lower, center, upper = places[k : k + 3]
        if center == lower:
            table[center, k] = 1
        for j in range(lower, center + 1 if center > lower else lower):
            table[j, k] = (j - lower) / (center - lower)
        for j in range(center, upper):
            table[j, k] = (upper - j) / (upper - center)
    return constant(table).to(dtype_of(call.get("output_datatype", 1)))
