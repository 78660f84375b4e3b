"""Boxes, grids and regions of images, and n-grams of tokens."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import tilegrad
from tilegrad.autograd.tensor import Tensor
from tilegrad.nn import functional as F
from tilegrad.onnx.tables.call import Call, checked_sizes, constant, ints, number, says

_MODES = {
    "linear": "bilinear",
    "bilinear": "bilinear",
    "nearest": "nearest",
    "cubic": "bicubic",
    "bicubic": "bicubic",
}


@says("GridSample")
def _grid_sample(call: Call, x: Tensor, grid: Tensor) -> Tensor:
    mode = _MODES[call.get("mode", "linear")]
    how = {
        "padding_mode": call.get("padding_mode", "zeros"),
        "align_corners": bool(call.get("align_corners", 0)),
    }
    return F.grid_sample(x, grid, mode=mode, **how)


@says("AffineGrid")
def _affine_grid(call: Call, theta: Tensor, size: Tensor) -> Tensor:
    sizes = checked_sizes(call, ints(size))
    return F.affine_grid(theta, list(sizes), align_corners=bool(call.get("align_corners", 0)))


def _overlap(a: list[float], b: list[float]) -> float:
    """Shared area of two boxes (y0, x0, y1, x1) over that of both."""
    height = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    width = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    shared = height * width
    total = sum((q[2] - q[0]) * (q[3] - q[1]) for q in (a, b)) - shared
    return shared / total if total > 0 else 0.0


@says("NonMaxSuppression")
def _suppress(
    call: Call, boxes: Tensor, scores: Tensor, most: Tensor | None = None, overlap: Tensor | None = None,
    least: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Of each class of each image the best boxes, none of which overlaps a better one."""
    limit, shared, low = number(most, 0), number(overlap, 0.0), number(least, -math.inf)
    center = call.get("center_point_box", 0)
    found: list[list[int]] = []
    for n, image in enumerate(boxes.tolist()):
        if center:
            image = [[y - h / 2, x - w / 2, y + h / 2, x + w / 2] for x, y, w, h in image]
        else:
            image = [
                [min(q[0], q[2]), min(q[1], q[3]), max(q[0], q[2]), max(q[1], q[3])] for q in image
            ]
        for c, row in enumerate(scores[n].tolist()):
            kept: list[int] = []
            for k in sorted(range(len(row)), key=lambda k: -row[k]):
                if len(kept) >= limit or row[k] <= low:
                    break
                if all(_overlap(image[k], image[j]) <= shared for j in kept):
                    kept.append(k)
            found += [[n, c, k] for k in kept]
    return constant(np.array(found, np.int64).reshape(-1, 3))


@says("RoiAlign")
def _roi_align(call: Call, x: Tensor, rois: Tensor, members: Tensor) -> Tensor:
    height, width = call.get("output_height", 1), call.get("output_width", 1)
    ratio, scale = call.get("sampling_ratio", 0), call.get("spatial_scale", 1.0)
    half = (
        0.5
        if call.get(
            "coordinate_transformation_mode",
            "half_pixel" if call.version >= 16 else "output_half_pixel",
        )
        == "half_pixel"
        else 0.0
    )
    made = []
    for box, member in zip(rois.tolist(), ints(members), strict=True):
        x0, y0, x1, y1 = (v * scale - half for v in box)
        w, h = x1 - x0, y1 - y0
        if not half:
            w, h = max(w, 1.0), max(h, 1.0)
        rows = _samples(y0, h, height, ratio or math.ceil(h / height), x.shape[2])
        columns = _samples(x0, w, width, ratio or math.ceil(w / width), x.shape[3])
        made.append(_region(x[member], rows, columns, call.get("mode", "avg")))
    return tilegrad.stack(made, 0)


def _samples(
    first: float, extent: float, bins: int, each: int, n: int
) -> list[list[list[tuple[int, float]]]]:
    """Per bin, per sample the elements that it lies between, with their shares; none outside."""
    found = []
    for b in range(bins):
        row: list[list[tuple[int, float]]] = []
        for s in range(each):
            at = first + extent / bins * (b + (s + 0.5) / each)
            if at < -1.0 or at > n:
                row.append([])
                continue
            at = min(max(at, 0.0), n - 1.0)
            low = min(math.floor(at), n - 1)
            high = min(low + 1, n - 1)
            row.append([(low, 1 - (at - low)), (high, at - low)])
        found.append(row)
    return found


def _region(image: Tensor, rows: Any, columns: Any, mode: str) -> Tensor:
    """The means, or largest shares, of samples of (C, H, W) in bins."""
    made = []
    for bin_rows in rows:
        line = []
        for bin_columns in columns:
            samples = []
            for r in bin_rows:
                for c in bin_columns:
                    terms = [image[:, i, j] * (a * b) for i, a in r for j, b in c]
                    samples.append(terms or [image[:, 0, 0] * 0.0])
            if mode == "avg":
                total = sum((t for s in samples for t in s), image[:, 0, 0] * 0.0)
                line.append(total / len(samples))
            else:
                line.append(tilegrad.stack([t for s in samples for t in s], 0).amax(0))
        made.append(tilegrad.stack(line, 1))
    return tilegrad.stack(made, 1)


@says("TfIdfVectorizer")
def _tfidf(call: Call, x: Tensor) -> Tensor:
    """How often each n-gram of the pool stands in a row, with gaps of up to some elements."""
    pool = call.get("pool_int64s")
    if pool is None:
        raise call.refuse("a pool of strings")
    starts, places = [*call.get("ngram_counts"), len(pool)], call.get("ngram_indexes")
    known, item = {}, 0
    for length in range(1, len(starts)):
        for at in range(starts[length - 1], starts[length], length):
            known[tuple(pool[at : at + length])] = places[item]
            item += 1
    weights = call.get("weights")
    rows = x.reshape(-1, x.shape[-1]).tolist() if x.ndim > 1 else [x.tolist()]
    width = max(places) + 1
    table = np.zeros((len(rows), width), np.float32)
    low, high, skips = (
        call.get("min_gram_length"),
        call.get("max_gram_length"),
        call.get("max_skip_count"),
    )
    for r, row in enumerate(rows):
        for length in range(low, high + 1):
            for gap in range(1, (1 if length == 1 else skips + 1) + 1):
                for first in range(len(row) - (length - 1) * gap):
                    gram = tuple(row[first : first + (length - 1) * gap + 1 : gap])
                    if gram in known:
                        table[r, known[gram]] += 1
    scale = np.ones(width, np.float32)
    if weights is not None:
        for place, weight in zip(places, weights, strict=True):
            scale[place] = weight
    mode = call.get("mode")
    counted = constant(table)
    if mode == "IDF":
        counted = (counted > 0).to(counted.dtype)
    made = counted if mode == "TF" else counted * constant(scale)
    return made if x.ndim > 1 else made[0]
