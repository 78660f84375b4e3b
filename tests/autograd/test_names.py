"""Arguments by name: every form that PyTorch's own signatures have, for every op that is here."""

import ast
import inspect
import itertools
import os

import numpy as np
import pytest
import torch

import tilegrad
from tilegrad.autograd import functions
from tilegrad.autograd.names import ALIASES

_STUBS = os.path.join(os.path.dirname(torch.__file__), "_C")
# not here at all, or spelled otherwise on purpose
ABSENT = {"out", "layout", "pin_memory", "memory_format", "names", "out_dtype", "implicit"}
ABSENT |= {"cudnn_enabled", "cudnn_enable", "indices_or_sections", "self", "non_blocking"}
LATER = {  # other spellings, for want of an op's form or by another issue
    "rsub": {"alpha"}, "random_": {"from_"}, "uniform_": {"from_"},
    "requires_grad_": {"mode"}, "record_stream": {"s"}, "view": {"dtype"},
    "rand_like": {"generator"}, "randn_like": {"generator"}, "randint_like": {"generator"},
    "tril_indices": {"requires_grad"}, "triu_indices": {"requires_grad"},
    "normal": {"requires_grad"}, "pin_memory": {"device"}, "is_pinned": {"device"},
    "as_strided_scatter": {"stride"},  # strides (1, 1) have it write elements over one another
    "new": {"args", "storage"},  # bytes of another tensor
    "histogram": {"bins"},  # an element upon an edge, which PyTorch's linspace rounds up
}  # fmt: skip


def _overloads(file, kind=None):
    """{name: [parameters that can be named, in order]} of a stub."""
    with open(os.path.join(_STUBS, file)) as stub:
        body = ast.parse(stub.read()).body
    if kind is not None:
        body = next(n for n in body if isinstance(n, ast.ClassDef) and n.name == kind).body
    found = {}
    for node in body:
        if isinstance(node, ast.FunctionDef):
            several = [] if node.args.vararg is None else [node.args.vararg.arg]
            names = [a.arg for a in (*node.args.args, *node.args.kwonlyargs)]
            needed = len(node.args.args) - len(node.args.defaults)
            found.setdefault(node.name, []).append((names, several, needed))
    return found


def _both():
    ours = {n: f for n, f in vars(functions).items() if inspect.isfunction(f) and n[0] != "_"}
    theirs = _overloads("_VariableFunctions.pyi")
    yield from ((n, f, theirs[n], False) for n, f in ours.items() if n in theirs)
    theirs = _overloads("__init__.pyi", "TensorBase")
    for name in dir(tilegrad.Tensor):
        method = getattr(tilegrad.Tensor, name)
        if name[0] != "_" and name in theirs and inspect.isfunction(method):
            yield name, method, theirs[name], True


OPS = list(_both())


def _takes(function, name):
    parameters = inspect.signature(function).parameters
    if name in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return True
    return any(ALIASES.get(n) == name for n in parameters)


def test_every_name_of_pytorch_is_taken():
    missing = []
    for name, function, overloads, method in OPS:
        for names, several, _ in overloads:
            for wanted in names[method:] + several:
                if wanted not in ABSENT | LATER.get(name, set()) and not _takes(function, wanted):
                    missing.append(f"{name}({wanted}=)")
    assert not missing
    assert len(OPS) > 500


def _values(m, name):
    x = m.tensor([[1.0, -2.0, 0.5], [4.0, 0.25, 3.0]])
    index = m.tensor([[0, 1, 1], [1, 0, 0]])
    if name in ("cat", "concat", "concatenate", "stack", "hstack", "vstack", "dstack"):
        tensors = [x, x]
    else:
        tensors = (x, x)
    square = m.arange(9.0).reshape(3, 3)
    return {
        "input": square if name in ("diag", "trace", "tril", "triu", "rot90") else x,
        "other": x + 1, "tensors": tensors, "dim": 1, "keepdim": True, "dims": (0, 1),
        "dim0": 0, "dim1": 1, "axis0": 0, "axis1": 1, "index": index, "src": x, "source": x.clone(),
        "indices": index, "value": 2.0, "size": (2, 3), "shape": (3, 2), "repeats": 2, "k": 1,
        "start": 0, "length": 1, "end": 2, "steps": 3, "step": 1, "fill_value": 2.0, "n": 2, "m": 3,
        "sizes": (3, 1), "split_size": 1, "chunks": 2, "min": 0.0, "max": 1.0, "mask": x > 0,
        "condition": x > 0, "exponent": 2, "weight": 0.5, "descending": True, "stable": True,
        "largest": False, "sorted": True, "shifts": 1, "offset": 0, "dimension": 1, "mat2": x.t(),
        "vec": x[0], "vec2": x[0], "tensor": x[0], "mat": x, "correction": 1, "unbiased": False,
        "dtype": m.float64, "alpha": 2, "beta": 1, "eps": 1e-6, "p": 2, "reduce": "sum",
        "include_self": True, "source_": x, "decimals": 1, "rounding_mode": "floor",
        "tensor1": x, "tensor2": x + 1, "diagonal": 0, "nan": 0.0, "boundaries": m.arange(3.0),
        "sorted_sequence": m.arange(3.0), "right": True, "stride": (1, 1), "storage_offset": 0,
        "equal_nan": True, "rtol": 1e-3, "atol": 1e-3, "return_counts": True, "row": 2, "col": 3,
        "return_inverse": True, "destination": 1, "output_size": None, "base": 2.0,
    }  # fmt: skip


