"""Elementwise ops: an ONNX op or a few by name; all others by their formula (:mod:`tilegrad.onnx.formulas`)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from tilegrad.engine import dtype as dt
from tilegrad.engine.dtype import DType
from tilegrad.engine.ops.elementwise import OPS, Elementwise
from tilegrad.kernels.formulas.activation import SELU_ALPHA, SELU_SCALE
from tilegrad.onnx.formulas import FORMULAS, Say, Terms, say_formula
from tilegrad.onnx.graph import Builder, type_of
from tilegrad.onnx.rows.row import row
from tilegrad.onnx.tracing import Step, Value

_PLAIN = {
    "neg": "Neg", "abs": "Abs", "sign": "Sign", "reciprocal": "Reciprocal", "sqrt": "Sqrt", "floor": "Floor",
    "ceil": "Ceil", "round": "Round", "exp": "Exp", "log": "Log", "sigmoid": "Sigmoid", "tanh": "Tanh",
    "sin": "Sin", "cos": "Cos", "tan": "Tan", "asin": "Asin", "acos": "Acos", "atan": "Atan", "sinh": "Sinh",
    "cosh": "Cosh", "asinh": "Asinh", "acosh": "Acosh", "atanh": "Atanh", "erf": "Erf", "relu": "Relu",
    "softsign": "Softsign", "isnan": "IsNaN", "isinf": "IsInf", "where": "Where", "hardswish": "HardSwish",
    "mish": "Mish", "prelu": "PRelu", "bitwise_and": "BitwiseAnd", "bitwise_or": "BitwiseOr", "pow_int": "Pow",
    "bitwise_xor": "BitwiseXor", "bitwise_not": "BitwiseNot", "sub": "Sub", "div": "Div", "quotient": "Div",
    "pow": "Pow", "ge": "GreaterOrEqual", "le": "LessOrEqual", "gt": "Greater", "lt": "Less", "eq": "Equal",
}  # fmt: skip
_OF_TRUTHS = {
    "add": "Or", "mul": "And", "maximum": "Or", "minimum": "And", "bitwise_and": "And", "bitwise_or": "Or",
    "bitwise_xor": "Xor", "bitwise_not": "Not",
}  # fmt: skip
_NUMBERS = {"add": "Add", "mul": "Mul", "maximum": "Max", "minimum": "Min"}


def _say(name: str) -> Callable[[Say], Say]:
    def take(function: Say) -> Say:
        FORMULAS[name] = function
        return function

    return take


def _named(op: str) -> Say:
    return lambda g, kind, args, params: g.op(op, *args)


for _name, _op in _PLAIN.items():
    FORMULAS[_name] = _named(_op)


def _by_kind(name: str) -> Say:
    def said(g: Builder, kind: DType, args: Terms, params: tuple[Any, ...]) -> str:
        return g.op(_OF_TRUTHS[name] if kind is dt.bool_ else FORMULA_OF_NUMBERS[name], *args)

    return said


FORMULA_OF_NUMBERS = {**_NUMBERS, **{n: _PLAIN[n] for n in _OF_TRUTHS if n in _PLAIN}}
for _name in _OF_TRUTHS:
    FORMULAS[_name] = _by_kind(_name)


def number(g: Builder, kind: DType, value: Any) -> str:
    """A scalar of a dtype."""
    return g.number(value, kind)


@_say("square")
def _square(g: Builder, kind: DType, args: Terms, params: tuple[Any, ...]) -> str:
    return g.op("Mul", args[0], args[0])


@_say("rsqrt")
def _rsqrt(g: Builder, kind: DType, args: Terms, params: tuple[Any, ...]) -> str:
    return g.op("Reciprocal", g.op("Sqrt", args[0]))


@_say("trunc")
def _trunc(g: Builder, kind: DType, args: Terms, params: tuple[Any, ...]) -> str:
    return g.op("Mul", g.op("Sign", args[0]), g.op("Floor", g.op("Abs", args[0])))


@_say("frac")
def _frac(g: Builder, kind: DType, args: Terms, params: tuple[Any, ...]) -> str:
    return g.op("Sub", args[0], _trunc(g, kind, args, ()))


@_say("exp2")
def _exp2(g: Builder, kind: DType, args: Terms, params: tuple[Any, ...]) -> str:
    return g.op("Pow", number(g, kind, 2.0), args[0])


@_say("expm1")
def _expm1(g: Builder, kind: DType, args: Terms, params: tuple[Any, ...]) -> str:
    """2 e^(x/2) sinh(x/2), which loses nothing near 0; of large x that of e^x, halved twice."""
    half = g.op("Mul", args[0], number(g, kind, 0.5))
    return g.op("Mul", g.op("Mul", number(g, kind, 2.0), g.op("Exp", half)), g.op("Sinh", half))


@_say("log1p")
def _log1p(g: Builder, kind: DType, args: Terms, params: tuple[Any, ...]) -> str:
    """2 atanh(x / (2 + x)) near 0, log(1 + x) elsewhere."""
    x = args[0]
    far = g.op("Log", g.op("Add", x, number(g, kind, 1.0)))
    ratio = g.op("Div", x, g.op("Add", x, number(g, kind, 2.0)))
    near = g.op("Mul", number(g, kind, 2.0), g.op("Atanh", ratio))
    return g.op("Where", g.op("Less", g.op("Abs", x), number(g, kind, 0.5)), near, far)


def _log_to(base: float) -> Say:
    return lambda g, kind, args, params: g.op(
        "Div", g.op("Log", args[0]), number(g, kind, math.log(base))
    )


FORMULAS["log2"], FORMULAS["log10"] = _log_to(2.0), _log_to(10.0)


@_say("erfc")
def _erfc(g: Builder, kind: DType, args: Terms, params: tuple[Any, ...]) -> str:
    return g.op("Sub", number(g, kind, 1.0), g.op("Erf", args[0]))


@_say("atan2")
def _atan2(g: Builder, kind: DType, args: Terms, params: tuple[Any, ...]) -> str:
    """2 atan(y / (sqrt(x^2 + y^2) + x)), pi or 0 on the axis."""
    y, x = args
    zero = number(g, kind, 0.0)
    length = g.op("Sqrt", g.op("Add", g.op("Mul", x, x), g.op("Mul", y, y)))
    turned = g.op("Div", y, g.op("Add", length, x))
    half = g.op("Mul", number(g, kind, 2.0), g.op("Atan", turned))
    flat = g.op("Where", g.op("Less", x, zero), number(g, kind, math.pi), zero)
    return g.op("Where", g.op("Equal", y, zero), g.op("Add", flat, g.op("Mul", y, zero)), half)


@_say("hypot")
def _hypot(g: Builder, kind: DType, args: Terms, params: tuple[Any, ...]) -> str:
    return g.op("Sqrt", g.op("Add", *[g.op("Mul", a, a) for a in args]))


@_say("sinc")
def _sinc(g: Builder, kind: DType, args: Terms, params: tuple[Any, ...]) -> str:
    zero, one = number(g, kind, 0.0), number(g, kind, 1.0)
    at = g.op("Mul", args[0], number(g, kind, math.pi))
    none = g.op("Equal", at, zero)
    return g.op("Where", none, one, g.op("Div", g.op("Sin", at), g.op("Where", none, one, at)))


@_say("logit")
def _logit(g: Builder, kind: DType, args: Terms, params: tuple[Any, ...]) -> str:
    rest = g.op("Sub", number(g, kind, 1.0), args[0])
    return g.op("Log", g.op("Div", args[0], rest))


@_say("fmod")
def _fmod(g: Builder, kind: DType, args: Terms, params: tuple[Any, ...]) -> str:
    return g.op("Mod", *args, fmod=1)


FORMULAS["fmod_int"] = FORMULAS["fmod"]


@_say("remainder")
def _remainder(g: Builder, kind: DType, args: Terms, params: tuple[Any, ...]) -> str:
    """With the sign of the divisor."""
    rest, zero = g.op("Mod", *args, fmod=1), number(g, kind, 0.0)
    apart = g.op("Xor", g.op("Less", rest, zero), g.op("Less", args[1], zero))
    moved = g.op("And", apart, g.op("Not", g.op("Equal", rest, zero)))
    return g.op("Where", moved, g.op("Add", rest, args[1]), rest)


@_say("remainder_int")
def _remainder_int(g: Builder, kind: DType, args: Terms, params: tuple[Any, ...]) -> str:
    return g.op("Mod", *args)


@_say("trunc_divide_int")
def _trunc_int(g: Builder, kind: DType, args: Terms, params: tuple[Any, ...]) -> str:
    return g.op("Div", *args)


@_say("floor_divide_int")
def _floor_int(g: Builder, kind: DType, args: Terms, params: tuple[Any, ...]) -> str:
    return g.op("Div", g.op("Sub", args[0], g.op("Mod", *args)), args[1])


@_say("floor_divide")
def _floor_divide(g: Builder, kind: DType, args: Terms, params: tuple[Any, ...]) -> str:
    rest = _remainder(g, kind, args, ())
    return g.op("Round", g.op("Div", g.op("Sub", args[0], rest), args[1]))


FORMULAS["div_floor"] = FORMULAS["floor_divide"]


@_say("div_trunc")
def _div_trunc(g: Builder, kind: DType, args: Terms, params: tuple[Any, ...]) -> str:
    return _trunc(g, kind, (g.op("Div", *args),), ())


@_say("ne")
def _ne(g: Builder, kind: DType, args: Terms, params: tuple[Any, ...]) -> str:
    return g.op("Not", g.op("Equal", *args))


def truth(g: Builder, name: str, kind: DType) -> str:
    """``name`` as truth values."""
    return name if kind is dt.bool_ else g.op("Cast", name, to=type_of(dt.bool_))


def _logical(op: str) -> Say:
    return lambda g, kind, args, params: g.op(op, *[truth(g, a, kind) for a in args])


FORMULAS["logical_and"], FORMULAS["logical_or"] = _logical("And"), _logical("Or")
FORMULAS["logical_xor"], FORMULAS["logical_not"] = _logical("Xor"), _logical("Not")


@_say("isfinite")
def _isfinite(g: Builder, kind: DType, args: Terms, params: tuple[Any, ...]) -> str:
    return g.op("Not", g.op("Or", g.op("IsNaN", args[0]), g.op("IsInf", args[0])))


def _negative(g: Builder, kind: DType, x: str) -> str:
    """Where a number has the sign of minus, that of -0.0 too."""
    zero = number(g, kind, 0.0)
    told = g.op("Where", g.op("Equal", x, zero), g.op("Reciprocal", x), x)
    return g.op("Less", told, zero)


@_say("signbit")
def _signbit(g: Builder, kind: DType, args: Terms, params: tuple[Any, ...]) -> str:
    if kind.is_floating_point:
        return _negative(g, kind, args[0])
    return g.op("Less", args[0], number(g, kind, 0))


@_say("copysign")
def _copysign(g: Builder, kind: DType, args: Terms, params: tuple[Any, ...]) -> str:
    size = g.op("Abs", args[0])
    return g.op("Where", _negative(g, kind, args[1]), g.op("Neg", size), size)


def _log_sum(base: float) -> Say:
    def said(g: Builder, kind: DType, args: Terms, params: tuple[Any, ...]) -> str:
        """The larger and the logarithm of 1 + base^-|x - y|; equal infinities are no gap."""
        x, y = args
        zero = number(g, kind, 0.0)
        gap = g.op("Where", g.op("Equal", x, y), zero, g.op("Neg", g.op("Abs", g.op("Sub", x, y))))
        power = g.op("Exp", g.op("Mul", gap, number(g, kind, math.log(base))))
        more = g.op("Div", _log1p(g, kind, (power,), ()), number(g, kind, math.log(base)))
        return g.op("Add", g.op("Max", x, y), more)

    return said


FORMULAS["logaddexp"], FORMULAS["logaddexp2"] = _log_sum(math.e), _log_sum(2.0)


def _shifted(right: bool) -> Say:
    def said(g: Builder, kind: DType, args: Terms, params: tuple[Any, ...]) -> str:
        """ONNX shifts unsigned numbers only: a product, or a quotient rounded down."""
        x, by = args
        zero, last = number(g, kind, 0), number(g, kind, 62)
        beyond = g.op("Or", g.op("Less", by, zero), g.op("Greater", by, last))
        power = g.op("Pow", number(g, kind, 2), g.op("Where", beyond, zero, by))
        if right:
            made = g.op("Div", g.op("Sub", x, g.op("Mod", x, power)), power)
            return g.op(
                "Where",
                beyond,
                g.op("Where", g.op("Less", x, zero), number(g, kind, -1), zero),
                made,
            )
        return g.op("Where", beyond, zero, g.op("Mul", x, power))

    return said


FORMULAS["bitwise_left_shift"], FORMULAS["bitwise_right_shift"] = _shifted(False), _shifted(True)


# ------------------------------------------------------------------------------- clamps and sums


def _clip(g: Builder, kind: DType, x: str, low: Any, high: Any) -> str:
    bounds = ["" if b is None else number(g, kind, b) for b in (low, high)]
    return g.op("Clip", x, *(bounds if bounds[1] else bounds[:1]))


FORMULAS["clamp"] = lambda g, kind, args, params: _clip(g, kind, args[0], *params)
FORMULAS["hardtanh"] = FORMULAS["clamp"]
FORMULAS["clamp_min"] = lambda g, kind, args, params: _clip(g, kind, args[0], params[0], None)
FORMULAS["clamp_max"] = lambda g, kind, args, params: _clip(g, kind, args[0], None, params[0])
FORMULAS["clamp_above"] = lambda g, kind, args, params: g.op("Max", *args)
FORMULAS["clamp_below"] = lambda g, kind, args, params: g.op("Min", *args)
FORMULAS["clamp_between"] = lambda g, kind, args, params: g.op(
    "Min", g.op("Max", args[0], args[1]), args[2]
)


@_say("add_scaled")
def _add_scaled(g: Builder, kind: DType, args: Terms, params: tuple[Any, ...]) -> str:
    return g.op("Add", args[0], g.op("Mul", args[1], number(g, kind, params[0])))


@_say("addcmul")
def _addcmul(g: Builder, kind: DType, args: Terms, params: tuple[Any, ...]) -> str:
    both = g.op("Mul", g.op("Mul", args[1], args[2]), number(g, kind, params[0]))
    return g.op("Add", args[0], both)


# --------------------------------------------------------------------------------- activations


@_say("leaky_relu")
def _leaky(g: Builder, kind: DType, args: Terms, params: tuple[Any, ...]) -> str:
    return g.op("LeakyRelu", args[0], alpha=float(params[0]))


@_say("elu")
def _elu(g: Builder, kind: DType, args: Terms, params: tuple[Any, ...]) -> str:
    return g.op("Elu", args[0], alpha=float(params[0]))


@_say("celu")
def _celu(g: Builder, kind: DType, args: Terms, params: tuple[Any, ...]) -> str:
    alpha = number(g, kind, params[0])
    return g.op("Mul", alpha, g.op("Elu", g.op("Div", args[0], alpha), alpha=1.0))


@_say("selu")
def _selu(g: Builder, kind: DType, args: Terms, params: tuple[Any, ...]) -> str:
    return g.op("Selu", args[0], alpha=SELU_ALPHA, gamma=SELU_SCALE)


@_say("gelu")
def _gelu(g: Builder, kind: DType, args: Terms, params: tuple[Any, ...]) -> str:
    if g.opset >= 20:
        return g.op("Gelu", args[0])
    inner = g.op("Erf", g.op("Mul", args[0], number(g, kind, math.sqrt(0.5))))
    half = g.op("Mul", args[0], number(g, kind, 0.5))
    return g.op("Mul", half, g.op("Add", inner, number(g, kind, 1.0)))


@_say("gelu_tanh")
def _gelu_tanh(g: Builder, kind: DType, args: Terms, params: tuple[Any, ...]) -> str:
    if g.opset >= 20:
        return g.op("Gelu", args[0], approximate="tanh")
    x = args[0]
    cube = g.op("Mul", number(g, kind, 0.044715), g.op("Mul", x, g.op("Mul", x, x)))
    at = g.op("Mul", number(g, kind, 2 * math.sqrt(2 / math.pi)), g.op("Add", x, cube))
    return g.op("Mul", x, g.op("Sigmoid", at))


@_say("silu")
def _silu(g: Builder, kind: DType, args: Terms, params: tuple[Any, ...]) -> str:
    return g.op("Mul", args[0], g.op("Sigmoid", args[0]))


@_say("gate")
def _gate(g: Builder, kind: DType, args: Terms, params: tuple[Any, ...]) -> str:
    return g.op("Mul", args[0], g.op("Sigmoid", args[1]))


@_say("softplus")
def _softplus(g: Builder, kind: DType, args: Terms, params: tuple[Any, ...]) -> str:
    beta, threshold = params
    x = args[0]
    if beta == 1:
        smooth = g.op("Softplus", x)
    else:
        smooth = g.op(
            "Div", g.op("Softplus", g.op("Mul", x, number(g, kind, beta))), number(g, kind, beta)
        )
    far = g.op("Greater", g.op("Mul", x, number(g, kind, beta)), number(g, kind, threshold))
    return g.op("Where", far, x, smooth)


@_say("logsigmoid")
def _logsigmoid(g: Builder, kind: DType, args: Terms, params: tuple[Any, ...]) -> str:
    return g.op("Neg", g.op("Softplus", g.op("Neg", args[0])))


@_say("hardsigmoid")
def _hardsigmoid(g: Builder, kind: DType, args: Terms, params: tuple[Any, ...]) -> str:
    return g.op("HardSigmoid", args[0], alpha=1 / 6, beta=0.5)


@_say("softshrink")
def _softshrink(g: Builder, kind: DType, args: Terms, params: tuple[Any, ...]) -> str:
    return g.op("Shrink", args[0], lambd=float(params[0]), bias=float(params[0]))


@_say("hardshrink")
def _hardshrink(g: Builder, kind: DType, args: Terms, params: tuple[Any, ...]) -> str:
    return g.op("Shrink", args[0], lambd=float(params[0]), bias=0.0)


# -------------------------------------------------------------------------------------- the rows


@row("copy")
def _cast(g: Builder, step: Step) -> str:
    """A copy that casts; one that broadcasts, where it is written over an array."""
    (x,) = step.operands
    (out,) = step.results
    name = g.name(x)
    if x.dtype is not out.dtype:
        name = g.cast(name, out.dtype)
    return spread(g, name, x.shape, out)


def spread(g: Builder, name: str, shape: tuple[Any, ...], out: Value) -> str:
    """``name`` of ``shape`` broadcast to the shape of ``out``, if it is not that."""
    return name if shape == out.shape else g.op("Expand", name, g.ints(out.shape))


def common_shape(shapes: list[tuple[Any, ...]]) -> tuple[Any, ...]:
    """What these broadcast to, run by run."""
    count = max(len(s) for s in shapes)
    made: list[Any] = [1] * count
    for shape in shapes:
        for axis, size in enumerate(shape, count - len(shape)):
            if size != 1:
                made[axis] = size
    return tuple(made)


def elementwise(g: Builder, step: Step) -> str:
    """A formula of arrays."""
    assert isinstance(step.op, Elementwise)
    formula = step.op.formula
    names = tuple([g.name(x) for x in step.operands])
    kind = step.operands[-1].dtype if step.operands else step.results[0].dtype
    said = FORMULAS.get(formula.name) if step.name == formula.name else None
    if said is not None and _own(step):
        made = said(g, kind, names, step.params)
    else:
        kinds = tuple([x.dtype for x in step.operands])
        made = say_formula(g, formula.function, kinds, names, step.params, step.results[0].dtype)
    shape = common_shape([x.shape for x in step.operands]) if step.operands else ()
    return spread(g, made, shape, step.results[0])


def _own(step: Step) -> bool:
    """Whether the op is of tilegrad's tables, not a user's of the same name."""
    found = OPS.get(step.name)
    return found is not None and found.formula.function is step.op.formula.function  # type: ignore[attr-defined]


__all__ = ["common_shape", "elementwise", "number", "spread", "truth"]
