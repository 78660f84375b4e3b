"""Short-time Fourier transforms: those of windows that move along a signal, and signals from them.

Sources: Allen and Rabiner (1977); Griffin and Lim (1984) for the inverse, the least squares signal.
"""

from __future__ import annotations

import warnings
from typing import NamedTuple

from tilegrad.autograd.annotations import Tensor
from tilegrad.autograd.base import tensor_of
from tilegrad.autograd.rules import pointwise, view
from tilegrad.autograd.rules.extrema import amin
from tilegrad.autograd.rules.fft import c2c, c2r, r2c
from tilegrad.autograd.rules.movement import pad
from tilegrad.autograd.rules.planar import view_as_real
from tilegrad.engine.ops.elementwise import full

__all__ = ["istft", "stft"]


class _Window(NamedTuple):
    """What a call says about its windows; ``name`` of the function."""

    name: str
    n_fft: int
    hop: int
    length: int
    values: Tensor | None

    def refuse(self, rule: str) -> RuntimeError:
        shape = None if self.values is None else list(self.values.layout.shape)
        return RuntimeError(
            f"{self.name}: {rule}; got n_fft={self.n_fft}, hop_length={self.hop}, win_length={self.length}, window "
            f"{shape}"
        )

    def padded(self, like: Tensor) -> Tensor | None:
        """The window in the middle of ``n_fft`` elements; None if it is 1 all over.

        Raises:
            RuntimeError: it has another length than it should.
        """
        values = self.values
        if values is None:
            if self.length == self.n_fft:
                return None
            kind = like.layout.dtype.to_real()
            values = tensor_of(full((self.length,), 1, kind, like.layout.device))
        left = (self.n_fft - self.length) // 2
        right = self.n_fft - self.length - left
        return pad(values, (left, right)) if left or right else values


def _window_of(
    name: str, n_fft: int, hop_length: int | None, win_length: int | None, window: Tensor | None
) -> _Window:
    hop = n_fft // 4 if hop_length is None else hop_length
    length = n_fft if win_length is None else win_length
    if window is None:
        warnings.warn(
            f"{name}: A window was not provided. A rectangular window will be applied, which is known to cause "
            "spectral leakage.",
            stacklevel=3,
        )
    return _Window(name, n_fft, hop, length, window)


def stft(
    input: Tensor, n_fft: int, hop_length: int | None = None, win_length: int | None = None,
    window: Tensor | None = None, center: bool = True, pad_mode: str = "reflect", normalized: bool = False,
    onesided: bool | None = None, return_complex: bool | None = None, align_to_window: bool | None = None,
) -> Tensor:  # fmt: skip
    """``X[j, m] = sum_k w_k x_(m hop + k) e^(-2 pi i jk / n_fft)``: (…, frequencies, windows) of a signal (…, time).

    Args:
        hop_length: from window to window, a quarter of ``n_fft`` unless given.
        win_length: of ``window``, which stands in the middle of ``n_fft`` elements.
        center: the signal is padded by half of ``n_fft`` at both ends, as ``pad_mode`` says.
        normalized: divided by the root of ``n_fft``.
        onesided: the half of the spectrum that is not conjugate to the other; of real signals so unless said.
        return_complex: False: real and imaginary parts along one more dimension.
        align_to_window: without ``center``, the first window's ``win_length`` elements begin with the signal.

    Raises:
        RuntimeError: lengths do not fit, or ``return_complex`` is missing.
    """
    if center and align_to_window is not None:
        raise RuntimeError("stft: align_to_window should only be set when center = false")
    signal = input
    if center:
        half = n_fft // 2
        lead = (1,) * max(0, 3 - signal.layout.ndim)
        wide = pad(view.reshape(signal, (*lead, *signal.layout.shape)), (half, half), pad_mode)
        signal = view.reshape(wide, wide.layout.shape[len(lead) :])
    how = _window_of("stft", n_fft, hop_length, win_length, window)
    kind = signal.layout.dtype
    planar = kind.is_complex or (window is not None and window.layout.dtype.is_complex)
    if return_complex is None:
        if not planar:
            raise RuntimeError(
                "stft requires the return_complex parameter be given for real inputs, and will further "
                "require that return_complex=True in a future PyTorch release."
            )
        return_complex = True
    _check_signal(signal, how)
    one_dimension = signal.layout.ndim == 1
    if one_dimension:
        signal = view.unsqueeze(signal, 0)
    if not center and align_to_window:
        before = (n_fft - how.length) // 2
        signal = pad(signal, (before, n_fft - how.length - before))
    found = _frames_transformed(signal, how, planar, normalized, onesided)
    if one_dimension:
        found = view.squeeze(found, 0)
    return found if return_complex else view_as_real(found)


def _check_signal(signal: Tensor, how: _Window) -> None:
    kind = signal.layout.dtype
    if not (kind.is_floating_point or kind.is_complex):
        raise how.refuse(f"expected a tensor of floating point or complex values, not {kind.name}")
    if signal.layout.ndim not in (1, 2):
        raise how.refuse(f"expected a 1D or 2D tensor, not {list(signal.layout.shape)}")
    time = signal.layout.shape[-1]
    if not 0 < how.n_fft <= time:
        raise how.refuse(f"expected 0 < n_fft < {time}, but got n_fft={how.n_fft}")
    if how.hop <= 0:
        raise how.refuse(f"expected hop_length > 0, but got hop_length={how.hop}")
    if not 0 < how.length <= how.n_fft:
        raise how.refuse(f"expected 0 < win_length <= n_fft, but got win_length={how.length}")
    if how.values is not None and how.values.layout.shape != (how.length,):
        raise how.refuse(
            f"expected a 1D window tensor of size equal to win_length={how.length}, but got window with size "
            f"{list(how.values.layout.shape)}"
        )


