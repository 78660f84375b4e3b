"""A Python or NumPy number beside every dtype, in every op that takes one, as PyTorch has it."""

import math
import warnings

import numpy as np
import pytest

import tilegrad as tg

torch = pytest.importorskip("torch")

DTYPES = ("bool", "uint8", "int8", "int16", "int32", "int64", "float32", "float64")
WHOLE = (
    0, 2, 127, 128, 255, 300, -1, -255, -256, 2**31, 2**40, 2**63, 2**64 - 1, 2**64, -(2**63),
    -(2**63) - 1, np.int8(3), np.int64(300),
)  # fmt: skip
FRACTIONS = (1.5, -1.5, -0.5, 300.7, math.inf, -math.inf, math.nan, 1e300, np.float64(2.5))
NUMBERS = (*WHOLE, *FRACTIONS, True, False)


def _method(name):
    return lambda lib, t, v: getattr(t, name)(v)


def _write(key):
    def run(lib, t, v):
        t[key(lib)] = v
        return t

    return run


def _mask(lib):
    return lib.tensor([True, False])


def _first(lib):
    return lib.tensor([0])


METHODS = (
    "add", "sub", "mul", "div", "floor_divide", "remainder", "fmod", "eq", "ne", "lt", "le",
    "gt", "ge", "pow", "clamp", "clamp_min", "clamp_max", "add_", "sub_", "mul_", "fill_",
    "clamp_", "bitwise_and", "bitwise_or", "bitwise_xor", "bitwise_left_shift",
    "bitwise_right_shift", "xlogy",
)  # fmt: skip

OPS = {name: _method(name) for name in METHODS} | {
    "number + t": lambda lib, t, v: v + t,
    "number - t": lambda lib, t, v: v - t,
    "number * t": lambda lib, t, v: v * t,
    "number / t": lambda lib, t, v: v / t,
    "number // t": lambda lib, t, v: v // (t + 1),
    "number % t": lambda lib, t, v: v % (t + 1),
    "number < t": lambda lib, t, v: v < t,
    "number == t": lambda lib, t, v: v == t,
    "0-d + number": lambda lib, t, v: t[0] + v,
    "masked_fill": lambda lib, t, v: t.masked_fill(_mask(lib), v),
    "index_fill": lambda lib, t, v: t.index_fill(0, _first(lib), v),
    "scatter": lambda lib, t, v: t.scatter(0, _first(lib), v),
    "x[0] =": _write(lambda lib: 0),
    "x[:] =": _write(lambda lib: slice(None)),
    "x[mask] =": _write(_mask),
    "x[index] =": _write(_first),
    "pad": lambda lib, t, v: lib.nn.functional.pad(t, (1, 0), value=v),
    "where": lambda lib, t, v: lib.where(_mask(lib), t, v),
    "where first": lambda lib, t, v: lib.where(_mask(lib), v, t),
    "full": lambda lib, t, v: lib.full((1,), v, dtype=t.dtype),
    "full of its own": lambda lib, t, v: lib.full((1,), v),
    "full_like": lambda lib, t, v: lib.full_like(t, v),
    "new_full": lambda lib, t, v: t.new_full((1,), v),
    "tensor": lambda lib, t, v: lib.tensor(v, dtype=t.dtype),
    "tensor of its own": lambda lib, t, v: lib.tensor(v),
    "tensor of a list": lambda lib, t, v: lib.tensor([v, 1], dtype=t.dtype),
    "tensor of a mixed list": lambda lib, t, v: lib.tensor([v, 1.5], dtype=t.dtype),
    "add alpha": lambda lib, t, v: lib.add(t, t, alpha=v),
    "add alpha after a number": lambda lib, t, v: lib.add(2, t, alpha=v),
    "sub alpha": lambda lib, t, v: lib.sub(t, t, alpha=v),
    "addcmul": lambda lib, t, v: lib.addcmul(t, t, t, value=v),
    "addcdiv": lambda lib, t, v: lib.addcdiv(t, t, t + 1, value=v),
}

HUGE = frozenset((2**63, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1))


def _disputed(op, kind, value):
    """Where PyTorch's own answer is an accident: undefined conversions, and what it does not take."""
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    huge = whole and int(value) in HUGE
    if op.startswith(("sub alpha", "pow", "pad", "addcdiv")) and huge:
        return True  # another rule judges first, or -alpha and a float64 have lost it
    if op in ("number / t",) and kind == "bool" and huge:
        return True
    return op.startswith("clamp") and huge and kind.startswith("float")  # a float holds it


def _answer(lib, run, kind, value):
    made = lib.tensor([0, 1]).to(getattr(lib, kind))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            out = run(lib, made, value)
    except Exception as error:
        return type(error).__name__
    return str(out.dtype).split(".")[1], np.asarray(out.tolist(), dtype=object)


def _agree(want, have):
    if isinstance(want, str) or isinstance(have, str):
        # what is not implemented for a dtype, and bool minus, are another table's matter
        return want == have or want == "NotImplementedError"
    if want[0] != have[0] or want[1].shape != have[1].shape:
        return False
    if want[0].startswith("float"):
        a, b = want[1].astype(float), have[1].astype(float)
        return np.allclose(a, b, rtol=1e-6, atol=0, equal_nan=True)
    return bool((want[1] == have[1]).all())


@pytest.mark.parametrize("op", OPS)
def test_numbers_meet_dtypes(op):
    run, wrong = OPS[op], []
    for kind in DTYPES:
        for value in NUMBERS:
            if _disputed(op, kind, value) or (
                op in ("sub", "sub_", "number - t", "sub alpha")
                and (kind == "bool" or isinstance(value, bool))
            ):
                continue
            want = _answer(torch, run, kind, value)
            have = _answer(tg, run, kind, value)
            if not _agree(want, have):
                wrong.append((kind, value, want, have))
    assert not wrong, wrong[:5]


def test_numpy_bool_counts_as_bool():
    assert (tg.tensor([1, 2]) * np.bool_(True)).dtype == tg.int64
    assert tg.full((1,), np.bool_(True)).dtype == tg.bool


def test_nan_bound_leaves_no_gradient():
    for lib in (torch, tg):
        x = lib.tensor([1.0, 2.0], requires_grad=True)
        x.clamp(max=math.nan).sum().backward()
        assert x.grad.tolist() == [0.0, 0.0]


def test_arrays_are_operands():
    a = np.array([[1, 2], [3, 4]], np.float32)
    x = tg.tensor([[5.0, 6.0], [7.0, 8.0]], requires_grad=True)
    assert (x @ a).tolist() == [[23.0, 34.0], [31.0, 46.0]]
    assert (a @ x).tolist() == [[19.0, 22.0], [43.0, 50.0]]
    (a * x).sum().backward()
    assert x.grad.tolist() == a.tolist()
    assert isinstance(np.float64(2) * x, tg.Tensor)
    assert isinstance(np.sqrt(x.detach()), tg.Tensor)
