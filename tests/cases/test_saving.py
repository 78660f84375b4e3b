"""What nodes keep for the backward pass: nothing outside ``saved``, nothing that no wanted gradient
reads, nothing whose change goes unseen. Every row of the table of ops is asked.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

import tilegrad
from tests.cases.case import Case
from tests.cases.test_cases import CASES, _outputs, _promote, _tensor
from tilegrad.autograd.graph import Node, SavedOutput
from tilegrad.engine.array import Array
from tilegrad.kernels.function import DeviceFunction

ROWS = [c for c in CASES if "float64" in c.dtypes and c.gradient_positions()]


def _nodes(*tensors: Any) -> Iterator[Node]:
    """Every node behind ``tensors``."""
    found: set[Node] = set()
    ahead = [t.grad_fn for t in tensors if t is not None and t.grad_fn is not None]
    while ahead:
        node = ahead.pop()
        if node in found:
            continue
        found.add(node)
        yield node
        for edge in node.edges:
            behind = edge[0] if isinstance(edge, tuple) else edge
            if isinstance(behind, Node):
                ahead.append(behind)


def _hidden(value: Any, seen: set[int]) -> Iterator[str]:
    """Paths to the arrays within ``value``: in containers, attributes, closures and defaults."""
    if id(value) in seen or isinstance(value, (str, bytes, int, float, type, DeviceFunction)):
        return
    seen.add(id(value))
    if isinstance(value, (Array, np.ndarray)):
        yield type(value).__name__
        return
    parts: dict[str, Any] = {}
    if isinstance(value, dict):
        parts = {repr(k): v for k, v in value.items()}
    elif isinstance(value, (tuple, list, set, frozenset)):
        parts = {str(k): v for k, v in enumerate(value)}
    elif isinstance(value, functools.partial):
        parts = {"func": value.func, "args": value.args, "keywords": value.keywords}
    elif callable(value) and hasattr(value, "__code__"):
        cells = [c.cell_contents for c in value.__closure__ or ()]
        parts = {"closure": cells, "defaults": value.__defaults__, "kw": value.__kwdefaults__}
    elif type(value).__module__.startswith(("tilegrad.autograd", "tilegrad.nn")):
        slots = itertools.chain(*[getattr(k, "__slots__", ()) for k in type(value).__mro__])
        parts = {n: getattr(value, n, None) for n in slots if not n.startswith("__")}
        parts |= getattr(value, "__dict__", {})
    for name, part in parts.items():
        for rest in _hidden(part, seen):
            yield f"{name}.{rest}"


def _arrays(case: Case) -> list[np.ndarray]:
    rng = np.random.default_rng([ord(c) for c in case.name])
    return [a.make(rng, "float64") for a in case.args]


def _run(case: Case, arrays: list[np.ndarray], wanted: tuple[int, ...]) -> tuple[Any, Any]:
    """(arguments, outputs), where these arguments need a gradient."""
    tilegrad.manual_seed(0)
    tensors = [_tensor(a.copy(), "cpu") for a in arrays]
    for position in wanted:
        tensors[position].requires_grad_()
    return tensors, _outputs(case.call(tilegrad, *tensors))


def _floating(outputs: list[Any]) -> list[Any]:
    return [o for o in outputs if o.requires_grad]


def test_no_array_lies_outside_saved() -> None:
    """Of any row's forward pass, and of its backward pass under ``create_graph``."""
    faults = []
    for case in ROWS:
        tensors, outputs = _run(case, _arrays(case), case.gradient_positions())
        ends = _floating(outputs)
        leaves = [t for t in tensors if t.requires_grad]
        seeds = [tilegrad.ones_like(o) for o in ends]
        slopes = tilegrad.autograd.grad(ends, leaves, seeds, create_graph=True, allow_unused=True)
        for node in _nodes(*ends, *slopes):
            for field in ("meta", "vjp", "name", "inputs", "outputs"):
                for path in _hidden(getattr(node, field), set()):
                    faults.append(f"{case.name}: {node.op}.{field}: {path}")
            for kept in node.saved or ():
                if kept is not None and not isinstance(kept, (tilegrad.Tensor, SavedOutput)):
                    faults.append(f"{case.name}: {node.op} saves a {type(kept).__name__}")
    assert not faults, "\n".join(sorted(set(faults)))


