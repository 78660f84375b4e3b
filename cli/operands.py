"""From the name of an op to a call of it: arguments are found by its signature."""

from __future__ import annotations

import ast
import difflib
import importlib
import inspect
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from tilegrad.cli.failure import Failure

SHAPE = "1024,1024"  # of operands that nobody gave a shape

# shapes and arguments where the signature does not tell
EXAMPLES: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "batch_norm": (("32,64,56,56",), {"training": True}),
    "bmm": (("64,256,256", "64,256,256"), {}),
    "conv1d": (("16,64,4096", "64,64,9"), {"padding": 4}),
    "conv2d": (("32,64,56,56", "64,64,3,3"), {"padding": 1}),
    "conv3d": (("2,16,16,56,56", "32,16,3,3,3"), {"padding": 1}),
    "conv_transpose1d": (("16,64,1024", "64,32,4"), {"stride": 2}),
    "conv_transpose2d": (("8,64,28,28", "64,32,2,2"), {"stride": 2}),
    "conv_transpose3d": (("2,16,8,28,28", "16,8,2,2,2"), {"stride": 2}),
    "cross_entropy": (("1024,1000", "1024:int64"), {}),
    "dot": (("1048576", "1048576"), {}),
    "embedding": (("4096:int64", "50000,512"), {}),
    "gather": (("1024,1024", "1024,1024:int64"), {}),
    "group_norm": (("32,64,56,56",), {}),
    "index_select": (("1024,1024", "512:int64"), {}),
    "instance_norm": (("32,64,56,56",), {}),
    "mv": (("1024,1024", "1024"), {}),
    "nll_loss": (("1024,1000", "1024:int64"), {}),
    "scaled_dot_product_attention": (("8,8,256,64",) * 3, {}),
    "where": (("1024,1024:bool", "1024,1024", "1024,1024"), {}),
    **{f"{kind}_pool1d": (("32,64,1024",), {}) for kind in ("max", "avg")},
    **{f"{kind}_pool2d": (("32,64,56,56",), {}) for kind in ("max", "avg")},
    **{f"{kind}_pool3d": (("8,16,16,56,56",), {}) for kind in ("max", "avg")},
    **{f"adaptive_{kind}_pool2d": (("32,64,56,56",), {}) for kind in ("max", "avg")},
}  # fmt: skip

# values of required parameters that are no tensors
GUESSES: dict[str, Callable[[tuple[int, ...]], Any]] = {
    "dim": lambda shape: len(shape) - 1,
    "dims": lambda shape: 0,
    "k": lambda shape: min(8, shape[-1]),
    "kernel_size": lambda shape: 2,
    "normalized_shape": lambda shape: shape[-1:],
    "num_groups": lambda shape: 8,
    "output_size": lambda shape: 1,
    "size": lambda shape: shape,
}


class Call(NamedTuple):
    """A function with its arguments."""

    function: Callable[..., Any]
    positional: list[Any]
    keywords: dict[str, Any]
    tensors: list[Any]  # those among the arguments

    def __call__(self) -> list[Any]:
        """The resulting tensors."""
        result = self.function(*self.positional, **self.keywords)
        return [result] if hasattr(result, "dtype") else list(result or ())


def find(op: str) -> Callable[..., Any]:
    """The function of the library that is called ``op``; of two, that of ``nn.functional``.

    Raises:
        Failure: there is none.
    """
    import tilegrad
    from tilegrad.autograd.tensor import Tensor
    from tilegrad.nn import functional

    if ":" in op:
        return _imported(op)
    names: set[str] = set()
    for place in (functional, tilegrad, Tensor):
        found = getattr(place, op, None)
        if inspect.isfunction(found) and not op.startswith("_"):
            return found
        names |= {n for n in dir(place) if inspect.isfunction(getattr(place, n, None))}
    if op in dir(tilegrad.ops):
        return getattr(tilegrad.ops, op)  # type: ignore[no-any-return]
    near = difflib.get_close_matches(op, sorted(n for n in names if n[0] != "_"), 3)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    raise Failure(f"no op is called {op!r}{hint}")


def _imported(path: str) -> Callable[..., Any]:
    """The op of a user's at ``package.module:name``."""
    module, _, name = path.partition(":")
    sys.path.insert(0, os.getcwd())
    try:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, ValueError) as error:
        raise Failure(f"no op is at {path!r}: {one_line(error)}") from None
    finally:
        sys.path.remove(os.getcwd())
    if not hasattr(found, "subject"):
        raise Failure(
            f"{path} is none of tilegrad.elementwise, fuse, reduction or op; got {type(found).__name__}"
        )
    return found  # type: ignore[no-any-return]


def keyword(text: str) -> tuple[str, Any]:
    """(name, value) of ``name=value``; a value that is no Python literal is a string."""
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise Failure(f"--arg must be name=value; got {text!r}")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value


class _Maker:
    """Makes tensors one after the other, of the shapes that were asked for."""

    def __init__(self, shapes: Sequence[str], dtype: str, device: str, grad: bool):
        self.left, self.first = list(shapes), shapes[0] if shapes else SHAPE
        self.dtype, self.device, self.grad = dtype, device, grad
        self.made: list[Any] = []

    @property
    def shape(self) -> tuple[int, ...]:
        """The first one."""
        return shape_of(self.first.partition(":")[0])

    def next(self) -> Any:
        """The next tensor; of the first shape again where no more were given."""
        import tilegrad

        text = self.left.pop(0) if self.left else self.first
        sizes, _, name = text.partition(":")
        kind = getattr(tilegrad, name or self.dtype, None)
        if not isinstance(kind, tilegrad.dtype):
            raise Failure(f"no dtype is called {name or self.dtype!r}")
        if self.device == "cpu":  # values that any op takes: zero is an index, too
            tensor = tilegrad.from_numpy(np.zeros(shape_of(sizes), name or self.dtype))
        else:
            tensor = tilegrad.empty(shape_of(sizes), dtype=kind, device=self.device)
        if self.grad and kind.is_floating_point:
            tensor.requires_grad_()
        self.made.append(tensor)
        return tensor


