"""Run a program in both libraries, statement by statement, and find where they part."""

from __future__ import annotations

import ast
import contextlib
import random
import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

import tilegrad
from tests.programs.explained import reason
from tests.programs.statements import draw_statement
from tests.programs.values import Draw, Variable

# relative to the largest element: chains of a dozen roundings, and cancellation within them
TOLERANCE = {"float32": 2e-4, "float64": 1e-9, "complex64": 2e-4, "complex128": 1e-9}
SINGLE = (torch.float32, torch.complex64)
LARGEST = 1e6  # results beyond leave the program: what follows would be about rounding


@dataclass
class Outcome:
    """How a program went.

    Attributes:
        lines: statements that both libraries have run.
        difference: what differed at the last one; empty where nothing did.
        missing: names and arguments that tilegrad lacks, each of which left a statement out.
        refused: statements that both refused.
        explained: reasons of differences that are meant, each of which left a statement out.
    """

    lines: list[str] = field(default_factory=list)
    difference: str = ""
    missing: list[str] = field(default_factory=list)
    refused: int = 0
    explained: list[str] = field(default_factory=list)

    def program(self) -> str:
        """The statements as a script that prints what each library makes of the last one."""
        body = "\n".join(f"    {line}" for line in self.lines)
        last = self.lines[-1]
        name = (
            last.split(" = ")[0]
            if last.startswith("x") and " = " in last
            else last[: last.find(".")]
        )
        return (
            f"import torch, tilegrad\nfrom math import inf, nan\n\n\ndef program(t):\n{body}\n    return {name.split('[')[0]}\n\n\n"
            f"for t in torch, tilegrad:\n    try:\n        print(t.__name__, program(t))\n"
            f"    except Exception as error:\n        print(t.__name__, type(error).__name__, error)\n"
        )


class Pair:
    """The names of a program in both libraries."""

    def __init__(self) -> None:
        self.theirs: dict[str, Any] = {"t": torch, "nan": float("nan"), "inf": float("inf")}
        self.ours: dict[str, Any] = {**self.theirs, "t": tilegrad}
        self.given = False  # whether a result was computed in float32 and given to a wider place

    def run(self, line: str) -> tuple[Exception | None, Exception | None]:
        """What each library raised, if it did."""
        self.given = (
            self.given or "out=" in line or "VonMises" in line
        )  # PyTorch's Bessel functions there
        return _raised(line, self.theirs), _raised(line, self.ours)

    def compare(self, exactly: set[str]) -> str:
        """What differs between tensors of the same name, or of their gradients."""
        tensors = [v for v in self.theirs.values() if isinstance(v, torch.Tensor)]
        single = self.given or any(v.dtype in SINGLE for v in tensors)
        bounds = dict.fromkeys(TOLERANCE, TOLERANCE["float32"]) if single else TOLERANCE
        for name, want in self.theirs.items():
            if (
                isinstance(want, (bool, int, float, complex, str, list, tuple))
                and name in self.ours
            ):
                text = _plain(self.ours[name], want, bounds)
                if text:
                    return f"{name}: {text}"
            if isinstance(want, torch.Tensor) and readable(want):
                text = difference(self.ours[name], want, name in exactly, bounds)
                if not text and want.is_leaf and want.requires_grad:
                    text = _gradients(self.ours[name].grad, want.grad, bounds)
                if text:
                    return f"{name}: {text}"
        return ""


