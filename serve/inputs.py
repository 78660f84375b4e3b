"""Bodies of requests as arrays: JSON, raw elements, images. Whatever is wrong with one is a 4xx of one line."""

from __future__ import annotations

import io
import itertools
import json
import math
from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np

from tilegrad.serve.limits import Refusal, one_line
from tilegrad.serve.model import Input

JSON, RAW = "application/json", "application/octet-stream"
IMAGES = {"image/png": "PNG", "image/jpeg": "JPEG"}
MOST_PIXELS = 1 << 24  # of an image as sent


def kinds(inputs: Sequence[Input]) -> list[str]:
    """The content types that a request for these inputs may have."""
    if len(inputs) > 1:
        return [JSON]
    return [JSON, RAW, *(IMAGES if inputs[0].image else ())]


# ------------------------------------------------------------------------------------------- JSON


def from_json(body: bytes, inputs: Sequence[Input]) -> list[np.ndarray]:
    """``{"inputs": X}``, X an example or a list of them; for several inputs ``{"inputs": {name: X}}``.

    Returns:
        An array for each input, the batch first.

    Raises:
        Refusal: 400, it is no such JSON.
    """
    try:
        whole = json.loads(body, parse_constant=_no_constant)
    except RecursionError:
        raise Refusal(400, "the JSON is nested too deep") from None
    except ValueError as error:  # of UTF-8 and of long integers too
        raise Refusal(400, f"no JSON: {error}") from None
    if not isinstance(whole, dict) or set(whole) != {"inputs"}:
        raise Refusal(400, 'the JSON must be an object with "inputs" and nothing else')
    given = whole["inputs"]
    if not isinstance(given, dict):
        if len(inputs) > 1:
            raise Refusal(400, f"inputs must be an object with {_names(inputs)}")
        given = {inputs[0].name: given}
    if set(given) != {i.name for i in inputs}:
        raise Refusal(400, f"inputs must have {_names(inputs)}, and nothing else")
    arrays = [_array(given[i.name], i) for i in inputs]
    if len({len(a) for a in arrays}) > 1:
        raise Refusal(400, f"inputs have different numbers of examples: {[len(a) for a in arrays]}")
    return arrays


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def _names(inputs: Sequence[Input]) -> str:
    return ", ".join(i.name for i in inputs)


def _array(value: Any, kind: Input) -> np.ndarray:
    """Nested lists as (N, *shape); sizes are compared before anything is made of them."""
    sizes = list(kind.shape)
    depth, inner = 0, value
    while isinstance(inner, list) and depth <= len(sizes) + 1:
        depth, inner = depth + 1, inner[0] if inner else None
    if depth == len(sizes):
        value = [value]
    elif depth != len(sizes) + 1:
        if value == []:
            raise Refusal(400, f"{kind.name}: there are no examples")
        raise _misshapen(
            kind, f"lists nested {'deeper' if depth > len(sizes) else f'{depth} deep'}"
        )
    if not value:
        raise Refusal(400, f"{kind.name}: there are no examples")
    count, level = len(value), value
    for size in sizes:
        for row in level:
            if not isinstance(row, list):
                raise _misshapen(kind, f"{_shown(row)} where a list is expected")
            if len(row) != size:
                raise _misshapen(kind, f"a list of {len(row)} where {size} are expected")
        level = list(itertools.chain.from_iterable(level))
    return _elements(level, kind).reshape(count, *kind.shape)


def _misshapen(kind: Input, found: str) -> Refusal:
    shape = ", ".join(map(str, kind.shape))
    sizes = f"({shape}) or (N, {shape})" if kind.shape else "() or (N,)"
    return Refusal(400, f"{kind.name} must have shape {sizes}; got {found}")


def _shown(value: Any) -> str:
    return {type(None): "null", dict: "an object", list: "a list", str: "text"}.get(
        type(value), f"{value!r}"[:40]
    )


