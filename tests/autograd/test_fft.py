"""``tilegrad.fft`` and short-time transforms, in step with PyTorch."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import tilegrad
from tilegrad.autograd.gradcheck import gradcheck, gradgradcheck

COMPLEX_TO_COMPLEX = ("fft", "ifft", "fft2", "ifft2", "fftn", "ifftn")
TO_SPECTRUM = ("rfft", "ihfft", "rfft2", "ihfft2", "rfftn", "ihfftn")
FROM_SPECTRUM = ("irfft", "hfft", "irfft2", "hfft2", "irfftn", "hfftn")
TRANSFORMS = COMPLEX_TO_COMPLEX + TO_SPECTRUM + FROM_SPECTRUM
TOLERANCE = {"float32": 2e-6, "float64": 4e-15, "complex64": 2e-6, "complex128": 4e-15}


def operands(name: str, rng: np.random.Generator, wide: bool = False) -> list[np.ndarray]:
    """What a transform takes: complex numbers, reals, or both."""
    reals = rng.standard_normal((3, 4, 6))
    whole = reals + 1j * rng.standard_normal((3, 4, 6))
    kinds = ("f8", "c16") if wide else ("f4", "c8")
    if name in TO_SPECTRUM:
        return [reals.astype(kinds[0])]
    return [whole.astype(kinds[1]), reals.astype(kinds[0])]


def both(
    name: str, x: np.ndarray, *args: Any, device: str = "cpu", **options: Any
) -> tuple[Any, np.ndarray]:
    """Ours and PyTorch's."""
    want = getattr(torch.fft, name)(torch.from_numpy(x), *args, **options).resolve_conj().numpy()
    have = getattr(tilegrad.fft, name)(tilegrad.from_numpy(x).to(device), *args, **options)
    return have, want


def same(have: Any, want: np.ndarray) -> None:
    assert have.dtype.name == want.dtype.name
    assert tuple(have.shape) == want.shape
    size = np.abs(want).max(initial=1e-30)
    np.testing.assert_allclose(
        have.cpu().numpy() / size, want / size, rtol=0, atol=TOLERANCE[want.dtype.name]
    )


def calls(name: str) -> list[tuple[Any, ...]]:
    """Sizes, dimensions and norms of a transform."""
    if name.endswith(("2", "n")):
        sizes = [
            (None, (0, 2)), ((5, 4), (0, 2)), ((2, 7), (2, 0)), ((3, -1), (-2, -1)), ((4, 9), (1, 2)),
        ]  # fmt: skip
    else:
        sizes = [(None, -1), (4, -1), (9, 2), (5, 0), (1, 1), (None, -2)]
    return [
        (s, dim, norm)
        for (s, dim), norm in zip(sizes, [None, "ortho", "forward", "backward", None, "ortho"])
    ]


@pytest.mark.parametrize("name", TRANSFORMS)
def test_transforms(device: str, name: str, rng: np.random.Generator) -> None:
    for x in operands(name, rng) + (operands(name, rng, wide=True) if device == "cpu" else []):
        for s, dim, norm in calls(name):
            same(*both(name, x, s, dim, norm, device=device))


@pytest.mark.parametrize("name", TRANSFORMS)
def test_what_is_left_to_the_defaults(name: str, rng: np.random.Generator) -> None:
    for x in operands(name, rng):
        same(*both(name, x))
        for norm in (None, "backward", "ortho", "forward"):
            same(*both(name, x, norm=norm))
        if name.endswith("n"):
            same(*both(name, x, (5,)))
            same(*both(name, x, 5))
            same(*both(name, x, (3, 5)))


@pytest.mark.parametrize("name", ["fft", "rfft", "irfft", "fftn", "rfftn", "irfftn"])
def test_strides(device: str, name: str, rng: np.random.Generator) -> None:
    x = operands(name, rng)[0]
    views: list[Callable[[Any], Any]] = [
        lambda t: t.transpose(0, 2), lambda t: t[:, 1:3, ::2], lambda t: t[1:2].expand(4, 4, 6),
        lambda t: t[..., :1].expand(-1, -1, 6),
        lambda t: t.permute(1, 2, 0)[:, ::3],
    ]  # fmt: skip
    for see in views:
        want = getattr(torch.fft, name)(see(torch.from_numpy(x))).numpy()
        same(getattr(tilegrad.fft, name)(see(tilegrad.from_numpy(x).to(device))), want)