def _numbers(value):
    if isinstance(value, (tuple, list)):
        return [_numbers(v) for v in value]
    return value.tolist() if hasattr(value, "tolist") else str(value)


RANDOM = (
    "svd",  # whose vectors have the algorithm's signs
    "empty",
    "rand",
    "new_empty",
    "normal",
    "bernoulli",
    "multinomial",
    "dropout",
    "seed",
    "exponential",
    "log_normal",
    "cauchy",
    "geometric",
)


def _call(m, name, method, names):
    """What the op gives when all of ``names`` are named; ``axis`` stands for ``dim``."""
    known, real = (
        _values(m, name),
        {v: k for k, v in ALIASES.items() if k != "split_size_or_sections"},
    )
    values = {n: known[real.get(n, n)] for n in names}
    if name == "repeat" or name == "tile":
        values = {n: (2, 2) if n in ("repeats", "dims") else v for n, v in values.items()}
    if name == "permute":
        values = {n: (1, 0) if n == "dims" else v for n, v in values.items()}
    owner = known["input"] if method else m
    return getattr(owner, name)(**values)


def _forms(names, needed, method):
    """The names of an overload in calls: what it needs, all of it, and each by its other name."""
    names = [
        n for n in names if n not in ABSENT and n not in ("device", "requires_grad", "generator")
    ]
    for count in sorted({needed - method, *range(needed - method, len(names) + 1)}):
        given = names[:count]
        yield given
        for other in itertools.chain.from_iterable([[n] for n in given if n in ("dim", "keepdim")]):
            yield [ALIASES[n] if n == other else n for n in given]


@pytest.mark.filterwarnings("ignore:torch.qr is deprecated")
@pytest.mark.parametrize("method", [False, True], ids=["functions", "methods"])
def test_calls_by_name(method):
    tried, apart = 0, []
    for name, _, overloads, is_method in OPS:
        if (
            is_method is not method
            or name.startswith(RANDOM)
            or name.endswith(("_like", "cuda", "storage"))
        ):
            continue
        for names, several, needed in overloads:
            if any(n in LATER.get(name, ()) for n in names):
                continue
            if name == "new":  # of undefined contents
                continue
            for given in _forms(names[method:] + several, needed, method):
                try:
                    want = _numbers(_call(torch, name, method, given))
                except (
                    KeyError,
                    TypeError,
                    RuntimeError,
                    ValueError,
                    IndexError,
                    NotImplementedError,
                ):
                    continue
                tried += 1
                try:
                    got = _numbers(_call(tilegrad, name, method, given))
                    if isinstance(want, str):
                        continue
                    np.testing.assert_allclose(
                        np.ravel(_flat(got)).astype(float),
                        np.ravel(_flat(want)).astype(float),
                        1e-5,
                        1e-6,
                    )
                except Exception as error:
                    apart.append(
                        f"{name}({', '.join(given)}): {type(error).__name__} {error}"[:200]
                    )
    assert not apart, "\n".join(sorted(set(apart)))
    assert tried > 300


def _flat(value):
    if isinstance(value, (list, tuple)):
        return [x for v in value for x in _flat(v)]
    return [value]


def test_both_names_at_once_and_unknown_ones():
    x = tilegrad.ones(2, 3)
    for call in (
        lambda: x.sum(1, axis=1), lambda: x.sum(dim=1, axis=1), lambda: x.gather(1, axis=1, index=tilegrad.zeros(1, 1).long()),
        lambda: x.sum(1, False, tilegrad.float64), lambda: x.sum(1, foo=2), lambda: x.view(6, size=(6,)), lambda: x.view(shape=(6,)),
        lambda: tilegrad.zeros(2, size=(2,)), lambda: tilegrad.zeros(foo=1), lambda: x.cumsum(),
        lambda: x.gather(axis=0), lambda: x.index_fill(axis=0, index=tilegrad.tensor([0])),
    ):  # fmt: skip
        with pytest.raises(TypeError, match="both|unexpected|multiple|missing|takes from"):
            call()


def test_what_is_missing_is_named():
    x = tilegrad.ones(2, 3)
    for name, function, _, method in OPS:
        needed = [
            n for n, p in inspect.signature(function).parameters.items()
            if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD
        ]  # fmt: skip
        if len(needed) > 1 and hasattr(function, "__signature__"):
            with pytest.raises(TypeError, match="missing|must be"):
                getattr(x, name)() if method else function(x)


def test_signatures_say_what_is_documented():
    assert str(inspect.signature(tilegrad.cumsum)).startswith(
        "(input: 'Tensor', dim: 'int', *, dtype"
    )
    for function in (tilegrad.split, tilegrad.norm, tilegrad.sum, tilegrad.Tensor.view):
        assert function.__doc__
    with pytest.raises(IndexError) as caught:
        tilegrad.ones(2).sum(5)
    lines = [e.lineno for e in caught.traceback]
    assert all(line is not None for line in lines)


@pytest.mark.parametrize(
    "form", ["(2, 2, 3)", "((2, 2, 3))", "(size=(2, 2, 3))", "(-1, 3)", "(2, 4)", "()"]
)
def test_sizes_of_broadcast_to(form):
    def told(m):
        try:
            return eval(f"m.arange(6.0).reshape(2, 3).broadcast_to{form}", {"m": m}).tolist()
        except (RuntimeError, TypeError) as error:
            return type(error)

    assert told(tilegrad) == told(torch)
