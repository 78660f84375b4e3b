"""Products over named dimensions: einsum and what is said by it.

An equation is planned once for its operands' shapes: which dimensions are diagonals, which are summed alone,
in what order operands meet in pairs, and the matrix product that each pair is.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from tilegrad.autograd.annotations import Tensor
from tilegrad.autograd.base import TensorBase
from tilegrad.autograd.later import of_one
from tilegrad.autograd.rules import view
from tilegrad.autograd.rules.assign import before, overwrite
from tilegrad.autograd.rules.elementwise import to_dtype
from tilegrad.autograd.rules.matmul import matmul, outer, scaled
from tilegrad.autograd.rules.operands import Scalar
from tilegrad.autograd.rules.pointwise import mul
from tilegrad.autograd.rules.reduce import sum
from tilegrad.autograd.rules.resize import resize_
from tilegrad.autograd.rules.subscripts import Label, Labels, read
from tilegrad.engine import dtype as dt
from tilegrad.engine.dtype import bool_
from tilegrad.engine.shape import Shape, normalize_dim, numel

__all__ = ["addbmm", "addr", "chain_matmul", "einsum", "ger", "inner", "kron", "tensordot", "vdot"]

Sizes = dict[Label, int]

_OPTIMAL = 7  # operands up to which every order is tried


class _Operand(NamedTuple):
    """What is done with an operand before it meets another: pairs of dimensions whose diagonal is taken,
    dimensions of size 1 dropped, dimensions summed.
    """

    diagonals: tuple[tuple[int, int], ...]
    dropped: Shape
    summed: Shape


class _Pair(NamedTuple):
    """A product of two operands: how each is permuted and shaped, and the shape of the result; with
    ``matrices`` a product of matrices, else of elements; the second times the first if ``swapped``.
    """

    left: int
    right: int
    orders: tuple[Shape, Shape]
    shapes: tuple[Shape, Shape]
    result: Shape
    matrices: bool
    swapped: bool = False


class _Plan(NamedTuple):
    operands: tuple[_Operand, ...]
    pairs: tuple[_Pair, ...]
    last: Shape  # the order of dimensions of the result


def einsum(equation: object, *operands: object) -> Tensor:
    """The sum over named dimensions of the product of all operands.

    Args:
        equation: ``"bij,bjk->bik"``: a letter per dimension of each operand, and those of the result
            (by default the letters that appear once, in order of the alphabet); ``...`` stands for
            dimensions that broadcast, a letter twice in one operand for its diagonal.
        operands: tensors of one dtype; or, without an equation, ``einsum(x, [0, 1], y, [1, 2], [0, 2])``.

    Gradient: of all operands.

    Raises:
        RuntimeError: the equation does not fit the operands.
    """
    for place, x in enumerate(operands if isinstance(equation, str) else ()):
        if not isinstance(x, (TensorBase, list, tuple)):
            raise TypeError(
                f"einsum: expected Tensor as element {place}, but got {type(x).__name__}"
            )
    terms, output, tensors = read(equation, operands)
    plan = _planned(terms, output, tuple([t.layout.shape for t in tensors]))
    kinds = {t.layout.dtype for t in tensors}
    if len(kinds) > 1 and any(p.matrices for p in plan.pairs):
        raise RuntimeError(
            f"einsum: expected operands of one dtype; got {', '.join(sorted(k.name for k in kinds))}"
        )
    alone = (
        len(tensors) == 1
    )  # whose total is that of sum(); totals of factors meet others of their dtype
    found = [_prepared(t, how, alone) for t, how in zip(tensors, plan.operands, strict=True)]
    for pair in plan.pairs:
        right = found.pop(pair.right)
        left = found.pop(pair.left)
        found.append(_multiplied(left, right, pair))
    (made,) = found
    return view.permute(made, plan.last)


def _prepared(x: Tensor, how: _Operand, alone: bool = False) -> Tensor:
    for first, second in how.diagonals:
        x = view.diagonal(x, 0, first, second)
    if how.dropped:
        x = view.squeeze(x, how.dropped)
    if not how.summed:
        return x
    return sum(x, how.summed, dtype=None if alone else x.layout.dtype)


def _multiplied(left: Tensor, right: Tensor, pair: _Pair) -> Tensor:
    if pair.swapped:
        left, right = right, left
    left, right = (
        view.reshape(view.permute(x, order), shape)
        for x, order, shape in zip((left, right), pair.orders, pair.shapes, strict=True)
    )
    if pair.matrices:
        return view.view(matmul(left, right), pair.result)
    return mul(left, right)


# -------------------------------------------------------------------------------------- planning


@lru_cache(maxsize=1024)
def _planned(terms: tuple[Labels, ...], output: Labels, shapes: tuple[Shape, ...]) -> _Plan:
    """The plan of one equation, as labels, for operands of these shapes."""
    sizes = _sizes(terms, shapes)
    ready = [_ready(t, shape, sizes) for t, shape in zip(terms, shapes, strict=True)]
    operands, left = [], []
    for place, (how, labels) in enumerate(ready):
        others = {name for k, (_, t) in enumerate(ready) if k != place for name in t} | set(output)
        alone = tuple([k for k, name in enumerate(labels) if name not in others])
        operands.append(how._replace(summed=alone))
        left.append(tuple([name for name in labels if name in others]))
    pairs = []
    for first, second in _path(left, output, sizes):
        right, x = left.pop(second), left.pop(first)
        kept = {name for t in left for name in t} | set(output)
        pair, labels = _pair(x, right, kept, sizes, output if not left else ())
        pairs.append(pair._replace(left=first, right=second))
        left.append(labels)
    return _Plan(tuple(operands), tuple(pairs), tuple([left[0].index(name) for name in output]))


def _sizes(terms: tuple[Labels, ...], shapes: tuple[Shape, ...]) -> Sizes:
    """The size of each label; sizes of 1 broadcast."""
    sizes: Sizes = {}
    for place, (labels, shape) in enumerate(zip(terms, shapes, strict=True)):
        here: Sizes = {}
        for label, size in zip(labels, shape, strict=True):
            if here.setdefault(label, size) != size:
                raise RuntimeError(
                    f"einsum(): subscript {label} is repeated for operand {place} but the sizes don't "
                    f"match, {size} != {here[label]}"
                )
        for label, size in here.items():
            known = sizes.setdefault(label, size)
            if known == 1:
                sizes[label] = size
            elif size not in (1, known):
                raise RuntimeError(
                    f"einsum(): subscript {label} has size {size} for operand {place} which does not "
                    f"broadcast with previously seen size {known}"
                )
    return sizes


def _ready(labels: Labels, shape: Shape, sizes: Sizes) -> tuple[_Operand, Labels]:
    """An operand's diagonals and sizes of 1 that broadcast, and the labels that it has without them."""
    rest, have = list(labels), list(shape)
    diagonals = []
    for label in dict.fromkeys(labels):
        while rest.count(label) > 1:
            first = rest.index(label)
            second = rest.index(label, first + 1)
            diagonals.append((first, second))
            size = have[first]
            for place in (second, first):
                del rest[place], have[place]
            rest.append(label)
            have.append(size)
    dropped = tuple([k for k, name in enumerate(rest) if have[k] == 1 and sizes[name] != 1])
    rest = [name for k, name in enumerate(rest) if k not in dropped]
    return _Operand(tuple(diagonals), dropped, ()), tuple(rest)