def _elements(level: list[Any], kind: Input) -> np.ndarray:
    """A flat list as an array of the input's dtype, every element of it representable."""
    dtype = np.dtype(kind.dtype)
    allowed: tuple[type, ...] = {"f": (int, float), "b": (bool,)}.get(dtype.kind, (int,))
    if not set(map(type, level)) <= set(allowed):
        odd = next(v for v in level if type(v) not in allowed)
        named = {"f": "a number", "b": "true or false"}.get(dtype.kind, "a whole number")
        raise Refusal(400, f"{kind.name}: {_shown(odd)} where {named} is expected")
    if dtype.kind in "iu":
        bounds = np.iinfo(dtype)
        if min(level) < bounds.min or max(level) > bounds.max:
            raise Refusal(400, f"{kind.name}: numbers must be from {bounds.min} to {bounds.max}")
        return np.array(level, dtype)
    try:
        with np.errstate(over="ignore"):
            found = np.array(level, np.float64 if dtype.kind == "f" else bool).astype(dtype)
    except OverflowError:
        raise Refusal(400, f"{kind.name}: a number is too large for {kind.dtype}") from None
    return _finite(found, kind)


def _finite(array: np.ndarray, kind: Input) -> np.ndarray:
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise Refusal(
            400, f"{kind.name}: NaN, infinity, or a number that is too large for {kind.dtype}"
        )
    return array


# -------------------------------------------------------------------------------------- raw bytes


def from_bytes(body: bytes, kind: Input) -> np.ndarray:
    """Elements in row-major order, little-endian, of one example or several, as (N, *shape).

    Raises:
        Refusal: 400, the length does not fit, or an element is not finite.
    """
    if not body or len(body) % kind.nbytes:
        shape = " × ".join(map(str, kind.shape)) or "1"
        raise Refusal(
            400, f"{kind.name}: an example has {kind.nbytes} bytes ({shape} of {kind.dtype}); got {len(body)}"
        )  # fmt: skip
    if kind.dtype == "bool":
        found = np.frombuffer(body, np.uint8)
        if found.max() > 1:
            raise Refusal(400, f"{kind.name}: a bool must be 0 or 1; got {found.max()}")
        return found.astype(bool).reshape(-1, *kind.shape)
    little = np.dtype(kind.dtype).newbyteorder("<")
    found = np.frombuffer(body, little).astype(kind.dtype)  # aligned, and writable
    return _finite(found.reshape(-1, *kind.shape), kind)


# ----------------------------------------------------------------------------------------- images


def from_image(body: bytes, kind: Input, format: str) -> np.ndarray:
    """An image file as one example (1, *shape): scaled to the model's size, grey or colours as its channels say,
    values from 0 to 1, or from 0 to 255 for uint8.

    Raises:
        Refusal: 400, it is no image of this format, or damaged; 413, it has more than MOST_PIXELS.
    """
    from PIL import Image, ImageOps

    assert kind.image is not None
    channels, height, width = kind.image
    try:
        with Image.open(io.BytesIO(body), formats=(format,)) as image:
            if math.prod(image.size) > MOST_PIXELS:
                raise Refusal(
                    413, f"an image may have {MOST_PIXELS} pixels; got {image.width} × {image.height}"
                )  # fmt: skip
            image.draft("L" if channels == 1 else "RGB", (width, height))
            upright = ImageOps.exif_transpose(image)
            scaled = _in_mode(upright, channels).resize((width, height), Image.Resampling.LANCZOS)
    except Refusal:
        raise
    except Exception as error:  # decoders of damaged files raise all kinds
        raise Refusal(
            400, f"no {format} image, or a damaged one: {one_line(str(error), 120)}"
        ) from None
    values = np.asarray(scaled, np.float32).reshape(height, width, channels)
    values = np.clip(values.transpose(2, 0, 1), 0, 255).reshape(1, *kind.shape)
    if kind.dtype != "uint8":
        values = values / np.float32(255)
    return np.ascontiguousarray(values.astype(kind.dtype))


def _in_mode(image: Any, channels: int) -> Any:
    """Bytes of grey, RGB or RGBA; 16-bit grey keeps its range."""
    from PIL import Image

    if image.mode.startswith("I"):
        wide = np.clip(np.asarray(image), 0, 65535).astype(np.uint32)
        image = Image.fromarray(((wide + 128) // 257).astype(np.uint8))
    return image.convert({1: "L", 3: "RGB", 4: "RGBA"}[channels])
