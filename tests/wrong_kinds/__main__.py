"""Good calls with each argument replaced by a wrong kind, in step with PyTorch:
``python -m tests.wrong_kinds [-k conv2d]`` (``PYTHONPATH=.dev``).

Every call of ``cases/good_calls.txt`` is run once for each argument and each kind (None, a string, a
float for an int, a number for a tensor, another dtype or shape, …), once for each item of an argument that
is a list, a tuple or a dict, with an argument less, one more and one that has no such name. Prints the calls
whose exception's type, or result, is not PyTorch's, and refused calls after which an object
(``it``) is not what it was; rows worth keeping go into ``cases/bad_calls.txt``. Each good call runs in a
child, so that a crash ends it alone. With ``--numpy`` the calls stay good, but for their whole numbers, which
become NumPy's.
"""

from __future__ import annotations

import argparse
import ast
import copy
import importlib
import itertools
import os
import pickle
import re
import resource
import signal
import sys
import warnings
from collections import Counter
from typing import Any, NamedTuple

import numpy as np
import torch

from tests.cases.test_bad_calls import OURS as _OURS, THEIRS as _THEIRS
from tests.conftest import ROOT

KINDS = (
    "None", "'a'", "1.5", "2.0", "2", "0", "True", "-9", "1 << 40", "1 << 70", "math.nan", "math.inf",
    "[]", "(1, 2)", "[1.5]", "['a']", "{}", "object()", "abs", "t.float32", "np.ones(2)", "np.int64(1)",
    "np.float64(1.5)", "t.tensor(1.0)", "t.tensor(2)", "t.tensor(True)", "t.ones(2, 3, dtype=t.int64)",
    "t.ones(2, 3, dtype=t.bool)", "t.ones(2, 3, dtype=t.float64)", "t.ones(7, 1, 5)", "t.zeros(0)",
    "t.zeros(0, 3)", "leaf(t)",
)  # fmt: skip
SHORT = {
    "x": "t.ones(2, 3)", "y": "t.ones(2, 3)", "v": "t.ones(3)", "m": "t.ones(3, 3)",
    "i": "t.tensor([0, 1])", "k": "t.tensor([[0, 1, 0], [1, 0, 1]])", "b": "t.ones(2, 3, dtype=t.bool)",
    "s": "t.ones(1, 3, 8)", "p": "t.ones(1, 3, 4, 4)", "q": "t.ones(1, 3, 4, 4, 4)",
    "f": "t.ones(2, 3, dtype=t.float64)", "o": "optim.SGD([leaf(t)], 0.1)",
}  # fmt: skip
ITEMS = (
    "None", "'a'", "1.5", "True", "-9", "1 << 70", "object()", "np.int64(1)", "np.float64(1.5)", "t.tensor(2)",
    "t.ones(2, 3)", "leaf(t)",
)  # fmt: skip
# (row, ours, PyTorch's): what differs for a reason
MEANT = (
    (r"SGD\(", r"ValueError: Invalid .*: nan", r"", "PyTorch's SGD lets NaN pass, its others do not"),
    (r"ReduceLROnPlateau", r"mode .* is unknown", r"can only concatenate|unhashable", "its message fails"),
    (r"ModuleList.*insert", r"is not a Module subclass", r"^[^E]*$", "PyTorch takes what is no module"),
    (r"ModuleList.*insert\(-9", r"", r"KeyError", "PyTorch's list loses its place"),
    (r"DataLoader\(\[1, 2\], 1 <<", r"\[\]", r"MemoryError|OverflowError", "PyTorch sizes a batch ahead"),
    (r"DataLoader\(\[1, 2\], 2, '?\w", r"", r"^\[\(", "a random order"),
    (r"^np\.ones\(2\) [^a-z]|[^a-z] np\.ones\(2\)$", r"", r"", "operators take an array as the tensor of its elements"),
    (r" ([&|^]|<<|>>) ", r"NotImplementedError", r"RuntimeError: The size", "both the dtype and the sizes are wrong"),
    (r"optim\.", r"Error", r"^'NoneType'", "an option of a wrong kind that PyTorch takes where no step reads it"),
)  # fmt: skip
SECONDS = 20  # of a processor, for one call; ten times as long by the clock