def _pair(
    x: Labels, y: Labels, kept: set[Label], sizes: Sizes, output: Labels
) -> tuple[_Pair, Labels]:
    """The product of operands with these labels, and the labels of the result."""
    both = [name for name in x if name in y]
    inner = [name for name in both if name not in kept]
    batch = [name for name in both if name in kept]
    rows, columns = [name for name in x if name not in y], [name for name in y if name not in x]
    if not inner:
        order = list(output) or [*batch, *rows, *columns]
        orders: Any = [tuple([t.index(name) for name in order if name in t]) for t in (x, y)]
        shapes: Any = [tuple([sizes[name] if name in t else 1 for name in order]) for t in (x, y)]
        result = tuple([sizes[name] for name in order])
        return _Pair(0, 0, tuple(orders), tuple(shapes), result, False), tuple(order)
    if output:  # in the result's order, where that costs nothing
        batch, rows, columns = (sorted(part, key=output.index) for part in (batch, rows, columns))
    swapped = bool(output) and bool(columns) and bool(rows) and (
        output.index(columns[0]) < output.index(rows[0])
    )  # fmt: skip
    if swapped:
        x, y, rows, columns = y, x, columns, rows
    lead, m, k, n = ([sizes[name] for name in part] for part in (batch, rows, inner, columns))
    front = (numel(tuple(lead)),) if batch else ()
    pair = _Pair(
        0,
        0,
        (
            tuple([x.index(name) for name in (*batch, *rows, *inner)]),
            tuple([y.index(name) for name in (*batch, *inner, *columns)]),
        ),
        ((*front, numel(tuple(m)), numel(tuple(k))), (*front, numel(tuple(k)), numel(tuple(n)))),
        (*lead, *m, *n),
        True,
        swapped,
    )
    return pair, (*batch, *rows, *columns)