def _frames_transformed(
    signal: Tensor, how: _Window, planar: bool, normalized: bool, onesided: bool | None
) -> Tensor:
    """(batch, frequencies, windows) of a signal (batch, time)."""
    onesided = not planar if onesided is None else onesided
    if onesided and planar:
        raise RuntimeError("stft: Cannot have onesided output if window or input is complex")
    frames = view.unfold(signal, -1, how.n_fft, how.hop)
    weights = how.padded(signal)
    if weights is not None:
        frames = frames * weights
    divisor = "by_root_n" if normalized else "none"
    transform = r2c if onesided else c2c
    return view.transpose(transform(frames, ((2,), (how.n_fft,), 1, divisor)), 1, 2)


def istft(
    input: Tensor, n_fft: int, hop_length: int | None = None, win_length: int | None = None,
    window: Tensor | None = None, center: bool = True, normalized: bool = False,
    onesided: bool | None = None, length: int | None = None, return_complex: bool = False,
) -> Tensor:  # fmt: skip
    """The signal whose :func:`stft` is nearest to ``input``: windows are transformed back, weighed, added where they
    overlap and divided by the sum of the squared weights there.

    Args:
        length: of the result; what is beyond the windows is zero.

    Raises:
        RuntimeError: lengths do not fit, or the windows leave out a part of the signal.
    """
    how = _window_of("istft", n_fft, hop_length, win_length, window)
    onesided = _check_spectra(input, how, onesided, return_complex)
    spectra = input if input.layout.ndim == 3 else view.unsqueeze(input, 0)
    spectra = view.transpose(spectra, 1, 2)
    divisor = "by_root_n" if normalized else "by_n"
    if return_complex:
        frames = c2c(spectra, ((2,), (n_fft,), 0, divisor))
    else:
        if not onesided:
            spectra = view.narrow(spectra, 2, 0, n_fft // 2 + 1)
        frames = c2r(spectra, ((2,), (n_fft,), 0, divisor))
    weights = how.padded(frames)
    if weights is None:
        weights = tensor_of(full((n_fft,), 1, frames.layout.dtype.to_real(), frames.layout.device))
    signal = _overlapped(frames * weights, how.hop)
    count = frames.layout.shape[1]
    envelope = _overlapped(view.expand(weights * weights, (1, count, n_fft)), how.hop)
    whole = signal.layout.shape[1]
    start = n_fft // 2 if center else 0
    end = start + length if length is not None else whole - start
    inside = min(end, whole)
    signal = view.narrow(signal, 1, start, inside - start)
    envelope = view.narrow(envelope, 1, start, inside - start)
    if float(amin(pointwise.abs(envelope.detach())).item()) < 1e-11:
        raise how.refuse("window overlap add min: 1, the windows leave out a part of the signal")
    signal = signal / envelope
    if end > whole:
        warnings.warn(
            "istft: The length of signal is shorter than the length parameter. Result is being padded with zeros "
            "in the tail. Please check your center and hop_length settings.",
            stacklevel=2,
        )
        signal = pad(signal, (0, end - whole))
    return view.squeeze(signal, 0) if input.layout.ndim == 2 else signal


def _check_spectra(
    input: Tensor, how: _Window, onesided: bool | None, return_complex: bool
) -> bool:
    """Whether half of the spectra is given."""
    kind, shape = input.layout.dtype, input.layout.shape
    planar = how.values is not None and how.values.layout.dtype.is_complex
    if not kind.is_complex:
        raise RuntimeError(
            "istft requires a complex-valued input tensor matching the output from stft with return_complex=True."
        )
    if planar and not return_complex:
        raise RuntimeError("istft: Complex windows are incompatible with return_complex=False")
    if input.layout.numel == 0:
        raise how.refuse("input tensor cannot be empty.")
    if input.layout.ndim not in (2, 3):
        raise how.refuse(f"expected a tensor with 2 or 3 dimensions, but got {list(shape)}")
    found = shape[-2] != how.n_fft if onesided is None else onesided
    want, word = (how.n_fft // 2 + 1, "n_fft / 2 + 1") if found else (how.n_fft, "n_fft")
    if shape[-2] != want:
        raise how.refuse(
            f"expected the frequency dimension (3rd to the last) of the input tensor to match {word} when "
            f"onesided={found}, but got {shape[-2]}"
        )
    if not 0 < how.hop <= how.length:
        raise how.refuse("expected 0 < hop_length <= win_length")
    if not 0 < how.length <= how.n_fft:
        raise how.refuse("expected 0 < win_length <= n_fft")
    if how.values is not None and how.values.layout.shape != (how.length,):
        raise how.refuse("Invalid window shape. window has to be 1D and length of `win_length`")
    if return_complex and found:
        raise RuntimeError("istft: Cannot have onesided output if window or input is complex")
    return found


def _overlapped(frames: Tensor, hop: int) -> Tensor:
    """Frames (batch, windows, n) added up ``hop`` apart: (batch, n + hop (windows - 1)).

    A frame is a row of pieces of ``hop`` elements, and piece k of frame m belongs to piece k + m of the sum.
    """
    batch, count, n = frames.layout.shape
    pieces = -(-n // hop)
    rows = pad(frames, (0, pieces * hop - n)) if pieces * hop > n else frames
    rows = view.reshape(rows, (batch, count, pieces, hop))
    total: Tensor | None = None
    for k in range(pieces):
        part = pad(view.select(rows, 2, k), (0, 0, k, pieces - 1 - k))
        total = part if total is None else total + part
    assert total is not None
    flat = view.reshape(total, (batch, (count + pieces - 1) * hop))
    return view.narrow(flat, 1, 0, n + hop * (count - 1))
