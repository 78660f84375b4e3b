"""Views made where nothing is recorded, and written to later: errors and gradients as PyTorch's."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch

import tilegrad

# ``x`` is a leaf, ``b`` is made of it; each line ends in what is compared
PROGRAMS = [
    "with t.no_grad(): v = b[0:2]\nv.mul_(2)",
    "with t.no_grad(): v = b[0:2]\nv.mul_(x[0])",
    "with t.no_grad(): v = b.view(3, 1)\nv[0] = 1.0",
    "with t.no_grad(): v = b[0:2]\nw = v[0:1]\nw.mul_(x[0])",
    "with t.no_grad(): v = x[0:2]\nv.mul_(2)",
    "with t.inference_mode(): v = b[0:2]\nv.mul_(2)",
    "with t.inference_mode(): v = b[0:2]\nv.mul_(x[0])",
    "with t.inference_mode():\n    v = b[0:2]\n    v.mul_(2)\n(b * b).sum().backward()\nx.grad",
    "with t.no_grad():\n    v = b[0:2]\n    v.mul_(2)\n(b * b).sum().backward()\nx.grad",
    "v = b[0:2]\nwith t.no_grad(): v.mul_(2)\n(v * v).sum().backward()\nx.grad",
    "c = t.zeros(3)\nwith t.inference_mode(): v = c[0:2]\nv.add_(2)\nc",
    "with t.inference_mode(): c = t.zeros(3)\nv = c[0:2]\nv.add_(2)",
    "d = b.detach()\nd[0:2].zero_()\nb",
    "with t.no_grad(): v = b[0:2].clone()\nv.mul_(x[0])\nv.sum().backward()\nx.grad",
]


def outcome(t: Any, program: str) -> Any:
    """The value of the last line, or the error's type."""
    x = t.tensor([1.0, 2.0, 3.0], requires_grad=True)
    names = {"t": t, "x": x, "b": x * 1}
    *lines, last = program.split("\n")
    try:
        exec("\n".join(lines), names)
        if last not in ("x.grad", "b", "c"):
            return exec(last, names)
        return eval(last, names).tolist()
    except RuntimeError as error:
        return type(error)


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_write_is_refused_or_recorded(program: str) -> None:
    """Side by side with PyTorch."""
    assert outcome(tilegrad, program) == outcome(torch, program)


def test_the_refusal_names_its_cause() -> None:
    """In PyTorch's words, which its users know."""
    x = tilegrad.tensor([1.0, 2.0], requires_grad=True)
    b = x * 1
    with tilegrad.no_grad():
        v = b[0:1]
    with pytest.raises(
        RuntimeError, match="A view was created in no_grad mode and is being modified"
    ):
        v.mul_(2)


# A view that is made in one mode, of a base of one kind, and a write to either in one mode, before or
# after. What is read then is as in PyTorch, where its answer does not hang on what was looked at before.
_MODES = {"grad": "t.enable_grad()", "none": "t.no_grad()", "inference": "t.inference_mode()"}
_BASES = {
    "leaf": "b = t.tensor([1.0, 2.0, 3.0]).requires_grad_()",
    "result": "b = x * 1",
    "constant": "b = t.tensor([1.0, 2.0, 3.0])",
    "view": "b = (x * 1).view(3, 1).view(3)",
}
_WRITES = ("v.mul_(2)", "v.mul_(x[0:2])", "b.mul_(2)", "b.mul_(x)")
_READ = ("v.tolist(), b.tolist()", "slopes((v * x[0:2]).sum())", "slopes((b * b).sum())", "again(v)", "again(b)")  # fmt: skip


def _apart(view: str, base: str, write: str, mode: str, after: bool, read: str) -> str | None:
    """Why a case is not compared."""
    if after and view != "grad" and mode != "grad" and read in _READ[1:4]:
        return "PyTorch says that such a write was made with grad mode enabled; it was not"
    if after and (view, base, write, mode) == ("grad", "constant", "b.mul_(x)", "grad"):
        return "PyTorch takes the view for a leaf until its grad_fn was looked at"
    return None


def _enumerated() -> list[tuple[str, ...]]:
    found = []
    for view, base, write, mode in itertools.product(_MODES, _BASES, _WRITES, _MODES):
        for after in (False, True):
            if after or write[0] == "b":
                found.append((view, base, write, mode, "after" if after else "before"))
    return found