def _path(terms: Sequence[Labels], output: Labels, sizes: Sizes) -> Iterable[tuple[int, int]]:
    """Which two operands meet, one step after the other, as places in the list of what is left, to whose
    end the result goes: the cheapest order of all, or of many operands a greedy one.
    """
    if len(terms) < 3:
        return [(0, 1)] if len(terms) == 2 else []
    sets = [frozenset(t) for t in terms]
    tree = _cheapest(sets, frozenset(output), sizes) if len(sets) <= _OPTIMAL else None
    if tree is None:
        return _greedy(sets, frozenset(output), sizes)
    left: list[object] = list(range(len(sets)))
    steps: list[tuple[int, int]] = []

    def walk(node: Any) -> None:
        if isinstance(node, int):
            return
        walk(node[0])
        walk(node[1])
        first, second = sorted((left.index(node[0]), left.index(node[1])))
        del left[second], left[first]
        left.append(node)
        steps.append((first, second))

    walk(tree)
    return steps


def _cost(labels: Iterable[Label], sizes: Sizes) -> int:
    return numel(tuple([sizes[name] for name in labels]))


def _cheapest(sets: list[frozenset[Label]], output: frozenset[Label], sizes: Sizes) -> Any:
    """The tree of products with the fewest multiplications, by the best of every subset."""
    count = len(sets)
    everything = (1 << count) - 1

    def result(mask: int) -> frozenset[Label]:
        inside = frozenset().union(*[s for k, s in enumerate(sets) if mask >> k & 1])
        outside = output.union(*[s for k, s in enumerate(sets) if not mask >> k & 1])
        return inside & outside

    labels = {mask: result(mask) for mask in range(1, everything + 1)}
    best: dict[int, tuple[int, object]] = {1 << k: (0, k) for k in range(count)}
    for mask in range(1, everything + 1):
        if mask in best:
            continue
        part = (mask - 1) & mask
        while part:
            rest = mask ^ part
            if part < rest:
                a, b = best[part], best[rest]
                price = a[0] + b[0] + _cost(labels[part] | labels[rest], sizes)
                if mask not in best or price < best[mask][0]:
                    best[mask] = (price, (a[1], b[1]))
            part = (part - 1) & mask
    return best[everything][1]


def _greedy(
    sets: list[frozenset[Label]], output: frozenset[Label], sizes: Sizes
) -> list[tuple[int, int]]:
    """Each time the pair whose result is smallest against its operands."""
    left, steps = list(sets), []
    while len(left) > 1:

        def growth(pair: tuple[int, int]) -> tuple[int, int]:
            i, j = pair
            kept = output.union(*[s for k, s in enumerate(left) if k not in pair])
            both = left[i] | left[j]
            made = _cost(both & kept, sizes)
            return made - _cost(left[i], sizes) - _cost(left[j], sizes), _cost(both, sizes)

        first, second = min(itertools.combinations(range(len(left)), 2), key=growth)
        b, a = left.pop(second), left.pop(first)
        left.append((a | b) & output.union(*left))
        steps.append((first, second))
    return steps


# ------------------------------------------------------------------------------- named products