def facts(pair: Pair, line: str) -> str:
    """What the tensors tell of a statement that the libraries do not agree on: whether it has to do with
    one that has no elements, or no dimensions, or that the libraries laid out or rounded otherwise; whether it
    writes elements to themselves, or over others that it reads, or to memory that one library alone shares.
    """
    names = pair.theirs
    (node,) = ast.parse(line).body
    named = [
        n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)
    ]
    used = [names.get(name) for name in named]
    text = _unlike(pair, named)
    if any(isinstance(v, torch.Tensor) and not v.numel() for v in used):
        text += " of no elements"
    if any(isinstance(v, torch.Tensor) and not v.ndim for v in used):
        text += " of no dimensions"
    with contextlib.suppress(IndexError, RuntimeError, NameError):  # the statement itself is wrong
        target, sources = (
            [eval(ast.unparse(part), names) for part in parts] for parts in _written_and_read(node)
        )
        for source in sources:
            if target and isinstance(target[0], torch.Tensor) and isinstance(source, torch.Tensor):
                text += _shared(target[0], source)
        whole = (
            names.get(next(iter(named), "")) if target else None
        )  # x of x[…], which may be a copy
        if any(isinstance(v, torch.Tensor) and _overlaps_itself(v) for v in (*target, whole)):
            text += " of overlapping memory"
    return text


def _unlike(pair: Pair, named: list[str]) -> str:
    """How the libraries' tensors of these names differ beside their values; in words."""
    text = ""
    for name in named:
        theirs, ours = pair.theirs.get(name), pair.ours.get(name)
        if not (isinstance(theirs, torch.Tensor) and isinstance(ours, tilegrad.Tensor)):
            continue
        if theirs._is_zerotensor():  # which is no memory
            continue
        strides = zip(theirs.shape, theirs.stride(), ours.stride(), strict=False)
        if theirs.numel() and any(a != b for size, a, b in strides if size > 1):
            text += " of another layout"
        plain = theirs.detach().resolve_neg().resolve_conj().numpy(force=True)
        if ours.detach().resolve_conj().numpy().tobytes() != plain.tobytes():
            text += " of another rounding"
        if any(
            _together(pair.theirs, name, n) != _together(pair.ours, name, n) for n in pair.theirs
        ):
            text += " of memory that one shares"
    return text


def _together(names: dict[str, Any], one: str, other: str) -> bool:
    """Whether tensors of two names lie in the same memory."""
    places = [
        v.untyped_storage().data_ptr()
        for v in (names.get(one), names.get(other))
        if isinstance(v, (torch.Tensor, tilegrad.Tensor))
        and v.numel()
        and not (isinstance(v, torch.Tensor) and v._is_zerotensor())
    ]
    return len(places) == 2 and places[0] == places[1]


def _written_and_read(node: ast.stmt) -> tuple[list[ast.expr], list[ast.expr]]:
    """What a statement in place, or with a given result, writes to, and the operands that it writes there."""
    if isinstance(node, ast.AugAssign):
        return [node.target], [node.value]
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Subscript):
        return [node.targets[0]], [node.value]
    if isinstance(node, (ast.Assign, ast.Expr)) and isinstance(node.value, ast.Call):
        call = node.value
        places = [k.value for k in call.keywords if k.arg == "out"]
        if places and isinstance(places[0], (ast.Tuple, ast.Name)):
            first = places[0].elts[0] if isinstance(places[0], ast.Tuple) else places[0]
            return [first], [a for a in call.args if isinstance(a, ast.Name)]
        if isinstance(call.func, ast.Attribute) and call.func.attr.endswith("_"):
            return [call.func.value], [a for a in call.args if isinstance(a, ast.Name)]
    return [], []


def _overlaps_itself(value: torch.Tensor) -> bool:
    """Whether several elements lie in one place, by whatever strides."""
    places = torch.zeros((), dtype=torch.int64)
    for dim, (size, stride) in enumerate(zip(value.shape, value.stride(), strict=True)):
        places = places + (torch.arange(size) * stride).reshape(-1, *[1] * (value.ndim - 1 - dim))
    return places.unique().numel() < value.numel()


def _shared(target: torch.Tensor, source: torch.Tensor) -> str:
    """What memory two tensors have in common, in words."""
    one, other = target.detach().squeeze(), source.detach().squeeze()
    if not (one.numel() and other.numel()):
        return ""
    if one.untyped_storage().data_ptr() != other.untyped_storage().data_ptr():
        return ""
    same = one.shape == other.shape and one.stride() == other.stride()
    same = same and one.data_ptr() == other.data_ptr()
    return " of the same elements" if same else " of overlapping memory"


