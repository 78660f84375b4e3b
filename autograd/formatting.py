"""How tensors print: as PyTorch prints them, big ones summarised."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tilegrad.autograd.annotations import Tensor
from tilegrad.engine import dtype as dt
from tilegrad.engine.array import window
from tilegrad.engine.device import CPU, META
from tilegrad.engine.transfer import host


@dataclass
class PrintOptions:
    """What :func:`set_printoptions` sets."""

    precision: int = 4
    threshold: float = 1000
    edgeitems: int = 3
    linewidth: int = 80
    sci_mode: bool | None = None


options = PrintOptions()
_PROFILES = {
    "default": PrintOptions(),
    "short": PrintOptions(precision=2, edgeitems=2),
    "full": PrintOptions(threshold=math.inf),
}


def set_printoptions(
    precision: int | None = None,
    threshold: float | None = None,
    edgeitems: int | None = None,
    linewidth: int | None = None,
    profile: str | None = None,
    sci_mode: bool | None = None,
) -> None:
    """Set digits after the point, the size from which tensors are summarised, the items shown at
    each edge then, the characters per line, and whether to use scientific notation (None: as
    needed). ``profile`` is ``"default"``, ``"short"`` or ``"full"``.
    """
    if profile is not None:
        if profile not in _PROFILES:
            raise ValueError(
                f"set_printoptions: profile must be one of {list(_PROFILES)}; got {profile!r}"
            )
        vars(options).update(vars(_PROFILES[profile]))
    given = {
        "precision": precision,
        "threshold": threshold,
        "edgeitems": edgeitems,
        "linewidth": linewidth,
    }
    vars(options).update({name: value for name, value in given.items() if value is not None})
    options.sci_mode = sci_mode


def tensor_repr(tensor: Tensor) -> str:
    """``tensor([...], dtype=…, grad_fn=…)``."""
    prefix = "tensor("
    suffixes = []
    kind = tensor.dtype
    if tensor.device.type != "cpu":
        suffixes.append(f"device='{tensor.device}'")
    values = np.empty(0) if tensor.device is META else _values(tensor)
    if tensor.device is META:
        body = "..."
        suffixes.append(f"size={tuple(tensor.shape)}")
        if kind is not dt.get_default_dtype():
            suffixes.append(f"dtype={kind!r}")
    elif values.size == 0:
        body = "[]"
        if values.ndim != 1:
            suffixes.append(f"size={tuple(values.shape)}")
        if kind is not dt.get_default_dtype():
            suffixes.append(f"dtype={kind!r}")
    else:
        body = _body(values, len(prefix))
        if kind not in (dt.get_default_dtype(), dt.of_scalar(0j), dt.int64, dt.bool_):
            suffixes.append(f"dtype={kind!r}")
    if tensor.grad_fn is not None:
        suffixes.append(f"grad_fn=<{tensor.grad_fn.name()}>")
    elif tensor.requires_grad:
        suffixes.append("requires_grad=True")
    return _with_suffixes(prefix + body, suffixes, len(prefix))


def _values(tensor: Tensor) -> np.ndarray:
    """The elements on the host; what is expanded is not copied as a whole."""
    kind = tensor.layout
    if CPU is kind.device or 0 not in kind.strides:
        return host(tensor)
    once = tuple(n if s else min(n, 1) for n, s in zip(kind.shape, kind.strides, strict=True))
    return np.broadcast_to(host(window(tensor, once, kind.strides)), kind.shape)


def _with_suffixes(text: str, suffixes: list[str], indent: int) -> str:
    width = len(text) - text.rfind("\n")
    parts = [text]
    for suffix in suffixes:
        if width + len(suffix) + 2 > options.linewidth:
            parts.append(",\n" + " " * indent + suffix)
            width = indent + len(suffix)
        else:
            parts.append(", " + suffix)
            width += len(suffix) + 2
    return "".join(parts) + ")"


def _body(values: np.ndarray, indent: int) -> str:
    summarise = values.size > options.threshold
    shown = _edges(values) if summarise else values
    return _nested(values, indent, summarise, *_formatter(shown))


def _edges(values: np.ndarray) -> np.ndarray:
    """The elements that a summary shows; no more are copied."""
    edge = options.edgeitems
    kept = [
        [*range(edge), *range(size - edge, size)] if size > 2 * edge else range(size)
        for size in values.shape
    ]
    shown: np.ndarray = values[np.ix_(*kept)]
    return shown


def _nested(
    values: np.ndarray, indent: int, summarise: bool, format: Callable[..., str], width: int
) -> str:
    if values.ndim == 0:
        return format(values.item())
    if values.ndim == 1:
        return _row(values, indent, summarise, format, width)
    n, edge = len(values), options.edgeitems
    if summarise and n > 2 * edge:
        items = [_nested(v, indent + 1, True, format, width) for v in values[:edge]]
        items.append("...")
        items += [_nested(v, indent + 1, True, format, width) for v in values[n - edge :]]
    else:
        items = [_nested(v, indent + 1, summarise, format, width) for v in values]
    return "[" + ("," + "\n" * (values.ndim - 1) + " " * (indent + 1)).join(items) + "]"


def _row(
    values: np.ndarray, indent: int, summarise: bool, format: Callable[..., str], width: int
) -> str:
    edge = options.edgeitems
    if summarise and len(values) > 2 * edge:
        items = [format(v) for v in values[:edge].tolist()]
        items.append(" ...")
        items += [format(v) for v in values[-edge:].tolist()]
    else:
        items = [format(v) for v in values.tolist()]
    width = (width or max((len(i) for i in items if i != " ..."), default=0)) + 2
    per_line = max(1, (options.linewidth - indent) // width)
    lines = [items[i : i + per_line] for i in range(0, len(items), per_line)]
    return "[" + (",\n" + " " * (indent + 1)).join(", ".join(line) for line in lines) + "]"


def _formatter(shown: np.ndarray) -> tuple[Callable[..., str], int]:
    """(text of one element, padded to the width of the longest; the width that lines are filled by, or 0 for
    that of the longest on each).
    """
    if shown.dtype.kind == "c":
        return _complex_formatter(shown)
    if shown.dtype.kind != "f":
        width = max(len(str(v)) for v in shown.ravel().tolist())
        return lambda value: str(value).rjust(width), 0
    finite = shown[np.isfinite(shown)]
    plain = _float_text(finite)
    width = max((len(plain(v)) for v in finite.ravel().tolist()), default=0)
    return lambda value: plain(value).rjust(width), 0


def _complex_formatter(shown: np.ndarray) -> tuple[Callable[..., str], int]:
    """Each part by the formatter of all such parts; the imaginary one is not padded."""
    texts, widths = [], []
    for part in (shown.real, shown.imag):
        finite = part[np.isfinite(part) & (part != 0)]
        texts.append(_float_text(finite))
        widths.append(max((len(texts[-1](v)) for v in finite.ravel().tolist()), default=1))

    def text(value: complex) -> str:
        imaginary = texts[1](value.imag)
        sign = "" if imaginary[0] == "-" else "+"
        return f"{texts[0](value.real).rjust(widths[0])}{sign}{imaginary}j"

    return text, sum(widths) + 1


def _float_text(finite: np.ndarray) -> Callable[[float], str]:
    digits = options.precision
    magnitudes = sorted(abs(v) for v in finite.astype(np.float64).ravel().tolist() if v)
    whole = all(v == math.floor(v) for v in magnitudes)
    scientific = options.sci_mode
    if scientific is None:
        high, low = (magnitudes[-1], magnitudes[0]) if magnitudes else (0.0, 1.0)
        scientific = high > 1e8 or high / low > 1000.0 or (low < 1e-4 and not whole)

    def text(value: float) -> str:
        if not math.isfinite(value):
            return str(value)
        if scientific:
            return f"{value:.{digits}e}"
        return f"{value:.0f}." if whole else f"{value:.{digits}f}"

    return text