def test_the_search_finds_what_hides() -> None:
    """The net above has no holes of these shapes."""
    x = tilegrad.ones(2)

    def reads() -> Any:
        return x

    class Meta:
        __slots__ = ("held",)

    Meta.__module__ = "tilegrad.autograd.rules.somewhere"
    meta = Meta()
    meta.held = [x]
    found: list[Any] = [(1, x), {"a": [x]}, reads, functools.partial(max, x), lambda y=x: y, meta]
    for value in (*found, np.ones(2)):
        assert list(_hidden(value, set()))


def _gradients(ends: list[Any], leaves: list[Any]) -> list[Any]:
    seeds = [tilegrad.ones_like(o) for o in ends]
    return list(tilegrad.autograd.grad(ends, leaves, seeds, allow_unused=True))


def _same(have: list[Any], want: list[Any]) -> bool:
    return all(
        (a is None and b is None) or np.array_equal(a.numpy(), b.numpy(), equal_nan=True)
        for a, b in zip(have, want, strict=True)
    )


def _overwrite(tensor: Any) -> None:
    """Other values, in bounds for an index."""
    with tilegrad.no_grad():
        if tensor.dtype.is_floating_point:
            tensor.mul_(-1.5).add_(0.25)
        elif tensor.dtype is tilegrad.bool:
            tensor.copy_(tensor.logical_not())
        else:
            tensor.fill_(0)


def test_a_changed_operand_is_an_error_or_has_no_effect() -> None:
    """Each argument and result of each row, overwritten before the backward pass."""
    faults = []
    for case in ROWS:
        arrays = _arrays(case)
        tensors, outputs = _run(case, arrays, case.gradient_positions())
        want = _gradients(_floating(outputs), [t for t in tensors if t.requires_grad])
        for place in range(len(tensors) + len(outputs)):
            tensors, outputs = _run(case, arrays, case.gradient_positions())
            ends = _floating(outputs)
            leaves = [t for t in tensors if t.requires_grad]
            changed = [*tensors, *outputs][place]
            if not changed.numel() or 0 in changed.stride():  # an expanded one cannot be written to
                continue
            _overwrite(changed.detach())
            try:
                have = _gradients(ends, leaves)
            except RuntimeError as error:
                if "modified by an inplace" not in str(error):
                    faults.append(f"{case.name}, operand {place}: {error}")
                continue
            if not _same(have, want):
                faults.append(f"{case.name}, operand {place}: another gradient, in silence")
    assert not faults, "\n".join(faults)


def _saved_bytes(outputs: list[Any]) -> int:
    """Of the storages that nodes keep, as far as they are kept."""
    found: dict[Any, int] = {}
    for node in _nodes(*outputs):
        for kept in node.saved or ():
            if kept is not None:
                kind = kept.layout
                reach = sum((n - 1) * s for n, s in zip(kind.shape, kind.strides, strict=True))
                size = (reach + 1) * kind.itemsize if kind.numel else 0
                found[kept.storage] = max(found.get(kept.storage, 0), size)
    return sum(found.values())


def _torch_bytes(case: Case, arrays: list[np.ndarray], wanted: tuple[int, ...]) -> int:
    found: dict[int, int] = {}
    alive = []

    def pack(t: torch.Tensor) -> torch.Tensor:
        alive.append(t)
        reach = sum((n - 1) * s for n, s in zip(t.shape, t.stride(), strict=True))
        size = (reach + 1) * t.element_size() if t.numel() else 0
        key = t.untyped_storage().data_ptr()
        found[key] = max(found.get(key, 0), size)
        return t

    tensors = [torch.from_numpy(_promote(a.copy())) for a in arrays]
    for position in wanted:
        tensors[position].requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        case.call(torch, *tensors)
    return sum(found.values())


