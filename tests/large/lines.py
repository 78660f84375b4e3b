"""Programs over lines: softmax, losses, reductions, scans, sorts, elementwise formulas."""

from __future__ import annotations

import math

from tests.large.program import BOOL, DISTINCT, FLOAT, POSITIVE, UNIT, Draw


def softmax(d: Draw) -> str:
    """softmax, log_softmax, logsumexp, softmin."""
    shape = d.shape(d.int(1, 4))
    way = d.pick("F.softmax", "F.softmax", "F.log_softmax", "F.log_softmax", "lib.logsumexp")
    return f"{way}({d.array(shape)}, dim={d.int(0, len(shape) - 1)})"


def cross_entropy(d: Draw) -> str:
    """cross_entropy and nll_loss: of rows and images, weighted, smoothed, with targets ignored."""
    rank = d.pick(2, 2, 2, 3, 4)
    shape = d.shape(rank)
    classes, rest = shape[1], (shape[0], *shape[2:])
    reduction = d.pick("mean", "sum", "none")
    way = d.pick("cross_entropy", "cross_entropy", "nll_loss", "probabilities")
    if way == "probabilities":
        x, y = d.array(shape), d.array(shape, UNIT)
        return f"F.cross_entropy({x}, {y}, reduction={reduction!r})"
    if classes == 1:  # the gradient is 0: all of it cancels
        d.program.least = 1.0
    x, y = d.array(shape), d.index(rest, classes)
    weight = d.array((classes,), POSITIVE, fixed=True) if d.chance(0.4) else None
    options = f"weight={weight}, reduction={reduction!r}"
    if d.chance(0.3):
        options += f", ignore_index={d.int(0, classes - 1) if classes > 1 else -100}"
    if way == "nll_loss":
        return f"F.nll_loss({x}, {y}, {options})"
    if d.chance(0.3):
        options += ", label_smoothing=0.2"
    return f"F.cross_entropy({x}, {y}, {options})"


def loss(d: Draw) -> str:
    """The losses that compare element with element."""
    shape, reduction = d.shape(d.int(1, 3)), d.pick("mean", "sum", "none")
    way = d.pick("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "kl_div",
                 "binary_cross_entropy", "binary_cross_entropy_with_logits", "poisson_nll_loss",
                 "soft_margin_loss")  # fmt: skip
    first = {"binary_cross_entropy": UNIT}.get(way, FLOAT)
    if way == "soft_margin_loss":
        y = d.array(shape, "rng.choice([-1.0, 1.0], {shape}).astype(dtype)", fixed=True)
    else:
        second = UNIT if way in ("kl_div", "poisson_nll_loss") or "binary" in way else FLOAT
        y = d.array(shape, second, fixed="binary" in way or way == "poisson_nll_loss")
    x = d.array(shape, first)
    return f"F.{way}({x}, {y}, reduction={reduction!r})"


def _dims(d: Draw, rank: int) -> tuple[int, ...]:
    return tuple(sorted(int(i) for i in d.rng.permutation(rank)[: d.int(1, rank)]))


def reduction(d: Draw) -> str:
    """Sums and their kin along any dimensions, in any layout."""
    shape = d.shape(d.int(1, 5))
    rank, keep = len(shape), f"keepdim={d.chance(0.4)}"
    way = d.pick("sum", "sum", "mean", "var", "std", "amax", "amin", "max", "min", "argmax", "argmin",
                 "prod", "norm", "all", "any", "count_nonzero", "sum int", "aminmax", "var_mean")  # fmt: skip
    dims, dim = _dims(d, rank), d.int(0, rank - 1)
    if way in ("sum", "mean", "amax", "amin"):
        x = d.array(shape, DISTINCT if way.startswith("a") else FLOAT)
        terms = math.prod(shape[i] for i in dims)
        if not way.startswith("a"):
            d.program.cancels = math.sqrt(terms) / (terms if way == "mean" else 1) / 10
        return f"{x}.{way}(dim={dims}, {keep})"
    if way in ("var", "std", "var_mean"):
        d.program.tolerance = 5.0
        terms = math.prod(shape[i] for i in dims)
        unbiased = terms > 1 and d.chance(0.5)
        x = d.array(shape)
        if way == "std" and terms < 8:
            way = "var"  # the gradient of std keeps few digits where terms are close, none at 0
        call = f"lib.{way}({x}, dim={dims}, correction={int(unbiased)}, {keep})"
        return call
    if way in ("max", "min", "argmax", "argmin"):
        found = f"lib.{way}({d.array(shape, DISTINCT)}, dim={dim}, {keep})"
        return found
    if way == "aminmax":
        return f"lib.aminmax({d.array(shape, DISTINCT)}, dim={dim}, {keep})"
    if way == "prod":
        # A product of n factors loses n roundings; where all are near 1 they do not even out: the
        # product of two errors falls below half a unit, most often on the side of 0. 0.04 units a
        # factor were measured here, 0.01 in PyTorch, none where partial products leave 1 soon.
        d.program.tolerance = max(20.0, shape[dim] * 6e-8 / 2e-5 / 10)
        near = (
            "(1 + 0.1 * rng.standard_normal({shape}) / "
            + str(math.sqrt(shape[dim]))
            + ").astype(dtype)"
        )
        return f"{d.array(shape, near)}.prod(dim={dim}, {keep})"
    if way == "norm":
        power = d.pick(1, 2, 3, "float('inf')")
        x = d.array(shape, DISTINCT if isinstance(power, str) else POSITIVE)
        return f"{x}.norm(p={power}, dim={dims}, {keep})"
    if way == "sum int":
        kind = d.pick("int8", "uint8", "int32", "int64", "int16")
        return (
            f"{d.array(shape, f'rng.integers(0, 100, {{shape}}).astype({kind!r})')}.sum(dim={dims})"
        )
    x = d.array(shape, BOOL)
    return (
        f"lib.count_nonzero({x}, dim={dims})" if way == "count_nonzero" else f"{x}.{way}(dim={dim})"
    )