def _pairs_of(a: Tensor, b: Tensor, dims: Any) -> tuple[list[int], list[int]]:
    """The dimensions of both that ``dims`` means."""
    if isinstance(dims, TensorBase):
        dims = dims.tolist()
    if isinstance(dims, tuple | list):
        first, second = dims
        wanted = [[d] if isinstance(d, int) else list(d) for d in (first, second)]
        return wanted[0], wanted[1]
    if not isinstance(dims, int):
        raise RuntimeError(f"tensordot: expects dims to be an int or two lists; got dims={dims}")
    count = dims
    if count < 0:
        raise RuntimeError(f"tensordot: expects dims >= 0, but got dims={count}")
    if count > min(a.layout.ndim, b.layout.ndim):
        raise RuntimeError(f"tensordot: expects dims < ndim_a or ndim_b, but got dims={count}")
    return list(range(-count, 0)), list(range(count))


def tensordot(a: Tensor, b: Tensor, dims: object = 2) -> Tensor:
    """The sum of products over dimensions of both.

    Args:
        dims: how many of the last of ``a`` and the first of ``b``; or two lists of dimensions.

    Gradient: of both.

    Raises:
        RuntimeError: sizes or dtypes differ, or the lists' lengths.
    """
    first, second = _pairs_of(a, b, dims)
    if len(first) != len(second):
        raise RuntimeError("tensordot: both dimension lists should have same length")
    if a.layout.dtype is not b.layout.dtype:
        raise RuntimeError(
            f"tensordot: both inputs should have same dtype; got {a.dtype.name} and {b.dtype.name}"
        )
    x: list[Label] = [("a", k) for k in range(a.layout.ndim)]
    y: list[Label] = [("b", k) for k in range(b.layout.ndim)]
    for number, (i, j) in enumerate(zip(first, second, strict=True)):
        i, j = normalize_dim("tensordot", i, len(x)), normalize_dim("tensordot", j, len(y))
        sizes = a.layout.shape[i], b.layout.shape[j]
        if sizes[0] != sizes[1] and 1 not in sizes:
            raise RuntimeError(
                f"tensordot: contracted dimensions need to match, but first has size {sizes[0]} in dim "
                f"{first[number]} and second has size {sizes[1]} in dim {second[number]}"
            )
        x[i] = y[j] = ("c", number)
    output = tuple([n for n in x if n not in y] + [n for n in y if n not in x])
    plan = _planned((tuple(x), tuple(y)), output, (a.layout.shape, b.layout.shape))
    left, right = (_prepared(t, how) for t, how in zip((a, b), plan.operands, strict=True))
    return view.permute(_multiplied(left, right, plan.pairs[0]), plan.last)


def inner(input: Tensor, other: Tensor) -> Tensor:
    """The sum of products over the last dimension of both; of a number the product.

    Raises:
        RuntimeError: the last sizes differ, or the dtypes.
    """
    if not input.layout.ndim or not other.layout.ndim:
        return mul(input, other)
    if input.layout.dtype is not other.layout.dtype:
        raise RuntimeError(
            f"inner: both inputs should have same dtype; got {input.dtype.name} and {other.dtype.name}"
        )
    if input.layout.shape[-1] != other.layout.shape[-1]:
        raise RuntimeError(
            f"inner: inner() the last dimension must match on both input tensors but got shapes "
            f"{list(input.shape)} and {list(other.shape)}"
        )
    return tensordot(input, other, [[-1], [-1]])


def kron(input: Tensor, other: Tensor) -> Tensor:
    """Kronecker's product: each element of ``input`` times all of ``other``."""
    ndim = max(input.layout.ndim, other.layout.ndim)
    a, b = ((1,) * (ndim - x.layout.ndim) + x.layout.shape for x in (input, other))
    left = view.reshape(input, [n for size in a for n in (size, 1)])
    right = view.reshape(other, [n for size in b for n in (1, size)])
    made = mul(left, right)
    return view.reshape(made, [m * n for m, n in zip(a, b, strict=True)])


def vdot(input: Tensor, other: Tensor) -> Tensor:
    """Inner product of two vectors, of which the first is conjugated.

    Raises:
        RuntimeError: they are no vectors of one size and dtype.
    """
    if input.layout.ndim != 1 or other.layout.ndim != 1:
        raise RuntimeError(
            f"vdot: 1D tensors expected, but got {input.ndim}D and {other.ndim}D tensors"
        )
    if input.layout.dtype.is_complex:
        input = of_one("conj", input)
    return matmul(input, other)