@pytest.mark.parametrize("name", ["fft", "fftn", "rfft", "irfft", "hfft", "ihfft", "ifft2"])
def test_integers_and_bool_become_the_default_dtype(name: str) -> None:
    for kind in ("u1", "i4", "i8", "?"):
        same(*both(name, (np.arange(24).reshape(4, 6) % 5).astype(kind)))


def test_no_elements() -> None:
    for name, shape in (("fft", (0, 3)), ("fftn", (2, 0, 4)), ("rfft", (0, 4)), ("irfft", (0, 4))):
        x = tilegrad.zeros(shape)
        found = (
            getattr(tilegrad.fft, name)(x, dim=-1)
            if name != "fftn"
            else tilegrad.fft.fftn(x, dim=(2,))
        )
        assert found.numel() == 0 and found.ndim == len(shape)


REFUSED = """
fft(x, dim=2) · fft(x, n=0) · fft(x, n=-1) · fft(x, norm='x') · fft(one) · fft(x[:, :0]) · rfft(c) · irfft(x, n=0)
irfft(c[:, :1]) · hfft(c, n=0) · ihfft(c) · fft2(x, dim=(0, 0)) · fft2(x, dim=(0, -2)) · fft2(x, s=(3,))
fft2(x, s=(3, 4, 5)) · fft2(x[0]) · fftn(x, s=(3, 4, 5)) · fftn(x, s=(0, 3)) · rfftn(x, dim=()) · irfftn(c, dim=())
rfftn(c) · irfftn(c, s=(3, 0)) · hfftn(c, s=(4, 0)) · ihfftn(c) · hfft2(c, dim=(0, 0)) · fft(x, out=x)
fftfreq(-1) · fftfreq(5, dtype=t.int64) · fftshift(x, dim=5) · fftshift(x, dim=()) · fftn(x, dim=3) · fft(x, n=3.5)
fft([1, 2]) · fftn(x, s=(3, 4), dim=0) · rfft(one) · fft(c, norm='ortho', dim=-3)
"""


@pytest.mark.parametrize(
    "call", [c.strip() for line in REFUSED.split("\n") for c in line.split("·") if c.strip()]
)
def test_errors_are_those_of_pytorch(call: str) -> None:
    raised = []
    for t in (torch, tilegrad):
        names = {n: getattr(t.fft, n) for n in (*TRANSFORMS, "fftfreq", "fftshift")}
        scope = {
            **names,
            "t": t,
            "x": t.zeros(4, 5),
            "c": t.zeros(4, 5, dtype=t.complex64),
            "one": t.tensor(1.0),
        }
        with pytest.raises((RuntimeError, IndexError, TypeError)) as error:
            eval(call, scope)
        raised.append((error.type, str(error.value)))
    assert raised[0][0] is raised[1][0], raised


def test_out(device: str, rng: np.random.Generator) -> None:
    x = rng.standard_normal((4, 6)).astype("f4")
    ours = tilegrad.from_numpy(x).to(device)
    for name, dtype in (
        ("fft", "complex64"),
        ("fft", "complex128"),
        ("rfft2", "complex64"),
        ("irfft", "float32"),
    ):
        want = getattr(torch.fft, name)(torch.from_numpy(x)).numpy()
        out = tilegrad.zeros(want.shape, dtype=getattr(tilegrad, dtype), device=device)
        assert getattr(tilegrad.fft, name)(ours, out=out) is out
        np.testing.assert_allclose(out.cpu().numpy(), want, atol=1e-5)
    with pytest.raises(RuntimeError, match="automatic differentiation"):
        tilegrad.fft.fft(
            ours.clone().requires_grad_(), out=tilegrad.zeros(4, 6, dtype=tilegrad.complex64)
        )


@pytest.mark.parametrize("name", TRANSFORMS)
def test_gradients(device: str, name: str, rng: np.random.Generator) -> None:
    """Of complex and of real operands, cut and padded, by a random gradient of the result."""
    for x in operands(name, rng, wide=device == "cpu"):
        for s, dim, norm in calls(name)[: 4 if device == "cpu" else 2]:
            theirs = torch.from_numpy(x).requires_grad_()
            made = getattr(torch.fft, name)(theirs, s, dim, norm)
            by = rng.standard_normal(made.shape)
            if made.is_complex():
                by = by + 1j * rng.standard_normal(made.shape)
            by = by.astype(str(made.dtype).removeprefix("torch."))
            made.backward(torch.from_numpy(by))
            ours = tilegrad.from_numpy(x).to(device).requires_grad_()
            getattr(tilegrad.fft, name)(ours, s, dim, norm).backward(
                tilegrad.from_numpy(by).to(device)
            )
            same(ours.grad, theirs.grad.resolve_conj().numpy())