def shape_of(text: str) -> tuple[int, ...]:
    """(2, 3) of ``2,3``; () of an empty text."""
    try:
        sizes = tuple(int(word) for word in text.split(",") if word)
    except ValueError:
        sizes = (-1,)
    if any(n < 0 for n in sizes):
        raise Failure(f"--shape must be sizes such as {SHAPE} or 64,10:int64; got {text!r}")
    return sizes


def prepare(
    op: str, shapes: Sequence[str], dtype: str, device: str, given: dict[str, Any], grad: bool
) -> Call:
    """A call of ``op`` with operands of ``shapes``, the arguments ``given``, and for other required
    ones what their names suggest.

    Raises:
        Failure: the op is unknown, an argument cannot be guessed or is none of the op's, or there is
            no memory for an operand.
    """
    try:
        return _prepare(find(op), op, shapes, dtype, device, given, grad)
    except (RuntimeError, MemoryError) as error:
        raise Failure(one_line(error)) from None


def _prepare(
    function: Callable[..., Any],
    op: str,
    shapes: Sequence[str],
    dtype: str,
    device: str,
    given: dict[str, Any],
    grad: bool,
) -> Call:
    if op in EXAMPLES and not shapes:
        shapes, more = EXAMPLES[op]
        given = {**more, **given}
    parameters = inspect.signature(function).parameters
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    for name in given:
        if name not in parameters and not takes_any:
            raise Failure(f"{op} has no argument {name!r}; it has {', '.join(parameters)}")
    maker = _Maker(shapes, dtype, device, grad)
    call = Call(function, [], {}, maker.made)
    subject = getattr(function, "subject", None)
    if subject is not None:
        call.positional.extend([maker.next() for _ in subject.operands])
        call.keywords.update(given)
    for parameter in parameters.values() if subject is None else ():
        if parameter.name == "out":
            continue  # written, not read
        _fill(op, parameter, call, maker, given)
    if maker.left:
        raise Failure(f"{op} takes {len(maker.made)} tensors here; got {len(shapes)} shapes")
    return call


def _fill(
    op: str, parameter: inspect.Parameter, call: Call, maker: _Maker, given: dict[str, Any]
) -> None:
    """Find the value of one parameter."""
    name, kind = parameter.name, str(parameter.annotation)
    required = parameter.default is parameter.empty
    tensor = "Tensor" in kind or name == "self"
    if kind in ("Any", "object") and not required and name != "dtype":  # the second operand of max
        tensor = bool(maker.left)
    if name in given:
        call.keywords[name] = given[name]
    elif parameter.kind is parameter.VAR_POSITIONAL:
        call.positional.extend(_many(name, maker))
    elif name == "device":
        call.keywords[name] = maker.device
    elif tensor and "Sequence" in kind and required:
        _put(call, parameter, [maker.next() for _ in range(max(2, len(maker.left)))])
    elif tensor and (maker.left or (required and "None" not in kind)):
        _put(call, parameter, maker.next())
    elif tensor and required:
        _put(call, parameter, None)
    elif required and parameter.kind is not parameter.VAR_KEYWORD:
        if name not in GUESSES:
            raise Failure(f"{op} needs a value of {name!r}: --arg {name}=…")
        shape = tuple(maker.made[0].shape) if maker.made else maker.shape
        _put(call, parameter, GUESSES[name](shape))


def _many(name: str, maker: _Maker) -> list[Any]:
    """Arguments of a function that takes any number of them."""
    if name in ("size", "dims"):  # zeros(*size), permute(*dims)
        maker.left.clear()
        return list(maker.shape)
    return [maker.next() for _ in range(max(1, len(maker.left)))]


def _put(call: Call, parameter: inspect.Parameter, value: Any) -> None:
    if parameter.kind is parameter.KEYWORD_ONLY or call.keywords:
        call.keywords[parameter.name] = value
    else:
        call.positional.append(value)


def perform(
    call: Call,
    backward: bool,
    needed: bool = True,
    gradient: Callable[[Any], Any] | None = None,
) -> None:
    """Run the call, and if asked its backward pass.

    Args:
        call: what to run.
        backward: whether to go backward too; needed: whether it is an error not to be able to.
        gradient: makes the gradient of an output; by default one of any values.

    Raises:
        Failure: the op refuses its operands, or no result requires a gradient.
    """
    import tilegrad

    make = gradient or tilegrad.empty_like
    try:
        outputs = [o for o in call() if getattr(o, "requires_grad", False)]
        if backward and needed and not outputs:
            raise Failure("--backward: no result requires a gradient")
        if backward and outputs:
            tilegrad.autograd.backward(outputs, [make(o) for o in outputs])
    except (RuntimeError, TypeError, ValueError, IndexError, ArithmeticError) as error:
        raise Failure(one_line(error)) from None


def one_line(error: BaseException) -> str:
    """The message of an error, without line breaks."""
    return " ".join(str(error).split())