class _Spelled(ast.NodeTransformer):
    def visit_Name(self, node: ast.Name) -> ast.AST:
        return _parsed(SHORT[node.id]) if node.id in SHORT else node


def _parsed(source: str) -> Any:
    return ast.parse(source, mode="eval").body


def moved(t: Any) -> Any:
    """A leaf with a gradient."""
    x = t.ones(2, requires_grad=True)
    x.grad = t.ones(2)
    return x


OURS, THEIRS = _OURS | {"moved": moved}, _THEIRS | {"moved": moved}


class Good(NamedTuple):
    """A call that works.

    Attributes:
        call: its tree. maker: source of what the call has as ``it``, or nothing.
        values: whether those of the result can be compared.
    """

    call: Any
    maker: str
    values: bool

    def __str__(self) -> str:
        return f"{self.maker} >> {ast.unparse(self.call)}" if self.maker else ast.unparse(self.call)


def good_calls() -> list[Good]:
    """One of each that the file stands for."""
    found = []
    for line in (ROOT / "tests" / "cases" / "good_calls.txt").read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        parts = re.split(r"\{([\w|]+)\}", line.removeprefix("~"))
        for names in itertools.product(*(p.split("|") for p in parts[1::2])):
            whole = "".join(
                itertools.chain(*itertools.zip_longest(parts[::2], names, fillvalue=""))
            )
            maker, _, call = whole.rpartition(" >> ")
            spelled = ast.unparse(_Spelled().visit(_parsed(maker))) if maker else ""
            found.append(Good(_Spelled().visit(_parsed(call)), spelled, line[0] != "~"))
    return found


def wrong(call: Any) -> list[str]:
    """The call with each of its arguments, and each of their items, replaced in turn, with fewer or
    more of them.
    """
    made: list[str] = []
    for node in ast.walk(call):
        if not _of_interest(node):
            continue
        places: list[tuple[Any, str, int | None]]
        if isinstance(node, ast.Subscript):
            places = [(node, "slice", None)]
        elif isinstance(node, ast.BinOp):
            places = [(node, "left", None), (node, "right", None)]
        elif isinstance(node, ast.Compare):
            places = [(node, "left", None), (node, "comparators", 0)]
        else:
            places = [(node, "args", n) for n in range(len(node.args))]
            places += [(k, "value", None) for k in node.keywords]
            made += _counted(call, node)
            for value in [*node.args, *[k.value for k in node.keywords]]:
                made += _replaced(call, value)
        for holder, field, n in places:
            kept = getattr(holder, field)
            for kind in KINDS:
                new = _parsed(kind)
                setattr(holder, field, new if n is None else [*kept[:n], new, *kept[n + 1 :]])
                made.append(ast.unparse(call))
            setattr(holder, field, kept)
    return list(dict.fromkeys(made))


class _AsNumpy(ast.NodeTransformer):
    """Whole numbers as NumPy's."""

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        whole = type(node.value) is int
        return _parsed(f"np.int64({node.value})") if whole else node


def with_numpys_numbers(good: Good) -> str:
    """The source of the call with ``np.int64(3)`` for 3."""
    return ast.unparse(_AsNumpy().visit(copy.deepcopy(good.call)))


def numpy_difference(good: Good) -> tuple[str, str, str] | None:
    """(call, ours, PyTorch's) where a call with NumPy's whole numbers is not as in PyTorch."""
    row = with_numpys_numbers(good)
    if not good.values or row == ast.unparse(good.call):
        return None
    ours, theirs = outcome(row, OURS, good).result, outcome(row, THEIRS, good).result
    if _alike(ours, theirs) or not isinstance(ours, Exception):
        return None
    return row, _shown(ours), _shown(theirs)


def _replaced(call: Any, value: ast.AST) -> list[str]:
    """The call with each item of one of its arguments replaced, where that has items."""
    made: list[str] = []
    if isinstance(value, ast.Dict):
        items, whole = value.values, [k is None for k in value.keys]  # None: **others
    elif isinstance(value, (ast.List, ast.Tuple)):
        items, whole = value.elts, [False] * len(value.elts)
    else:
        return made
    for n, kept in enumerate(items):
        if whole[n]:
            continue
        for kind in ITEMS:
            items[n] = _parsed(kind)
            made.append(ast.unparse(call))
        items[n] = kept
        made += _replaced(call, kept)
    return made


