"""Statements of random programs: each a function from the choices to source text.

A statement is ``(text, exact)``: Python source over ``t``, either library, that assigns ``NEW`` or works in
place; ``exact`` says whether its results are free of rounding. None: nothing fits yet.
"""

from __future__ import annotations

from typing import Any

from tests.programs.newer import draw_newer
from tests.programs.values import DTYPES, FLOATS, Draw, Variable

Statement = tuple[str, bool] | None

EXACT_UNARY = ("neg", "abs", "relu", "sign", "square", "positive", "isnan", "isinf", "logical_not")
STEP_UNARY = ("floor", "ceil", "trunc", "round", "frac")
SMOOTH_UNARY = (
    "exp", "sin", "cos", "tanh", "sigmoid", "erf", "atan", "expm1", "asinh", "softplus", "silu", "gelu", "logsigmoid",
    "sinc",
)  # fmt: skip
EDGED_UNARY = ("sqrt", "log", "log1p", "rsqrt", "reciprocal")  # of exact operands only, as steps
EXACT_BINARY = ("+", "-", "*")
STEP_BINARY = ("//", "%", "<", "<=", ">", ">=", "==", "!=", "&", "|", "^")
NAMED_BINARY = (
    "maximum",
    "minimum",
    "remainder",
    "fmod",
    "floor_divide",
    "logical_and",
    "logical_or",
    "logical_xor",
)
SMOOTH_BINARY = ("logaddexp",)
EDGED_BINARY = ("/", "atan2", "pow", "xlogy")
FUNCTIONAL = ("relu", "softplus", "silu", "gelu", "logsigmoid")


def _float(v: Variable) -> bool:
    return v.is_float


def _exact(v: Variable) -> bool:
    return v.exact


def _some(v: Variable) -> bool:
    return v.ndim > 0


def _without_infinity(v: Variable) -> bool:
    return not (v.is_float and bool(v.value.isinf().any()))


def _small_or_exact(v: Variable) -> bool:
    return v.exact or not v.is_float or not bool((v.value.abs() > 100).any())


def _unequal(v: Variable) -> bool:
    """Whether it does not matter which of equal elements gets a gradient: PyTorch does not say."""
    return v.is_complex or not v.value.requires_grad or v.value.unique().numel() == v.value.numel()


# what operands must be: steps are taken of exact ones; PyTorch's gelu of infinity is NaN in float32, infinity in float64; what rounding
# has left in large angles is all that their sines differ by
MUST = {
    "median": (_exact, _unequal),
    "sign": (_exact,), "logical_not": (_exact,),
    "gelu": (_without_infinity,), "sin": (_small_or_exact,), "cos": (_small_or_exact,), "sinc": (_small_or_exact,),
}  # fmt: skip


def create(draw: Draw) -> Statement:
    """A tensor from a literal; floats sometimes ask for a gradient."""
    dtype = draw.rng.choice((*FLOATS, *FLOATS, *FLOATS, *DTYPES))
    text = f"NEW = t.tensor({draw.literal(draw.shape(), dtype)}, dtype=t.{dtype})"
    if dtype in FLOATS and draw.rng.random() < 0.5:
        text += ".requires_grad_()"
    return text, True


def unary(draw: Draw) -> Statement:
    """A function of one operand, by the module or as a method."""
    group = draw.rng.choice((EXACT_UNARY, STEP_UNARY, SMOOTH_UNARY, EDGED_UNARY))
    name = draw.rng.choice(group)
    must = (_exact,) if group in (STEP_UNARY, EDGED_UNARY) else MUST.get(name, ())
    x = draw.variable(must=must)
    if x is None:
        return None
    where = "t.nn.functional" if name in FUNCTIONAL else "t"
    return f"NEW = {where}.{name}({x.name})", x.exact and group in (EXACT_UNARY, STEP_UNARY)


def _operands(draw: Draw, *must: Any) -> tuple[Variable, str, bool] | None:
    """A variable, and text for another operand: a variable that broadcasts, a number, or a literal."""
    x = draw.variable(must=must)
    if x is None:
        return None
    choice = draw.rng.random()
    if choice < 0.4:
        y = draw.variable(lambda v: _broadcast(v.shape, x.shape), must=must)
        if y is not None:
            return x, y.name, x.exact and y.exact
    if choice < 0.75:
        return x, draw.number(x.dtype), x.exact
    dtype = draw.rng.choice((x.dtype, x.dtype, *DTYPES))
    return x, f"t.tensor({draw.literal(draw.sizes_like(x.shape), dtype)}, dtype=t.{dtype})", x.exact