def addbmm(
    input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: Scalar = 1, alpha: Scalar = 1
) -> Tensor:
    """``beta * input`` and ``alpha`` times the sum of the products of two batches of matrices.

    Raises:
        RuntimeError: shapes do not fit, or dtypes differ.
    """
    a, b = batch1.layout.shape, batch2.layout.shape
    if len(a) != 3 or len(b) != 3:
        raise RuntimeError(
            f"addbmm: batch1 and batch2 must be 3D tensors; got {len(a)}D and {len(b)}D"
        )
    if a[0] != b[0] or a[2] != b[1]:
        raise RuntimeError(
            f"addbmm: batch1 and batch2 must have same number of batches and fitting sizes; got "
            f"{list(a)} and {list(b)}"
        )
    left = view.reshape(view.permute(batch1, (1, 0, 2)), (a[1], a[0] * a[2]))
    product = matmul(left, view.reshape(batch2, (b[0] * b[1], b[2])))
    if len(input.layout.shape) > 2:
        view.expand(input, product.layout.shape)  # which refuses it
    return scaled("addbmm", input, product, beta, alpha)


def addbmm_(
    self: Tensor, batch1: Tensor, batch2: Tensor, *, beta: Scalar = 1, alpha: Scalar = 1
) -> Tensor:
    """:func:`addbmm`, in place; a tensor that broadcasts takes the shape of the result."""
    source = before("addbmm_", self, batch1, batch2)
    made = addbmm(source, batch1, batch2, beta=beta, alpha=alpha)
    if made.layout.shape != self.layout.shape:
        resize_(self, *made.layout.shape)
    return overwrite("addbmm_", self, made)


def addr(
    input: Tensor, vec1: Tensor, vec2: Tensor, *, beta: Scalar = 1, alpha: Scalar = 1
) -> Tensor:
    """``beta * input`` and ``alpha`` times the outer product of two vectors, promoted.

    Raises:
        RuntimeError: they are no vectors, or a factor is a float beside integers.
    """
    if vec1.layout.ndim != 1 or vec2.layout.ndim != 1:
        raise RuntimeError(
            f"addr: Expected 1-D argument vec1 and vec2, but got {vec1.ndim}-D and {vec2.ndim}-D"
        )
    product = mul(view.unsqueeze(vec1, 1), vec2)
    kinds = [product.layout.dtype, input.layout.dtype]
    for name, factor in (("beta", beta), ("alpha", alpha)):
        if isinstance(factor, (float, complex)) and not any(k.has_gradient for k in kinds):
            raise RuntimeError(
                f"addr: For integral input tensors, argument {name} must not be a floating point number."
            )
    view.expand(input, product.layout.shape)  # which refuses what does not fit
    if product.layout.dtype is bool_ and input.layout.dtype is bool_:
        alpha, beta = bool(alpha), bool(beta)
    else:
        product = to_dtype(product, dt.promote_types(*kinds))
    return scaled("addr", input, product, beta, alpha)


def ger(input: Tensor, vec2: Tensor) -> Tensor:
    """Outer product of two vectors."""
    return outer(input, vec2)


def chain_matmul(*matrices: Tensor) -> Tensor:
    """The product of matrices, in the order that takes the fewest multiplications.

    Raises:
        RuntimeError: one is no matrix, or sizes do not fit.
    """
    for x in matrices:
        if x.layout.ndim != 2:
            raise RuntimeError(f"chain_matmul: Tensor dimension is {x.ndim}, expected 2 instead.")
    if len(matrices) == 1:
        return matrices[0]
    terms = tuple([(k, k + 1) for k in range(len(matrices))])
    for x, y in itertools.pairwise(matrices):
        if x.layout.shape[1] != y.layout.shape[0]:
            raise RuntimeError(
                f"chain_matmul: mat1 and mat2 shapes cannot be multiplied; got {list(x.shape)} and "
                f"{list(y.shape)}"
            )
    given: list[object] = [
        part for x, term in zip(matrices, terms, strict=True) for part in (x, term)
    ]
    return einsum(*given, [0, len(matrices)])