def _raised(line: str, names: dict[str, Any]) -> Exception | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            exec(line, names)  # a line that draw_statement wrote
    except Exception as error:
        return error
    return None


def _plain(have: Any, want: Any, bounds: dict[str, float]) -> str:
    """What differs between results that are no tensors, or several."""
    if isinstance(want, torch.Tensor):
        return difference(have, want, False, bounds)
    if not isinstance(want, (tuple, list)):
        if isinstance(have, str):
            have = have.replace("tilegrad", "torch")
        same = type(have) is type(want) and (have == want or want != want)
        return "" if same else f"is {have!r}, not {want!r}"
    if not isinstance(have, list if isinstance(want, list) else tuple) or len(have) != len(want):
        return f"is {have!r}, not {want!r}"
    pairs = zip(have, want, strict=True)
    return next(filter(None, (_plain(h, w, bounds) for h, w in pairs)), "")


def _gradients(have: Any, want: Any, bounds: dict[str, float]) -> str:
    if have is None or want is None:
        return "" if have is want else f".grad is {have}, not {want}"
    text = difference(have, want, False, bounds)
    return text and f".grad: {text}"


def difference(have: Any, want: torch.Tensor, exactly: bool, bounds: dict[str, float]) -> str:
    """In words; empty if there is none. ``bounds``: by dtype, unless ``exactly``."""
    kind = str(want.dtype).split(".")[1]
    if not isinstance(have, tilegrad.Tensor):
        return f"is a {type(have).__name__}"
    if str(have.dtype).split(".")[1] != kind:
        return f"has {have.dtype}, not {want.dtype}"
    if tuple(have.shape) != tuple(want.shape):
        return f"has shape {tuple(have.shape)}, not {tuple(want.shape)}"
    # the gradient of cummax without elements is what came in, which may ask for gradients itself
    counts = bool(want.numel()) or not (want.dtype.is_floating_point or want.dtype.is_complex)
    if counts and have.requires_grad != want.requires_grad:
        zeros = "" if want.detach().any() else " zeros"
        return f"requires_grad is {have.requires_grad}, not {want.requires_grad}, of {kind}{zeros}"
    got, ref = (
        have.detach().resolve_conj().numpy(),
        want.detach().resolve_neg().resolve_conj().numpy(force=True),  # zeros may be no memory
    )
    if kind not in TOLERANCE:
        return "" if np.array_equal(got, ref) else f"is {got.tolist()}, not {ref.tolist()}"
    finite = np.abs(ref[np.isfinite(ref)])
    scale = max(1.0, float(finite.max())) if finite.size else 1.0
    bound = 0.0 if exactly else bounds[kind] * scale
    same = np.isclose(got, ref, rtol=0.0, atol=bound, equal_nan=True)
    if same.all():
        return ""
    alone = " NaN in PyTorch alone:" if np.isnan(ref[~same]).all() else ""
    loose = np.isclose(got, ref, rtol=0.0, atol=TOLERANCE["float32"] * scale, equal_nan=True)
    alone = " the same in single precision:" if loose.all() else alone
    return f"is{alone} {got.tolist()}, not {ref.tolist()}"


def is_missing(error: Exception | None) -> str:
    """The name or argument that tilegrad lacks, if that is what it says."""
    text = str(error)
    lacking = (
        isinstance(error, AttributeError) and "has no attribute" in text and "'layout'" not in text
    )
    lacking = lacking or (isinstance(error, TypeError) and "unexpected keyword" in text)
    return text if lacking else ""


def same_error(have: Exception, want: Exception) -> bool:
    """Whether who expects PyTorch's exception catches ours."""
    alike = type(have).__name__ == type(want).__name__.lstrip("_")  # torch's _LinAlgError
    return alike or isinstance(have, type(want)) or isinstance(want, type(have))