def _subsets(positions: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    for size in range(1, len(positions) + 1):
        yield from itertools.combinations(positions, size)


# Rows that keep more than PyTorch's do: how many times as much (0: PyTorch keeps nothing), and why. Numbers as
# operands (16 bytes) count nowhere.
MORE: dict[str, tuple[float, str]] = {
    "attention": (3.2, "saves q, k, v and the result, never the scores, which PyTorch keeps at these sizes"),
    "cross_entropy": (1.2, "a weight per sample, so that targets to ignore are not looked for again"),
    "getitem": (3.8, "a mask as the int64 positions of what it chose"),
    "gaussian_nll_loss": (1.5, "its operands, which the caller holds, for one formula of the gradient"),
    "gaussian_nll": (1.9, "as gaussian_nll_loss"),
    "hinge_embedding_loss": (1.6, "its operands, as gaussian_nll_loss"),
    "margin_ranking_loss": (1.5, "its operands, as gaussian_nll_loss"),
    "cosine_embedding_loss": (1.1, "its operands and the lengths of their rows"),
    "l1_loss": (2.0, "both operands, not their difference"),
    "logit": (2.0, "the operand twice, clamped and not"),
    "pow": (1.7, "the exponent and the result's power"),
    "rms_norm": (1.1, "a root-mean-square per row also for the weight alone"),
    "frexp": (1.8, "the operand, which the caller holds; PyTorch its exponents as int32"),
    **dict.fromkeys(
        ("lstm", "gru", "rnn_tanh", "rnn_relu", "lstm_cell", "gru_cell", "rnn_tanh_cell",
         "rnn_relu_cell"),
        (6.4, "the layer's operands, which the caller holds, beside gates and cells: a second derivative goes "
         "over the steps again"),
    ),
    "unfold": (0, "positions along each axis, as int64"),
    "fold": (0, "as unfold"),
    "fractional_max_pool2d": (1.2, "the window's positions and, among these, the largest"),
    "fractional_max_pool3d": (1.4, "as fractional_max_pool2d"),
    "embedding_bag-max": (2.0, "the embedded rows and the result, by which the chosen are found"),
    "ctc_loss": (4.2, "the states of all steps, in float64 here, which PyTorch keeps too, beside the operand"),
    "cholesky_inverse": (1.4, "a matrix of ones too, as cholesky_solve"),
    "lu_solve-adjoint": (1.9, "the factors apart, and the permutation as a matrix"),
    "qr": (1.6, "the operand, which the caller holds, beside Q and R"),
    "householder_product": (2.4, "each reflection's product, by which it is differentiated"),
    "ormqr": (2.1, "the product of the reflections, and its operands"),
    "lstsq": (1.7, "as qr"),
    "matrix_exp": (11, "the products of its polynomial and the squarings, which PyTorch computes again"),
}  # fmt: skip


def test_no_more_is_saved_than_pytorch_saves() -> None:
    """Bytes of all rows, for each set of arguments that need a gradient."""
    faults: list[str] = []
    reached: dict[str, float] = {}
    for case in ROWS:
        arrays = _arrays(case)
        stem = case.name if case.name in MORE else case.name.split("-")[0]
        times = MORE.get(stem, (1, ""))[0] or math.inf
        for wanted in _subsets(case.gradient_positions()):
            have = _saved_bytes(_run(case, arrays, wanted)[1])
            most = _torch_bytes(case, arrays, wanted)
            reached[stem] = max(reached.get(stem, 0.0), (have - 16) / most if most else float(have))
            if (most and have > times * most + 16) or (times == 1 and have > most + 16):
                faults.append(f"{case.name}, gradients of {wanted}: {have} bytes, PyTorch {most}")
    faults += [f"{name} keeps no more any longer" for name in MORE if reached.get(name, 0.0) <= 1]
    assert not faults, "\n".join(faults)


F = tilegrad.nn.functional
X, W, B = (4, 6), (5, 6), (5,)
x, w, b, y = 24, 30, 5, 20  # elements of these, and of the result
INDEX = tilegrad.tensor([0, 2])
# (call, shapes, elements saved for the gradient of each alone, for the gradients of all)
TABLE: list[tuple[Callable[..., Any], tuple[tuple[int, ...], ...], tuple[int, ...], int]] = [
    (lambda x, w: F.linear(x, w), (X, W), (w, x), x + w),
    (lambda x, w, b: F.linear(x, w, b), (X, W, B), (w, x, 0), x + w),
    (lambda x, w: x @ w, (X, (6, 5)), (w, x), x + w),
    (tilegrad.bmm, ((2, 3, 4), (2, 4, 5)), (40, 24), 64),
    (lambda c, x, w: tilegrad.addmm(c, x, w), (B, X, (6, 5)), (0, w, x), x + w),
    (lambda x, y: x * y, (X, X), (x, x), 2 * x),
    (lambda x, y: x + y, (X, X), (0, 0), 0),
    (lambda x, y: x / y, (X, X), (x, 2 * x), 2 * x),
    (lambda x: x.reciprocal(), (X,), (x,), x),
    (lambda x: 1 / x, (X,), (x,), x),
    (lambda x: x.exp(), (X,), (x,), x),
    (lambda x: x.sum(), (X,), (0,), 0),
    (lambda x: F.interpolate(x, size=(5, 3), mode="bilinear"), ((1, 2, 3, 4),), (0,), 0),
    (lambda x: x.softmax(1), (X,), (x,), x),
    (lambda x: x.sort(1)[0], (X,), (x,), x),
    (lambda x: x.max(1)[0], (X,), (4,), 4),
    (lambda x: x.cummax(1)[0], (X,), (x,), x),
    (lambda x: F.max_pool1d(x, 2), ((2, 3, 8),), (24,), 24),
    (lambda x, s: x.index_add(0, INDEX, s), (X, (2, 6)), (0, 2), 2),
    (lambda x, s: x.index_copy(0, INDEX, s), (X, (2, 6)), (2, 2), 2),
    (lambda x, w, b: F.conv1d(x, w, b), ((2, 3, 8), (4, 3, 3), (4,)), (36, 48, 0), 84),
    (lambda x, w: F.conv_transpose1d(x, w), ((2, 3, 8), (3, 4, 3)), (36, 48), 84),
    # the input's gradient reads the input, the weight, two statistics per row; the bias's nothing
    (lambda x, w, b: F.layer_norm(x, (6,), w, b), (X, (6,), (6,)), (24 + 6 + 8, 24 + 8, 0), 38),
    (lambda x, w, b: F.group_norm(x, 2, w, b), (X, (6,), (6,)), (24 + 6 + 16, 24 + 16, 0), 46),
    # by running statistics it reads no input
    (
        lambda x, w, b: F.batch_norm(x, *STATISTICS, w, b, False),
        (X, (6,), (6,)), (6 + 12, 24 + 12, 0), 24 + 6 + 12,
    ),
    (
        lambda x, w, b: F.batch_norm(x, None, None, w, b, True),
        (X, (6,), (6,)), (24 + 6 + 12, 24 + 12, 0), 24 + 6 + 12,
    ),
    # q, k, v, the result and a number per query; the value's reads neither value nor result
    (
        F.scaled_dot_product_attention,
        ((1, 2, 3, 4), (1, 2, 5, 4), (1, 2, 5, 4)), (134, 134, 70), 134,
    ),
    # log-probabilities, targets, a weight per sample, their sum
    (lambda x: F.cross_entropy(x, tilegrad.tensor([1, 0, 5, 2])), (X,), (24 + 4 + 4 + 1,), 33),
]  # fmt: skip
STATISTICS = tilegrad.zeros(6, dtype=tilegrad.float64), tilegrad.ones(6, dtype=tilegrad.float64)


def test_what_is_saved_is_what_the_wanted_gradients_read() -> None:
    """Elements (of 8 bytes) by rule and by set of inputs that need a gradient."""
    for number, (call, shapes, alone, together) in enumerate(TABLE):
        rng = np.random.default_rng(number)
        for wanted in _subsets(tuple(range(len(shapes)))):
            if 1 < len(wanted) < len(shapes):
                continue
            tensors = [tilegrad.from_numpy(rng.uniform(0.5, 1.5, s)) for s in shapes]
            for place in wanted:
                tensors[place].requires_grad_()
            have = _saved_bytes(_outputs(call(*tensors)))
            want = together if len(wanted) == len(shapes) else alone[wanted[0]]
            assert have == 8 * want, f"row {number}, gradients of {wanted}: {have} of {8 * want}"