def _of_interest(node: ast.AST) -> bool:
    """Whether a call's arguments are replaced: those of operands and helpers are not."""
    if isinstance(node, (ast.Subscript, ast.BinOp, ast.Compare)):
        return True
    if not isinstance(node, ast.Call):
        return False
    source = ast.unparse(node)
    return source not in _OPERANDS and not source.startswith(_HELPERS)


_OPERANDS = {ast.unparse(_parsed(s)) for s in SHORT.values()} | {"t.tensor(1.0)", "np.ones(2)"}
_HELPERS = ("list(", "len(", "slice(", "leaf(", "full_grad(", "moved(")


def _counted(call: Any, node: ast.Call) -> list[str]:
    made, args, keywords = [], node.args, node.keywords
    for n in range(len(args)):
        node.args = [*args[:n], *args[n + 1 :]]
        made.append(ast.unparse(call))
    node.args = [*args, _parsed("5")]
    made.append(ast.unparse(call))
    node.args = args
    node.keywords = [*keywords, ast.keyword("nothing", _parsed("1"))]
    made.append(ast.unparse(call))
    node.keywords = keywords
    return made


class Outcome(NamedTuple):
    """What a call came to.

    Attributes:
        result: an exception, or a summary of the result that both libraries have alike.
        changed: whether the call raised and left ``it`` another.
    """

    result: Any
    changed: bool


def outcome(row: str, names: dict[str, Any], good: Good) -> Outcome:
    """Run ``row`` in a library."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scope = dict(names)
        scope["it"] = eval(good.maker, scope) if good.maker else None
        before = fingerprint(scope["it"])
        try:
            return Outcome(_summary(eval(row, scope), good.values), False)
        except Exception as error:
            return Outcome(error, fingerprint(scope["it"]) != before)


def fingerprint(value: Any, seen: frozenset[int] = frozenset()) -> Any:
    """Of an object's state, as far as it can be compared."""
    if id(value) in seen:
        return "again"
    seen |= {id(value)}
    if hasattr(value, "detach"):
        own = str(value.dtype), tuple(value.shape), value.requires_grad
        return *own, value.detach().numpy().tobytes(), fingerprint(value.grad, seen)
    if isinstance(value, dict):
        return [(fingerprint(k, seen), fingerprint(v, seen)) for k, v in value.items()]
    if isinstance(value, (list, tuple)):
        return [fingerprint(v, seen) for v in value]
    if type(value).__module__.startswith(("tilegrad.", "torch.")) and hasattr(value, "__dict__"):
        return type(value).__name__, fingerprint(vars(value), seen)
    return repr(value) if isinstance(value, (bool, int, float, str)) else type(value).__name__


def _summary(value: Any, values: bool) -> Any:
    if hasattr(value, "detach"):
        array = value.detach().cpu().numpy()
        kept = (str(value.dtype).split(".")[-1], tuple(value.shape), value.requires_grad)
        return (*kept, array.copy() if values else None)
    if isinstance(value, (list, tuple)):
        return [_summary(v, values) for v in value]
    if isinstance(value, (bool, int, float, str)) and values:
        return type(value).__name__, value
    return type(value).__name__


def _alike(ours: Any, theirs: Any) -> bool:
    if isinstance(ours, Exception) or isinstance(theirs, Exception):
        own = type(ours).__module__.startswith("tilegrad") and isinstance(ours, type(theirs))
        meant = (TypeError, AttributeError)  # what is no tensor is a TypeError, not "has no 'dim'"
        return type(ours) is type(theirs) or own or (type(ours), type(theirs)) == meant
    if isinstance(ours, np.ndarray) and isinstance(theirs, np.ndarray):
        return bool(np.allclose(ours, theirs, 1e-4, 1e-5, equal_nan=True))
    if isinstance(ours, (list, tuple)) and isinstance(theirs, (list, tuple)):
        return len(ours) == len(theirs) and all(map(_alike, ours, theirs))
    return bool(ours == theirs) or (ours != ours and theirs != theirs)


