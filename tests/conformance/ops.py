"""One op of PyTorch's database, run by both libraries on the database's samples."""

from __future__ import annotations

import copy
import types
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch.testing._internal.common_methods_invocations import op_db

import tilegrad
from tests.conformance import convert
from tests.conformance.convert import Differs, NotThere, same

KINDS = (torch.float32, torch.int64, torch.bool)
SAMPLES = 40  # of one op and dtype; more are looked at with --all

# what the database has that no user calls: private names, compilers' and other libraries' internals
PRIVATE = ("_", "torch.ops.", "ops.aten.", "jiterator", "to_sparse", "sparse.", "native_", "aten")


# results of undefined contents
UNDEFINED = (
    "empty",
    "empty_like",
    "empty_permuted",
    "empty_strided",
    "new_empty",
    "new_empty_strided",
)

# results that are places of elements of the input, where PyTorch chooses freely among equal elements; with
# the place of the argument ``dim``
PLACES = {"sort": 0, "argsort": 0, "topk": 1, "kthvalue": 1, "median": 0, "nanmedian": 0, "mode": 0}


# results that are determined up to signs, phases or the choice of a basis: what is compared of them is what
# PyTorch's samples name for it
UP_TO_PHASES = ("linalg.eig", "linalg.eigh", "linalg.svd", "svd")

WIDE = {torch.float32: torch.float64, torch.complex64: torch.complex128}


class Given(tuple):
    """Input, arguments and keywords of a sample, and what of its result is determined."""

    determined: Callable[[Any], Any]


@dataclass
class Outcome:
    """What was found of one op, module or optimizer.

    Attributes:
        missing: the name that tilegrad lacks; failed: the first differences.
        samples: how many were compared; passed: how many agree in every form.
    """

    name: str
    samples: int = 0
    passed: int = 0
    missing: str = ""
    failed: list[str] = field(default_factory=list)

    @property
    def whole(self) -> bool:
        """Whether everything agrees."""
        return self.samples > 0 and self.passed == self.samples

    def fail(self, why: str) -> None:
        """Keep the first few reasons, each once."""
        if why not in self.failed and len(self.failed) < 4:
            self.failed.append(why)


class Unusable(Exception):
    """A sample that PyTorch itself does not run."""


def public(name: str) -> bool:
    """Whether a user would call the op of this name."""
    last = name.rsplit(".", 1)[-1]
    if last.startswith("__"):
        return True
    return not (last.startswith("_") or name.startswith(PRIVATE))


def entries() -> list[Any]:
    """The public rows of the database; a name may have several, for forms of the op."""
    return [op for op in op_db if public(op.name)]


def title(op: Any) -> str:
    """Name and variant of a row."""
    return op.name + (f" ({op.variant_test_name})" if op.variant_test_name else "")


def our_function(op: Any) -> Callable[..., Any]:
    """tilegrad's function behind the row.

    Raises:
        NotThere: there is none.
    """
    given = op.op
    if op.name.startswith("__"):
        return convert.attribute(f"Tensor.{op.name}")  # type: ignore[no-any-return]
    if isinstance(given, types.FunctionType) and given.__module__.startswith("torch.testing"):
        return convert.function(given)
    if isinstance(given, types.MethodDescriptorType | types.WrapperDescriptorType):
        return convert.attribute(f"Tensor.{given.__name__}")  # type: ignore[no-any-return]
    return convert.attribute(op.name)  # type: ignore[no-any-return]


def samples(
    op: Any, kind: torch.dtype, most: int
) -> Iterator[tuple[Any, tuple[Any, ...], dict[str, Any]]]:
    """Input, arguments and keywords of the row's samples in one dtype."""
    grad = (kind.is_floating_point or kind.is_complex) and op.supports_autograd
    torch.manual_seed(0)
    for number, sample in enumerate(op.sample_inputs("cpu", kind, requires_grad=grad)):
        if number == most:
            return
        given = Given((sample.input, tuple(sample.args), dict(sample.kwargs)))
        given.determined = sample.output_process_fn_grad
        yield given


def check(op: Any, most: int = SAMPLES, kinds: tuple[torch.dtype, ...] = KINDS) -> Outcome:
    """Run a row in these dtypes, as far as it has them, and all forms."""
    found = Outcome(title(op))
    try:
        ours = our_function(op)
    except NotThere as missing:
        found.missing = str(missing)
        return found
    for kind in kinds:
        if kind not in op.supported_dtypes("cpu"):
            continue
        for given in samples(op, kind, most):
            _sample(op, ours, given, kind, found)
            if found.missing:
                return found
    return found