@pytest.mark.parametrize("name", TRANSFORMS)
def test_gradients_of_gradients(name: str, rng: np.random.Generator) -> None:
    """By differences, over the real and imaginary parts."""
    x = rng.standard_normal((2, 3, 4))
    reals = tilegrad.from_numpy(
        x if name in TO_SPECTRUM else np.stack([x, x[::-1]], -1)
    ).requires_grad_()

    def call(t: Any) -> Any:
        made = getattr(tilegrad.fft, name)(
            t if name in TO_SPECTRUM else tilegrad.view_as_complex(t)
        )
        return tilegrad.view_as_real(made) if made.dtype.is_complex else made

    assert gradcheck(call, (reals,))
    assert gradgradcheck(lambda t: call(t) ** 2, (reals,))


def test_frequencies_and_shifts(rng: np.random.Generator) -> None:
    for n in range(7):
        for name in ("fftfreq", "rfftfreq"):
            for options in ({}, {"d": 0.25}, {"dtype": "float64"}):
                given = [
                    {k: getattr(t, v) if k == "dtype" else v for k, v in options.items()}
                    for t in (torch, tilegrad)
                ]
                want = getattr(torch.fft, name)(n, **given[0]).numpy()
                have = getattr(tilegrad.fft, name)(n, **given[1])
                assert have.dtype.name == want.dtype.name
                np.testing.assert_allclose(have.numpy(), want, rtol=1e-6)
    assert tilegrad.fft.fftfreq(4, requires_grad=True).requires_grad
    x = rng.standard_normal((3, 4, 5)).astype("f4")
    for name in ("fftshift", "ifftshift"):
        for dim in (None, 1, (0, 2), -1):
            have, want = both(name, x, dim)
            np.testing.assert_array_equal(have.numpy(), want)


def test_the_inverse_takes_back(device: str, rng: np.random.Generator) -> None:
    x = tilegrad.from_numpy(rng.standard_normal((3, 10)).astype("f4")).to(device)
    f = tilegrad.fft
    for there, back in (
        (f.rfft, f.irfft),
        (f.ihfft, f.hfft),
        (f.rfft2, f.irfft2),
        (f.ihfftn, f.hfftn),
    ):
        np.testing.assert_allclose(back(there(x)).cpu().numpy(), x.cpu().numpy(), atol=1e-6)


# -------------------------------------------------------------------------------- short-time transforms

WINDOW = np.hanning(8).astype("f4") + np.float32(0.1)
STFT: list[tuple[str, dict[str, Any]]] = [
    ("real", {"n_fft": 8, "window": WINDOW}),
    ("real", {"n_fft": 8, "hop_length": 3, "win_length": 8, "window": WINDOW, "normalized": True}),
    ("real", {"n_fft": 11, "win_length": 8, "window": WINDOW, "pad_mode": "constant"}),
    ("real", {"n_fft": 8, "window": WINDOW, "onesided": False, "center": False}),
    (
        "real",
        {"n_fft": 12, "win_length": 8, "window": WINDOW, "center": False, "align_to_window": True},
    ),
    ("complex", {"n_fft": 8, "window": WINDOW, "pad_mode": "replicate"}),
    ("real", {"n_fft": 9}),
]


def _signals(kind: str, rng: np.random.Generator) -> np.ndarray:
    x = rng.standard_normal((2, 30))
    return (x if kind == "real" else x + 1j * x[::-1]).astype("f4" if kind == "real" else "c8")


def _given(t: Any, options: dict[str, Any], device: str = "cpu") -> dict[str, Any]:
    return {
        k: t.from_numpy(v).to(device) if isinstance(v, np.ndarray) else v
        for k, v in options.items()
    }