def _outcome(t: Any, lines: list[str], read: str) -> Any:
    x = t.tensor([1.0, 2.0, 3.0], requires_grad=True)
    names: dict[str, Any] = {"t": t, "x": x}

    def slopes(total: Any) -> Any:
        total.backward()
        return [g.grad if g.grad is None else g.grad.tolist() for g in (x, names["b"]) if g.is_leaf]

    def again(tensor: Any) -> Any:
        tensor.add_(1)
        return tensor.requires_grad, names["b"].requires_grad

    names |= {"slopes": slopes, "again": again}
    try:
        for line in lines:
            exec(line, names)
        return eval(read, names)
    except RuntimeError:
        return RuntimeError


@pytest.mark.filterwarnings("ignore:The .grad attribute")
@pytest.mark.parametrize("view", _MODES)
def test_every_order_of_views_and_writes(view: str) -> None:
    """By a table of modes, bases and writes, side by side with PyTorch."""
    lines = []
    for way, base, write, mode, order in (row for row in _enumerated() if row[0] == view):
        steps = [f"with {_MODES[way]}: v = b[0:2]", f"with {_MODES[mode]}: {write}"]
        program = [_BASES[base], *(steps if order == "after" else steps[::-1])]
        for read in _READ:
            if _apart(way, base, write, mode, order == "after", read) is None:
                have, want = (_outcome(t, program, read) for t in (tilegrad, torch))
                if have != want:
                    lines.append(f"{program} {read}: {have}, PyTorch {want}")
    assert not lines, "\n".join(lines)


# How a view may be made that takes no history: each in every mode, of every kind of base, as it is or by
# a view of it
_KINDS = {
    "one": "b[0:2]", "split": "b.split(2)[0]", "unbind": "b.unbind()[1]", "chunk": "b.chunk(2)[1]",
    "several": "b.tensor_split(2)[0]", "custom": "Shown.apply(b)", "as it is": "Same.apply(b)",
    "none": "b.detach()", "written": "Written.apply(b)",
}  # fmt: skip
_LATER = ("v.mul_(2)", "v.mul_(x[0])", "v.copy_(x[0])", "v[...] = x[0]", "b.mul_(x)", "v.masked_fill_(v > 0, x[0])", "v.detach_()")  # fmt: skip
_MESSAGES = (
    "no_grad mode", "inference mode", "returns multiple views", "inside a custom Function",
    "view of a leaf", "a leaf Variable", "Can't detach views",
)  # fmt: skip


def _functions(t: Any) -> dict[str, Any]:
    class Shown(t.autograd.Function):  # type: ignore[misc, name-defined]
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x.view(3, 1)

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return g.view(3)

    class Same(t.autograd.Function):  # type: ignore[misc, name-defined]
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return g

    class Written(Same):  # type: ignore[misc]
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.mark_dirty(x)
            return x.add_(1)

    return {"Shown": Shown, "Same": Same, "Written": Written}


def _refused(t: Any, program: list[str]) -> Any:
    """Whether all lines run, what then has a gradient, or which words the error has."""
    x = t.tensor([1.0, 2.0, 3.0], requires_grad=True)
    names: dict[str, Any] = {"t": t, "x": x, **_functions(t)}
    try:
        for line in program:
            exec(line, names)
        b, v = names["b"], names["v"]
        if b.requires_grad:
            b.sum().backward(retain_graph=True)
        found = [x.grad if x.grad is None else x.grad.tolist(), b.requires_grad]
        return [*found, v.is_leaf] if "(2)" not in program[-1] else found
    except RuntimeError as error:
        said = str(error).replace("A view was created in no_grad mode and", "")
        said = said if any(m in said for m in _MESSAGES) else str(error)
        return next((m for m in _MESSAGES if m in said), str(error))


@pytest.mark.parametrize("kind", _KINDS)
def test_views_that_take_no_history(kind: str) -> None:
    """One of several, of a custom function, in each mode, then a write with grad mode: as PyTorch's."""
    lines = []
    for way, base, sub, write in itertools.product(_MODES, _BASES, ("", "v = v[...]"), _LATER):
        program = [_BASES[base], f"with {_MODES[way]}: v = {_KINDS[kind]}", sub, write]
        have, want = (_refused(t, program) for t in (tilegrad, torch))
        if have != want:
            lines.append(f"{program}: {have}, PyTorch {want}")
    assert not lines, "\n".join(lines)