def scan(d: Draw) -> str:
    """Running sums, products, extremes."""
    shape = d.shape(d.int(1, 4))
    dim = d.int(0, len(shape) - 1)
    way = d.pick("cumsum", "cumsum", "cumprod", "cummax", "cummin", "logcumsumexp", "cumsum int")
    d.program.tolerance = 10.0  # a running total is rounded at every step
    if way == "cumprod":
        near = (
            "(1 + 0.1 * rng.standard_normal({shape}) / "
            + str(math.sqrt(shape[dim]))
            + ").astype(dtype)"
        )
        return f"{d.array(shape, near)}.cumprod(dim={dim})"
    if way == "cumsum int":
        kind = d.pick("uint8", "int16", "int64")
        return f"{d.array(shape, f'rng.integers(0, 100, {{shape}}).astype({kind!r})')}.cumsum(dim={dim})"
    x = d.array(shape, DISTINCT if way in ("cummax", "cummin") else FLOAT)
    return f"lib.{way}({x}, dim={dim})"


def sort(d: Draw) -> str:
    """sort, argsort, topk, kthvalue, median, of values that differ, and of integers that do not."""
    shape = d.shape(d.int(1, 4), d.sizes.elements // 2)
    dim = d.int(0, len(shape) - 1)
    n = shape[dim]
    way = d.pick("sort", "sort", "argsort", "topk", "topk", "kthvalue", "median", "sort int")
    if way == "sort int":
        kind = d.pick("uint8", "int16", "int32", "int64")
        x = d.array(shape, f"rng.integers(0, 120, {{shape}}).astype({kind!r})")
        return f"lib.sort({x}, dim={dim}, descending={d.chance(0.5)})[0]"
    x = d.array(shape, DISTINCT)
    if way in ("sort", "argsort"):
        return f"lib.{way}({x}, dim={dim}, descending={d.chance(0.5)})"
    if way == "topk":
        return f"lib.topk({x}, {d.size(n)}, dim={dim}, largest={d.chance(0.5)})"
    if way == "kthvalue":
        return f"lib.kthvalue({x}, {d.size(n)}, dim={dim})"
    return f"lib.median({x}, dim={dim})"


def elementwise(d: Draw) -> str:
    """Formulas of one, two and three operands, broadcast and laid out in any way."""
    shape = d.shape(d.int(1, 5))
    way = d.pick("gelu", "silu", "exp", "tanh", "sigmoid", "sqrt", "log1p", "relu", "leaky_relu",
                 "two", "two", "two", "where", "addcmul", "lerp", "clamp")  # fmt: skip
    if way in ("two", "where", "addcmul", "lerp"):
        wide = lambda: tuple(1 if d.chance(0.3) else n for n in shape)[
            d.int(0, len(shape)) * d.chance(0.3) :
        ]
        x, y = d.array(shape, POSITIVE), d.array(wide(), POSITIVE)
        if way == "where":
            return f"lib.where({d.array(wide(), BOOL)}, {x}, {y})"
        if way == "addcmul":
            return f"lib.addcmul({x}, {y}, {d.array(wide())}, value=0.5)"
        if way == "lerp":
            return f"lib.lerp({x}, {d.array(shape)}, {y})"
        return d.pick(f"{x} + {y}", f"{x} * {y}", f"{x} - {y}", f"{x} / {y}", f"{x} ** {y}",
                      f"lib.atan2({x}, {y})", f"lib.hypot({x}, {y})", f"lib.maximum({x}, {y})")  # fmt: skip
    x = d.array(shape, POSITIVE if way in ("sqrt", "log1p") else FLOAT)
    if way == "clamp":
        return f"{x}.clamp(-0.5, 0.7)"
    where = "F" if way in ("gelu", "silu", "relu", "leaky_relu") else "lib"
    return f"{where}.{way}({x})"


TABLE = {
    "softmax": softmax, "cross_entropy": cross_entropy, "loss": loss, "reduction": reduction,
    "scan": scan, "sort": sort, "elementwise": elementwise,
}  # fmt: skip