def step(pair: Pair, line: str, outcome: Outcome, exactly: set[str]) -> bool:
    """Run one statement; whether it belongs to the program from now on."""
    want, have = pair.run(line)
    if want is None and have is None:
        text = pair.compare(exactly)
        about = f"{text}, where PyTorch gives that{facts(pair, line)}" if text else ""
        if text and _explained(about, line, outcome):
            return False
        outcome.lines.append(line)
        outcome.difference = text
        return True
    if have is not None and is_missing(have) and not is_missing(want):
        outcome.missing.append(is_missing(have))
    elif want is None or have is None or not same_error(have, want):
        text = f"{_words(have)}, where PyTorch gives {_words(want)}{facts(pair, line)}"
        if _explained(text, line, outcome):
            return False
        outcome.lines.append(line)
        outcome.difference = text
        return False
    else:
        outcome.refused += 1
    return False


def _explained(text: str, line: str, outcome: Outcome) -> bool:
    why = reason(text, line, outcome.lines)
    if why:
        outcome.explained.append(why)
    return bool(why)


def _words(error: Exception | None) -> str:
    return (
        "no error"
        if error is None
        else f"{type(error).__name__}: {str(error).splitlines()[0][:160]}"
    )


def run_program(seed: int, length: int = 14, newer: bool = False, wider: bool = False) -> Outcome:
    """Draw a program and run it until the libraries part.

    A statement in place that one library refuses or lacks may have been begun by the other: both start
    anew from the lines before.
    """
    draw = Draw(random.Random(seed), newer=newer or wider, wider=wider)
    outcome, pair, exactly = Outcome(), Pair(), set[str]()
    for number in range(length):
        text, exact = draw_statement(draw)
        name = f"x{number}"
        line = text.replace("NEW", name)
        makes = text.startswith("NEW")
        if not exact and not makes:  # what is written to, and whatever shares its memory
            exactly.clear()
        kept = step(pair, line, outcome, exactly | {name} if exact else exactly)
        if outcome.difference:
            return outcome
        if not kept:
            pair = replay(outcome.lines)
        elif exact and makes:
            exactly.add(name)
        draw.variables = [
            Variable(n, v, n in exactly)
            for n, v in pair.theirs.items()
            if isinstance(v, torch.Tensor) and readable(v) and _tame(v)
        ]
    return outcome


def replay(lines: list[str]) -> Pair:
    """Both libraries after ``lines``, which they have run before."""
    pair = Pair()
    for line in lines:
        pair.run(line)
        for value in pair.theirs.values():  # as the first run did
            if isinstance(value, torch.Tensor):
                readable(value)
    return pair


def readable(value: torch.Tensor) -> bool:
    """Whether PyTorch lets this be used: one of several views is lost once their base was written to."""
    try:
        return value.is_leaf is not None  # asking brings the graph up to date
    except RuntimeError:
        return False


def _tame(value: torch.Tensor) -> bool:
    if value.numel() > 4000:
        return False
    whole = not (value.dtype.is_floating_point or value.dtype.is_complex)
    sizes = value.detach().double().abs() if whole else value.detach().abs()
    return bool((sizes.nan_to_num(0, 0, 0) < LARGEST).all())


def shortened(outcome: Outcome) -> Outcome:
    """The same difference by as few statements as leaving out one after the other gives."""
    best = outcome
    place = len(best.lines) - 2
    while place >= 0:
        tried = Outcome()
        pair = Pair()
        for line in best.lines[:place] + best.lines[place + 1 :]:
            step(pair, line, tried, set())
            if tried.difference:
                break
        same = tried.difference and tried.lines and tried.lines[-1] == best.lines[-1]
        if same and not isinstance(_raised_kind(tried), NameError):
            best = tried
        place -= 1
        place = min(place, len(best.lines) - 2)
    return best


def _raised_kind(outcome: Outcome) -> Exception | None:
    return NameError() if "NameError" in outcome.difference else None