_GRADIENTS = (
    "grad(b.sum(), [v])", "grad(v.sum(), [b])", "grad((v * b[:2]).sum(), [v, b, x])", "grad(w.sum(), [v, b])",
    "(b.sum().backward(), v.grad, b.grad)[1:]", "(v.sum().backward(), v.grad, b.grad)[1:]",
)  # fmt: skip


@pytest.mark.filterwarnings("ignore:The .grad attribute")
@pytest.mark.parametrize(
    "write", ["v.mul_(2)", "v[0] = 1.0", "v.mul_(x[:2])", "v.unsqueeze_(0)", "w.zero_()"]
)
def test_a_written_view_is_a_view_of_what_its_base_became(write: str) -> None:
    """Gradients by the base, the view and another view of it, retained or asked for, as PyTorch's."""
    keeps = ["", "b.retain_grad()"]
    # not where PyTorch's answer hangs on whether somebody looks at v before, or has v's former shape
    if not write.startswith(("v[0", "v.uns")):
        keeps.append("v.retain_grad()")
    for keep, read in itertools.product(keeps, _GRADIENTS):
        found = []
        for t in (tilegrad, torch):
            x = t.tensor([1.0, 2.0, 3.0], requires_grad=True)
            b = x * 1
            names: dict[str, Any] = {"x": x, "b": b, "v": b[:2], "w": b[1:]}
            names["grad"] = lambda y, by, t=t: t.autograd.grad(y, by, allow_unused=True)
            try:
                exec(f"{keep}\n{write}", names)
                found.append([g if g is None else g.tolist() for g in eval(read, names)])
            except RuntimeError:
                found.append("refused")
        assert found[0] == found[1], (keep, read)


def test_a_retained_gradient_has_the_geometry_that_its_tensor_took() -> None:
    x = tilegrad.ones(3, requires_grad=True)
    v = (x * 1)[:2]
    v.retain_grad()
    v.unsqueeze_(0)
    (v * 3).sum().backward()
    assert v.grad.tolist() == [[3.0, 3.0]] and x.grad.tolist() == [3.0, 3.0, 0.0]


def _parts(t: Any, name: str, tracked: bool, inner: bool, dim: int) -> list[Any]:
    """All that can be seen of parts and their tensor, before and after writes to both."""
    x = t.arange(12.0, dtype=t.float64).reshape(4, 3).clone().requires_grad_(tracked)
    base = x * 1 if inner else x
    parts = getattr(t, name)(base, [1, 2 + (dim == 0)] if "sizes" in name else 2, dim)

    def seen() -> list[Any]:
        return [
            (v.detach().tolist(), v.stride(), v.data_ptr() - base.data_ptr(), v.storage_offset(), v._version,
             v.requires_grad, v.is_leaf, v._base is None, type(v.grad_fn).__name__)
            for v in (base, *parts)
        ]  # fmt: skip

    found = seen()
    saved = parts[0] * parts[0]
    for target in (parts[1], base):  # what is saved of the first stands, if nobody writes to it
        try:
            target.mul_(2)
        except RuntimeError:
            found.append(RuntimeError)
        found += seen()
    if tracked:
        loss = (saved + parts[0]).sum() + (parts[1] * parts[1]).sum() + (base * base).sum()
        found.append(t.autograd.grad(loss, [x])[0].tolist())
    return found


@pytest.mark.parametrize("dim", [0, 1])
@pytest.mark.parametrize("name", ["unsafe_chunk", "unsafe_split", "unsafe_split_with_sizes"])
def test_unsafe_parts_share_memory_and_count_their_own_writes(name: str, dim: int) -> None:
    for tracked, inner in ((False, False), (True, False), (True, True)):
        ours, theirs = (_parts(t, name, tracked, inner, dim) for t in (tilegrad, torch))
        assert ours == theirs


def test_memory_outlives_what_unsafe_parts_were_made_of() -> None:
    first = tilegrad.ones(1000).unsafe_chunk(2)[0].unsafe_chunk(2)[1]
    others = [tilegrad.zeros(1000) for _ in range(8)]  # which would be given the block
    assert first.sum().item() == 250 and len(others) == 8
    with tilegrad.no_grad():
        made = tilegrad.ones(4, requires_grad=True).unsafe_split(2)
    assert made[0].mul_(2).tolist() == [2, 2]  # no view: nothing refuses that