@pytest.mark.filterwarnings("ignore:.*window was not provided")
@pytest.mark.parametrize("place", range(len(STFT)))
def test_stft_and_its_gradient(device: str, place: int, rng: np.random.Generator) -> None:
    kind, options = STFT[place]
    x = _signals(kind, rng)
    for signal in (x, x[0]):
        theirs = torch.from_numpy(signal).requires_grad_()
        want = torch.stft(theirs, return_complex=True, **_given(torch, options))
        ours = tilegrad.from_numpy(signal).to(device).requires_grad_()
        have = tilegrad.stft(ours, return_complex=True, **_given(tilegrad, options, device))
        same(have.detach(), want.detach().numpy())
        want.abs().square().sum().backward()
        have.abs().square().sum().backward()
        np.testing.assert_allclose(
            ours.grad.cpu().numpy(), theirs.grad.numpy(), rtol=1e-4, atol=1e-4
        )


@pytest.mark.filterwarnings("ignore:.*shorter than the length")
@pytest.mark.parametrize("place", [0, 1, 2, 5])
def test_istft_and_its_gradient(device: str, place: int, rng: np.random.Generator) -> None:
    kind, options = STFT[place]
    options = {k: v for k, v in options.items() if k != "pad_mode"}
    x = torch.from_numpy(_signals(kind, rng))
    spectra = torch.stft(x, return_complex=True, **_given(torch, options)).numpy()
    for more in ({}, {"length": 21}, {"length": 40})[: 3 if place != 2 else 2]:
        more = {**more, "return_complex": kind == "complex"}
        theirs = torch.from_numpy(spectra).requires_grad_()
        want = torch.istft(theirs, **_given(torch, options), **more)
        ours = tilegrad.from_numpy(spectra).to(device).requires_grad_()
        have = tilegrad.istft(ours, **_given(tilegrad, options, device), **more)
        np.testing.assert_allclose(have.detach().cpu().numpy(), want.detach().numpy(), atol=2e-5)
        want.abs().square().sum().backward()
        have.abs().square().sum().backward()
        np.testing.assert_allclose(
            ours.grad.cpu().numpy(), theirs.grad.numpy(), rtol=1e-3, atol=2e-4
        )


STFT_REFUSED = """
stft(x, 8) · stft(c, 8, onesided=True) · stft(x, 8, window=w[:7], return_complex=True) · stft(x, 0, return_complex=True)
stft(x, 8, win_length=9, return_complex=True) · stft(x, 50, center=False, return_complex=True)
stft(x, 8, hop_length=0, return_complex=True) · stft(x.view(2, 2, 20), 8, return_complex=True)
stft(x.long(), 8, return_complex=True) · stft(x, 100, return_complex=True) · stft(x, 8, pad_mode='zz', return_complex=True)
stft(x, 8, align_to_window=True, return_complex=True) · istft(s, 8, window=w, center=False) · istft(x, 8)
istft(s, 8, hop_length=9, window=w) · istft(s, 8, win_length=9) · istft(s, 8, window=w[:5]) · istft(s, 8, hop_length=0)
istft(s, 8, window=w, return_complex=True) · istft(s[:0], 8) · istft(s[:, :, :0], 8) · istft(s, 8, window=w * 0)
istft(s, 8, onesided=False) · istft(s, 12) · istft(s, 8, window=w + 0j)
"""


@pytest.mark.filterwarnings("ignore:.*window was not provided")
@pytest.mark.parametrize(
    "call", [c.strip() for line in STFT_REFUSED.split("\n") for c in line.split("·") if c.strip()]
)
def test_errors_of_short_time_transforms(call: str) -> None:
    raised = []
    for t in (torch, tilegrad):
        x, w = t.ones(2, 40), t.hann_window(8)
        s = t.zeros(2, 5, 21, dtype=t.complex64)
        scope = {"t": t, "x": x, "c": x + 0j, "w": w, "s": s, "stft": t.stft, "istft": t.istft}
        with pytest.raises((RuntimeError, NotImplementedError)) as error:
            eval(call, scope)
        raised.append((error.type, str(error.value)))
    assert raised[0][0] is raised[1][0], raised


def test_parts_of_a_spectrogram(rng: np.random.Generator) -> None:
    x = tilegrad.from_numpy(_signals("real", rng))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert x.stft(8, return_complex=False).shape == (2, 5, 16, 2)
        back = x.stft(8, return_complex=True).istft(8, length=30)
    np.testing.assert_allclose(back.numpy(), x.numpy(), atol=1e-5)