def _shown(value: Any) -> str:
    if isinstance(value, Exception):
        return f"{type(value).__name__}: {str(value).splitlines()[0][:110] if str(value) else ''}"
    return re.sub(r"\s+", " ", repr(value))[:110]


def _name(value: Any) -> str:
    return type(value).__name__ if isinstance(value, Exception) else "value"


def _meant(row: str, ours: str, theirs: str) -> bool:
    return any(
        re.search(a, row) and re.search(b, ours) and re.search(c, theirs) for a, b, c, _ in MEANT
    )


def _compare(good: Good, out: int, first: int) -> None:
    source = ast.unparse(good.call)
    rows = [source, *wrong(copy.deepcopy(good.call))]
    wanted = outcome(source, OURS, good).result
    before = f"{good.maker} >> " if good.maker else ""
    for number, row in enumerate(rows[first:], first):
        os.write(out, pickle.dumps((number, row)))
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        signal.alarm(10 * SECONDS)
        mine, other = outcome(row, OURS, good), outcome(row, THEIRS, good)
        ours, theirs = mine.result, other.result
        said: tuple[Any, ...] = ()
        if not _alike(ours, theirs) or (row == source and isinstance(ours, Exception)):
            said = (_name(ours), _name(theirs)), _shown(ours), _shown(theirs)
        if said and _meant(before + row, *said[1:]):
            said = ()
        if mine.changed and not other.changed:
            said = ("it changed", "as it was"), f"{_shown(ours)}, it changed", _shown(theirs)
        if said:
            os.write(out, pickle.dumps((number, before + row, *said)))
        again = outcome(source, OURS, good).result
        if not _alike(again, wanted):
            said = ("good call", "broken"), f"{source} is then {_shown(again)}", _shown(wanted)
            os.write(out, pickle.dumps((number, before + row, *said)))
            break
    os.write(out, pickle.dumps((len(rows), "")))


def run(good: Good, first: int = 0) -> tuple[int, list[Any]]:
    """(rows run, [(row, kinds, ours, PyTorch's) that differ]) of one good call, in a child."""
    read, write = os.pipe()
    child = os.fork()
    if not child:
        try:
            _compare(good, write, first)
        finally:
            os._exit(0)
    os.close(write)
    found, last = [], (first, "")
    with os.fdopen(read, "rb") as pipe:
        while True:
            try:
                message = pickle.load(pipe)
            except (EOFError, pickle.UnpicklingError):
                break
            if message[2:]:
                found.append(message[1:])
            last = message[:2]
    status = os.waitpid(child, 0)[1]
    if not last[1]:
        return last[0], found
    if status:
        found.append((last[1], ("crash", str(status)), "", ""))
    count, more = run(good, last[0] + 1)
    return count, found + more


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-k", default="", help="only calls that this pattern is found in")
    parser.add_argument(
        "--counts", action="store_true", help="only how many there are of each kind"
    )
    parser.add_argument("--numpy", action="store_true", help="good calls with NumPy's numbers")
    options = parser.parse_args()
    if options.numpy:
        found = [numpy_difference(g) for g in good_calls() if re.search(options.k, str(g))]
        for row, ours, theirs in filter(None, found):
            print(f"{row}\n    ours   {ours}\n    theirs {theirs}", flush=True)
        return any(found)
    torch.set_num_threads(1)
    importlib.import_module("torch._dynamo")  # which an optimizer imports: once, not in each child
    resource.setrlimit(resource.RLIMIT_AS, (24 << 30, 24 << 30))
    total, kinds = 0, Counter[Any]()
    for good in good_calls():
        if not re.search(options.k, str(good)):
            continue
        count, found = run(good)
        total += count
        kinds.update(k for _, k, _, _ in found)
        if not options.counts:
            for row, _, ours, theirs in found:
                print(f"{row}\n    ours   {ours}\n    theirs {theirs}", flush=True)
    for (ours, theirs), n in kinds.most_common():
        print(f"{n:6}  {ours}, PyTorch {theirs}")
    print(f"{sum(kinds.values())} of {total} calls differ")
    return bool(kinds)


if __name__ == "__main__":
    sys.exit(main())