def _broadcast(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    return all(m == n or 1 in (m, n) for m, n in zip(a[::-1], b[::-1], strict=False))


def binary(draw: Draw) -> Statement:
    """Two operands, in either order."""
    group = draw.rng.choice((
        EXACT_BINARY, EXACT_BINARY, STEP_BINARY, NAMED_BINARY, SMOOTH_BINARY, EDGED_BINARY, EDGED_BINARY,
    ))  # fmt: skip
    steps = group not in (EXACT_BINARY, SMOOTH_BINARY)
    found = _operands(draw, *((_exact,) if steps else ()))
    if found is None:
        return None
    x, other, exact = found
    op = draw.rng.choice(group)
    if op.isidentifier():
        if not other.startswith(("t.", "x")):
            other = f"t.tensor({other})"
        return f"NEW = t.{op}({x.name}, {other})", exact and group not in (
            SMOOTH_BINARY,
            EDGED_BINARY,
        )
    left, right = (x.name, other) if draw.rng.random() < 0.7 else (other, x.name)
    return f"NEW = {left} {op} {right}", exact and group not in (SMOOTH_BINARY, EDGED_BINARY)


def where(draw: Draw) -> Statement:
    """A choice of elements."""
    found = _operands(draw, _exact)
    if found is None:
        return None
    x, other, exact = found
    return f"NEW = t.where({x.name} > {draw.number(x.dtype)}, {x.name}, {other})", exact


def reduce(draw: Draw) -> Statement:
    """A reduction of all, one, or some dimensions."""
    exact_names = (
        "sum",
        "amax",
        "amin",
        "any",
        "all",
        "argmax",
        "argmin",
        "count_nonzero",
        "max",
        "min",
        "median",
    )
    smooth = ("mean", "prod", "logsumexp", "std", "var", "norm", "softmax", "log_softmax", "nansum")
    steps = draw.rng.random() < 0.5
    name = draw.rng.choice(exact_names if steps else smooth)
    x = draw.variable(must=MUST.get(name, (_exact,))) if steps else draw.variable(_float)
    if x is None:
        return None
    dim = draw.dim(x.ndim)
    keep = draw.rng.choice(("", ", keepdim=True"))
    if name in ("softmax", "log_softmax", "count_nonzero"):
        return f"NEW = t.{name}({x.name}, dim={dim})", False
    if name == "median":  # PyTorch's reads beyond expanded memory
        return f"NEW = t.median({x.name}.contiguous(), {dim}{keep})[0]", x.exact
    if name in ("max", "min"):
        return f"NEW = t.{name}({x.name}, {dim}{keep})[0]", x.exact
    if name == "norm":
        return f"NEW = {x.name}.norm(dim={dim}{keep})", False
    dims = (
        f"({dim}, {draw.dim(x.ndim)})"
        if name in ("sum", "mean", "amax") and draw.rng.random() < 0.2
        else str(dim)
    )
    if draw.rng.random() < 0.25 and name != "logsumexp":
        return f"NEW = {x.name}.{name}()", x.exact and steps
    return f"NEW = {x.name}.{name}(dim={dims}{keep})", x.exact and steps


def scan(draw: Draw) -> Statement:
    """Running totals, orders, selections along a dimension."""
    x = draw.variable(must=(_exact,))
    if x is None:
        return None
    dim = draw.dim(x.ndim)
    size = x.shape[dim] if x.ndim and -x.ndim <= dim < x.ndim else 1
    k = draw.rng.randint(0, size + (1 if draw.slip() else 0))
    largest = draw.rng.choice(("True", "False"))
    selections = (
        f"NEW = t.topk({x.name}, {k}, {dim}, {largest})[0]",
        f"NEW = t.kthvalue({x.name}, {max(k, 1)}, {dim})[0]",
    )
    return draw.rng.choice((
        *(selections if _unequal(x) else ()),
        f"NEW = t.cumsum({x.name}, {dim})",
        f"NEW = t.sort({x.name}, {dim}, {largest})[0]",
        f"NEW = t.sort({x.name}, dim={dim}, descending={largest}, stable=True)[1]",
        f"NEW = t.cummax({x.name}, {dim})[0]",
        f"NEW = t.diff({x.name}, dim={dim})" if draw.slip() else f"NEW = t.flip({x.name}, [{dim}])",
    )), x.exact  # fmt: skip


def view(draw: Draw) -> Statement:
    """The same memory in another form."""
    x = draw.variable()
    if x is None:
        return None
    rng, n, name = draw.rng, x.ndim, x.name
    a, b = draw.dim(n), draw.dim(n)
    order = list(range(n))
    rng.shuffle(order)
    choices = [
        f"{name}.unsqueeze({a})", f"{name}.squeeze()", f"{name}.squeeze({a})", f"{name}.transpose({a}, {b})",
        f"{name}.permute({', '.join(map(str, order))})" if n else f"{name}.view(1)", f"{name}.detach()",
        f"{name}.reshape(-1)", f"{name}.view(-1)", f"{name}.flatten()", f"{name}[None]", f"{name}[..., None]",
        f"{name}.expand({', '.join(map(str, (rng.randint(1, 3), *x.shape)))})", f"{name}.reshape({_regroup(draw, x)})",
    ]  # fmt: skip
    if n:
        choices += [f"{name}{_basic_index(draw, x)}"] * 5
        size = x.shape[a] if -n <= a < n else 1
        start = rng.randint(0, size)
        choices += [
            f"{name}.narrow({a}, {start}, {rng.randint(0, size - start)})",
            f"{name}.select({a}, {rng.randint(-size - draw.slip(), size - 1) if size else 0})",
            f"t.chunk({name}, {rng.randint(1, 3)}, {a})[0]", f"t.split({name}, {rng.randint(1, 3)}, {a})[-1]",
            f"t.unbind({name}, {a})[0]", f"{name}.movedim({a}, {b})", f"{name}.unfold({a}, {rng.randint(1, max(size, 1))}, {rng.randint(1, 2)})",
        ]  # fmt: skip
    if n >= 2:
        choices += [f"t.diagonal({name}, {rng.randint(-1, 1)}, {a}, {b})", f"{name}.mT"]
    return "NEW = " + rng.choice(choices), x.exact


def _regroup(draw: Draw, x: Variable) -> str:
    count = x.value.numel()
    divisors = [d for d in range(1, count + 1) if count % d == 0] or [0]
    d = draw.rng.choice(divisors)
    return f"{d}, {count // d if d else 2}"


def _slice(draw: Draw, size: int) -> str:
    rng = draw.rng
    start = rng.choice(("", "", str(rng.randint(-size - 1, size))))
    stop = rng.choice(("", "", str(rng.randint(-size - 1, size + 1))))
    return f"{start}:{stop}{rng.choice(('', '', '', ':2', ':3'))}"


def _basic_index(draw: Draw, x: Variable) -> str:
    """Integers, slices, None and an ellipsis."""
    parts = []
    for size in x.shape[: draw.rng.randint(1, x.ndim)]:
        choice = draw.rng.random()
        if choice < 0.3 and size:
            parts.append(str(draw.rng.randint(-size - draw.slip(), size - 1 + draw.slip())))
        elif choice < 0.4:
            parts.append("None")
        else:
            parts.append(_slice(draw, size))
    if draw.rng.random() < 0.15:
        parts.insert(draw.rng.randint(0, len(parts)), "...")
    return f"[{', '.join(parts)}]"


def index_text(draw: Draw, x: Variable) -> str:
    """Any index: basic, by lists, tensors, masks."""
    rng = draw.rng
    if not x.ndim:
        return rng.choice(("[...]", "[()]", "[None]"))
    size = x.shape[0]
    choice = rng.random()
    if choice < 0.4:
        return _basic_index(draw, x)
    if choice < 0.55 and x.exact:
        return f"[{x.name} > {draw.number(x.dtype)}]"
    if not size:
        return "[[]]"
    picks = [rng.randint(-size, size - 1 + draw.slip()) for _ in range(rng.randint(0, 4))]
    if choice < 0.75:
        return f"[{picks}]"
    if choice < 0.9 or x.ndim < 2 or not x.shape[1]:
        return f"[t.tensor({picks}, dtype=t.{rng.choice(('int64', 'int64', 'int32'))})]"
    others = [rng.randint(-x.shape[1], x.shape[1] - 1) for _ in picks]
    return rng.choice((f"[{picks}, {others}]", f"[:, {others}]", f"[..., None, {picks[:0] or 0}]"))


def index(draw: Draw) -> Statement:
    """Elements by any index."""
    x = draw.variable()
    return None if x is None else (f"NEW = {x.name}{index_text(draw, x)}", x.exact)


def gather(draw: Draw) -> Statement:
    """Elements by indices along a dimension."""
    x = draw.variable(_some)
    if x is None or not x.ndim:
        return None
    dim = draw.dim(x.ndim)
    size = x.shape[dim] if -x.ndim <= dim < x.ndim else 1
    picks = [
        draw.rng.randint(0, max(size - 1, 0) + draw.slip()) for _ in range(draw.rng.randint(0, 4))
    ]
    shape = [n if i != dim % x.ndim else len(picks) for i, n in enumerate(x.shape)]
    wide = f"t.tensor({picks}, dtype=t.int64).reshape({[-1 if i == dim % x.ndim else 1 for i in range(x.ndim)]}).expand({shape})"
    return draw.rng.choice((
        f"NEW = t.index_select({x.name}, {dim}, t.tensor({picks}, dtype=t.int64))",
        f"NEW = t.gather({x.name}, {dim}, {wide})" if picks else f"NEW = t.roll({x.name}, 1, {dim})",
        f"NEW = t.roll({x.name}, {draw.rng.randint(-3, 3)}, {dim})",
        f"NEW = t.repeat_interleave({x.name}, 2, dim={dim})",
        f"NEW = t.masked_select({x.name}, {x.name} == {draw.number(x.dtype)})" if x.exact else f"NEW = {x.name}.clone()",
    )), x.exact  # fmt: skip


def join(draw: Draw) -> Statement:
    """Several tensors in one."""
    x = draw.variable()
    if x is None:
        return None
    y = draw.variable(lambda v: v.shape == x.shape) or x
    dim = draw.dim(x.ndim)
    exact = x.exact and y.exact
    return draw.rng.choice((
        f"NEW = t.cat([{x.name}, {y.name}], {dim})", f"NEW = t.stack([{x.name}, {y.name}], {dim})",
        f"NEW = {x.name}.repeat({', '.join(['2', *['1'] * x.ndim])})", f"NEW = t.tile({x.name}, (2,))",
        f"NEW = t.nn.functional.pad({x.name}, ({draw.rng.randint(-1, 2)}, {draw.rng.randint(-1, 2)}))",
        f"NEW = t.tril({x.name})", f"NEW = {x.name}.clone()", f"NEW = {x.name}.contiguous()",
        f"NEW = t.broadcast_to({x.name}, {(2, *x.shape)})",
    )), exact  # fmt: skip


def product(draw: Draw) -> Statement:
    """A matrix product, of fitting operands."""
    x = draw.variable(_some, _float)
    if x is None or not x.ndim:
        return None
    inner = x.shape[-1]
    y = draw.variable(
        _some, lambda v: v.dtype == x.dtype and v.shape[-2 if v.ndim > 1 else -1] == inner
    )
    if y is None:
        y_text = f"t.tensor({draw.literal((inner, draw.rng.randint(1, 3)), x.dtype)}, dtype=t.{x.dtype}).reshape({inner}, -1)"
        return (f"NEW = {x.name} @ {y_text}", False) if inner else None
    return draw.rng.choice(
        (f"NEW = {x.name} @ {y.name}", f"NEW = t.matmul({x.name}, {y.name})")
    ), False


def convert(draw: Draw) -> Statement:
    """Another dtype."""
    x = draw.variable(must=(_exact,))
    if x is None:
        return None
    dtype = draw.rng.choice(DTYPES)
    whole = (
        ""
        if dtype in FLOATS or not x.is_float
        else ".nan_to_num()"
        if draw.slip()
        else ".clamp(0, 9)"
    )
    return f"NEW = {x.name}{whole}.to(t.{dtype})", True


def in_place(draw: Draw) -> Statement:
    """A method that writes over its tensor."""
    x = draw.variable()
    if x is None:
        return None
    found = _operands(draw)
    other, exact = (found[1], found[2]) if found else ("1", True)
    if draw.rng.random() < 0.6:
        other, exact = draw.number(x.dtype), True
    exact = exact and x.exact
    number = draw.number(x.dtype)
    name = x.name
    mask = f"{name} != {number}" if x.exact else f"t.isnan({name})"
    return draw.rng.choice((
        (f"{name}.add_({other})", exact), (f"{name}.mul_({other})", exact), (f"{name}.sub_({other})", exact),
        (f"{name} += {other}", exact), (f"{name} *= {other}", exact), (f"{name}.copy_({other})", exact) if not other[0].isdigit() else (f"{name}.zero_()", exact),
        (f"{name}.fill_({number})", exact), (f"{name}.zero_()", exact), (f"{name}.neg_()", exact), (f"{name}.abs_()", exact),
        (f"{name}.clamp_(min={number})", exact), (f"{name}.clamp_(max={number})", exact), (f"{name}.exp_()", False), (f"{name}.tanh_()", False),
        (f"{name}.div_({other})", False), (f"{name}.masked_fill_({mask}, {draw.number(x.dtype)})", exact and x.exact),
        (f"{name}.relu_()", exact), (f"{name}.pow_(2)", exact), (f"{name}.transpose_({draw.dim(x.ndim)}, {draw.dim(x.ndim)})", exact),
        (f"{name}.unsqueeze_({draw.dim(x.ndim)})", exact), (f"{name}.squeeze_()", exact),
    ))  # fmt: skip


def assign(draw: Draw) -> Statement:
    """A write to elements by an index."""
    x = draw.variable()
    if x is None:
        return None
    place = index_text(draw, x)
    y = draw.variable(lambda v: v.ndim <= 1, must=(_exact,))
    value = y.name if y is not None and draw.rng.random() < 0.3 else draw.number(x.dtype)
    operator = draw.rng.choice(("=", "=", "=", "+=", "*="))
    return f"{x.name}{place} {operator} {value}", x.exact


def scatter(draw: Draw) -> Statement:
    """Writes by indices along a dimension."""
    x = draw.variable(_some)
    if x is None or not x.ndim:
        return None
    dim = draw.dim(x.ndim) % x.ndim
    size = x.shape[dim]
    if not size:
        return None
    picks = draw.rng.sample(range(size), draw.rng.randint(1, size))
    if draw.slip():
        picks.append(size)
    ids = f"t.tensor({picks}, dtype=t.int64)"
    source = f"{x.name}.detach().clone().narrow({dim}, 0, {min(len(picks), size)})"
    number = draw.number(x.dtype)
    wide = f"{ids}.reshape({[-1 if i == dim else 1 for i in range(x.ndim)]}).expand({[len(picks) if i == dim else n for i, n in enumerate(x.shape)]})"
    return draw.rng.choice((
        f"{x.name}.index_add_({dim}, {ids}, {source})", f"{x.name}.index_copy_({dim}, {ids}, {source})",
        f"{x.name}.index_fill_({dim}, {ids}, {number})", f"{x.name}.scatter_({dim}, {wide}, {number})",
        f"NEW = {x.name}.scatter({dim}, {wide}, {source})", f"NEW = {x.name}.scatter_add({dim}, {wide}, {source})",
        f"NEW = {x.name}.index_fill({dim}, {ids}, {number})", f"NEW = t.take_along_dim({x.name}, {wide}, {dim})",
    )), x.exact  # fmt: skip


def gradient(draw: Draw) -> Statement:
    """Derivatives of a sum, kept or accumulated."""
    x = draw.variable(lambda v: v.value.requires_grad)
    leaf = draw.variable(lambda v: v.value.requires_grad and v.value.is_leaf)
    if x is None:
        return None
    loss = draw.rng.choice((f"{x.name}.sum()", f"({x.name} * {x.name}).sum()"))
    if leaf is None or draw.rng.random() < 0.4:
        return f"{loss}.backward(retain_graph=True)", False
    create = draw.rng.choice(("False", "True"))
    return (  # PyTorch's may be expanded memory, whose elements are written together
        f"NEW = t.autograd.grad({loss}, {leaf.name}, retain_graph=True, create_graph={create}, "
        f"materialize_grads=True)[0].clone()",
        False,
    )


WEIGHTS = {
    create: 4, unary: 6, binary: 10, where: 2, reduce: 5, scan: 3, view: 12, index: 5, gather: 3, join: 4, product: 2,
    convert: 2, in_place: 8, assign: 5, scatter: 3, gradient: 4,
}  # fmt: skip


def draw_statement(draw: Draw) -> tuple[str, bool]:
    """The next statement of the program."""
    kinds, weights = list(WEIGHTS), list(WEIGHTS.values())
    while True:
        newer = draw.newer and draw.rng.random() < 0.6
        made = draw_newer(draw) if newer else draw.rng.choices(kinds, weights)[0](draw)
        if made is not None:
            return made