def _sample(
    op: Any, ours: Callable[..., Any], given: Any, kind: torch.dtype, found: Outcome
) -> None:
    found.samples += 1
    label = str(kind).removeprefix("torch.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _forms(op, ours, given, kind)
    except Unusable:
        found.samples -= 1
    except NotThere as missing:
        if str(missing) in ("float16", "bfloat16"):
            found.samples -= 1  # a dtype of a later issue
            return
        found.fail(f"{label}: no {missing}")
    except Differs as wrong:
        found.fail(f"{label}: {wrong}")
    except Exception as error:
        found.fail(f"{label}: {type(error).__name__}: {str(error)[:160]}")
    else:
        found.passed += 1


def _forms(op: Any, ours: Callable[..., Any], given: Any, kind: torch.dtype) -> None:
    """The function, its gradient, the method, the in-place method and ``out=``."""
    try:
        want, args, kwargs = run_torch(op.op, given)
    except (
        RuntimeError
    ) as error:  # of a copy of the sample, which may have been a part of a larger memory
        raise Unusable(str(error)) from None
    again, _, _ = run_torch(op.op, given)
    steady = _equal(want, again) and op.name not in UNDEFINED and not _draws(op.op)
    mine = convert.value([copied(given[0]), *copied(given[1])])
    keywords = convert.value(copied(given[2]))
    got = ours(*mine, **keywords)
    _agree(op, given, got, want, "function", steady)
    if steady and (kind.is_floating_point or kind.is_complex) and op.supports_autograd:
        determined = given.determined if op.name in UP_TO_PHASES else lambda made: made
        pair = determined(got), determined(want)
        _gradients(op, given, determined, *pair, (mine, keywords), (args, kwargs))
    _twins(op, given, want, steady)
    if steady and op.supports_out and convert.tensors(want):
        _out(op, ours, given, want)


def copied(given: Any) -> Any:
    """Tensors as leaves of their own, so that no run sees another's writes."""
    if isinstance(given, torch.Tensor):
        made = given.detach().clone(memory_format=torch.preserve_format)
        return made.requires_grad_(given.requires_grad)
    if isinstance(given, tuple):
        items = [copied(v) for v in given]
        return type(given)(*items) if hasattr(given, "_fields") else type(given)(items)
    if isinstance(given, list):
        return [copied(v) for v in given]
    if isinstance(given, dict):
        return {k: copied(v) for k, v in given.items()}
    return given if callable(given) else copy.copy(given)


def run_torch(function: Any, given: Any) -> tuple[Any, list[Any], dict[str, Any]]:
    """PyTorch's result, and the operands that it was made of."""
    args, kwargs = [copied(given[0]), *copied(given[1])], copied(given[2])
    return function(*args, **kwargs), args, kwargs


def _equal(a: Any, b: Any) -> bool:
    """Whether two runs gave the same numbers: not for random functions."""
    return all(
        torch.equal(x, y) or bool(x.isnan().any())
        for x, y in zip(convert.leaves(a), convert.leaves(b), strict=True)
        if isinstance(x, torch.Tensor)
    )


def _agree(op: Any, given: Any, got: Any, want: Any, what: str, steady: bool) -> None:
    """Compare results; where float32 differs, PyTorch's own of float64 decides which of the two is right.

    Raises:
        Differs: something is not PyTorch's.
    """
    got = _places(op, given, got, want)
    if op.name in UP_TO_PHASES:
        same(got, want, what, False)
        got, want = given.determined(got), given.determined(want)
    try:
        same(got, want, what, steady)
    except Differs as wrong:
        if not steady:
            raise
        right = _in_float64(op, given, want, wrong)[0]
        if op.name in UP_TO_PHASES:
            right = given.determined(right)
        _decided(lambda: same(got, _narrowed(right, want), what), wrong)


def _in_float64(op: Any, given: Any, want: Any, wrong: Differs) -> Any:
    """:func:`run_torch` on the sample in float64 or complex128; ``wrong`` where there is no such."""
    if not any(t.dtype in WIDE for t in convert.tensors(want)):
        raise wrong
    try:
        return run_torch(op.op, [_widened(part) for part in given])
    except Exception:
        raise wrong from None


def _decided(compare: Callable[[], None], wrong: Differs) -> None:
    try:
        compare()
    except Differs:
        raise wrong from None


def _widened(given: Any) -> Any:
    return torch.utils._pytree.tree_map(
        lambda t: (
            t.detach().to(WIDE.get(t.dtype, t.dtype)).requires_grad_(t.requires_grad)
            if isinstance(t, torch.Tensor)
            else t
        ),
        given,
    )


def _narrowed(right: Any, want: Any) -> list[Any]:
    """The values of ``right`` in the dtypes of ``want``."""
    pairs = zip(convert.leaves(right), convert.leaves(want), strict=True)
    return [a.to(b.dtype) if isinstance(b, torch.Tensor) else a for a, b in pairs]


def _gradients(op: Any, given: Any, determined: Any, got: Any, want: Any, mine: Any, theirs: Any) -> None:  # fmt: skip
    """The gradients of the weighted sum of the floating outputs, for every leaf; :func:`_agree` decides alike."""
    outputs = [
        (a, b) for a, b in zip(convert.leaves(got), convert.leaves(want), strict=True)
        if isinstance(b, torch.Tensor) and b.requires_grad
    ]  # fmt: skip
    if not outputs:
        return
    ours = [t for t in convert.leaves(mine) if isinstance(t, tilegrad.Tensor) and t.requires_grad]
    right = [t for t in convert.leaves(theirs) if isinstance(t, torch.Tensor) and t.requires_grad]
    torch.manual_seed(1)
    weights = [torch.randn_like(b.detach()) for _, b in outputs]
    for a, _ in outputs:
        if not a.requires_grad:
            raise Differs("gradient: the result does not require one")
    try:
        their = torch.autograd.grad([b for _, b in outputs], right, weights, allow_unused=True)
    except NotImplementedError:  # of nextafter
        return
    our = tilegrad.autograd.grad(
        [a for a, _ in outputs], ours, [convert.tensor(w) for w in weights], allow_unused=True
    )
    for number, (a, b) in enumerate(zip(our, their, strict=True)):
        if a is None and b is not None and not bool((b != 0).any()):
            continue
        if b is None and a is not None and not bool((a != 0).any()):
            continue
        try:
            same(a, b, f"gradient of {number}")
        except Differs as wrong:
            if not isinstance(b, torch.Tensor) or a is None:
                raise
            made, args, kwargs = _in_float64(op, given, b, wrong)
            outs = [
                t
                for t in convert.leaves(determined(made))
                if isinstance(t, torch.Tensor) and t.requires_grad
            ]
            leaves = [
                t
                for t in convert.leaves((args, kwargs))
                if isinstance(t, torch.Tensor) and t.requires_grad
            ]
            weights = [w.to(t.dtype) for w, t in zip(weights, outs, strict=True)]
            right = torch.autograd.grad(outs, leaves, weights, allow_unused=True)[number]
            _decided(lambda a=a, b=b, r=right: same(a, r.to(b.dtype), ""), wrong)


def _twins(op: Any, given: Any, want: Any, steady: bool) -> None:
    """The method and the in-place method, with equal results."""
    for form, name in ((op.get_method(), "method"), (op.get_inplace(), "in-place method")):
        if (
            getattr(form, "__name__", "") == "<lambda>"
            or form is None
            or not isinstance(given[0], torch.Tensor)
        ):
            continue
        path = getattr(form, "func", form).__name__
        detached = (given[0].detach(), given[1], given[2])
        try:
            right, _, _ = run_torch(form, detached)
        except Exception:  # in place, where the result's shape or dtype does not fit
            continue
        if isinstance(form, partial) and path == op.name.rsplit(".", 1)[-1] and "." in op.name:
            mine = partial(our_function(op), **form.keywords)  # a function that has ``inplace``
        else:
            mine = convert.attribute(f"Tensor.{path}")
        got = mine(
            *convert.value([copied(detached[0]), *copied(given[1])]),
            **convert.value(copied(given[2])),
        )
        _agree(op, given, got, right, name, steady)


def _draws(function: Any) -> bool:
    """Whether a row's function sets PyTorch's seed: its numbers are random, and ours are others."""
    return "wrapper_set_seed" in getattr(getattr(function, "__code__", None), "co_names", ())


def _places(op: Any, given: Any, got: Any, want: Any) -> Any:
    """The result, its indices replaced by PyTorch's where the elements there are equal."""
    if op.name not in PLACES or given[2].get("stable"):
        return got
    single = op.name == "argsort"
    if not single and not isinstance(want, tuple):
        return got
    mine, right = (got, want) if single else (got[-1], want[-1])
    if not isinstance(right, torch.Tensor) or tuple(mine.shape) != tuple(right.shape):
        return got
    place = PLACES[op.name]
    dim = given[2].get("dim", given[1][place] if len(given[1]) > place else -1)
    ours = torch.from_numpy(mine.detach().numpy().copy())
    x = given[0].detach()
    ours, theirs = (t.unsqueeze(dim) if t.ndim < x.ndim else t for t in (ours, right))
    inside = ours.dtype is torch.int64 and bool(
        (ours >= 0).all() & (ours < max(x.numel(), 1)).all()
    )
    if not inside or not torch.equal(x.gather(dim, ours), x.gather(dim, theirs)):
        return got
    kept = convert.tensor(right)
    return kept if single else (*got[:-1], kept)


def _out(op: Any, ours: Callable[..., Any], given: Any, want: Any) -> None:
    """``out=`` of the right shapes, and of none: it is resized."""
    plain = torch.utils._pytree.tree_map(
        lambda t: t.detach() if isinstance(t, torch.Tensor) else t, tuple(given)
    )
    for empty in (False, True):
        outs = [
            torch.empty(0 if empty else r.shape, dtype=r.dtype)
            for r in convert.leaves(want) if isinstance(r, torch.Tensor)
        ]  # fmt: skip
        target = [convert.tensor(t) for t in outs]
        keywords = convert.value(copied(plain[2]))
        single = isinstance(want, torch.Tensor)
        try:  # rows say that they take it where their function has no such argument
            args = [copied(plain[0]), *copied(plain[1])]
            op.op(*args, **copied(plain[2]), out=outs[0] if single else tuple(outs))
        except TypeError:
            return
        got = ours(
            *convert.value([copied(plain[0]), *copied(plain[1])]),
            **keywords,
            out=target[0] if single else tuple(target),
        )
        _agree(op, given, got, want, "out=", True)
        for a, b in zip(convert.leaves(got), target, strict=True):
            if a is not b:
                raise Differs("out=: the result is not what was given")
