"""Edges of the graph and hooks on several tensors, in step with PyTorch."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest
import torch

import tilegrad
from tests.conftest import ROOT

LIBRARIES = (torch, tilegrad)


def leaves(t: Any) -> list[Any]:
    return [t.tensor([1.0, 2.0], requires_grad=True) for _ in range(3)]


def values(grads: Any) -> list[Any]:
    return [None if g is None else g.tolist() for g in grads]


class Calls(list[Any]):
    """What a hook has seen."""

    def several(self, grads: Any) -> None:
        self.append(values(grads))

    def one(self, grad: Any) -> None:
        self.append(grad.tolist())


def agree(program: Any) -> Any:
    theirs, ours = [program(t) for t in LIBRARIES]
    assert ours == theirs
    return ours


def nothing(t: Any) -> Any:
    """A function whose gradient is None."""

    class Nothing(t.autograd.Function):
        @staticmethod
        def forward(ctx: Any, a: Any) -> Any:
            return a.clone()

        @staticmethod
        def backward(ctx: Any, grad: Any) -> None:
            return None

    return Nothing.apply


def test_all_waits_for_every_gradient_of_each_pass() -> None:
    def program(t: Any) -> Any:
        (x, y, z), seen = leaves(t), Calls()
        out = (x * y + z).sum()
        handle = t.autograd.graph.register_multi_grad_hook((x, y, z), seen.several)
        out.backward(retain_graph=True)
        out.backward(retain_graph=True)
        handle.remove()
        out.backward()
        return seen

    assert len(agree(program)) == 2


def test_all_does_not_wait_for_what_the_pass_leaves_out() -> None:
    def program(t: Any) -> Any:
        (x, y, z), seen = leaves(t), Calls()
        m = x * y
        n = m * m
        out = (n + z).sum()
        t.autograd.graph.register_multi_grad_hook((m, n, y), seen.several)
        out.backward(inputs=[x], retain_graph=True)
        t.autograd.grad(out, n)
        return seen

    assert [[g is None for g in call] for call in agree(program)] == [
        [False, False, True],
        [True, False, True],
    ]


def test_all_is_called_as_soon_as_the_last_is_there() -> None:
    def program(t: Any) -> Any:
        (x, y, z), seen = leaves(t), Calls()
        m = x * y
        x.register_hook(seen.one)
        t.autograd.graph.register_multi_grad_hook((m, z, y), seen.several)
        m.sum().backward(inputs=[x])
        return seen

    assert agree(program) == [[[1.0, 1.0], None, None], [1.0, 2.0]]


def test_all_is_called_at_the_end_where_a_gradient_is_none() -> None:
    def program(t: Any) -> Any:
        (x, y, _), seen = leaves(t), Calls()
        out = (nothing(t)(x) + y).sum()
        t.autograd.graph.register_multi_grad_hook((x, y), seen.several)
        out.backward()
        return seen

    assert agree(program) == [[None, [1.0, 1.0]]]


def test_any_is_called_with_the_first_of_each_pass() -> None:
    def program(t: Any) -> Any:
        (x, y, z), seen = leaves(t), Calls()
        out = (x * y + z).sum()
        tensors = (x, y, t.ones(2))
        t.autograd.graph.register_multi_grad_hook(tensors, seen.one, mode="any")
        out.backward(retain_graph=True)
        out.backward()
        return seen

    assert len(agree(program)) == 2


def test_a_pass_within_a_hook_gathers_for_itself() -> None:
    def program(t: Any) -> Any:
        (x, y, z), seen = leaves(t), Calls()
        inner = (x * z).sum()
        t.autograd.graph.register_multi_grad_hook((x, y), seen.several)
        m = x * y

        def within(grad: Any) -> None:
            inner.backward()

        m.register_hook(within)
        m.sum().backward()
        return seen

    assert len(agree(program)) == 2


def test_what_a_multi_hook_refuses() -> None:
    register = tilegrad.autograd.graph.register_multi_grad_hook
    with pytest.raises(ValueError, match="Expects mode to be one of"):
        register(leaves(tilegrad), print, mode="some")
    with pytest.raises(RuntimeError, match="doesn't require gradient"):
        register((tilegrad.ones(2),), print)


def test_edges_stand_for_tensors() -> None:
    def program(t: Any) -> Any:
        x, y, _ = leaves(t)
        m, edge = x * y, t.autograd.graph.get_gradient_edge
        inner, end = edge(m), edge(x)
        out, grad = m.sum(), t.autograd.grad
        a, b = x.chunk(2)
        first = (
            values(grad(out, (inner, end, m, x), retain_graph=True)),
            values(grad(inner, x, grad_outputs=t.ones(2), retain_graph=True)),
            values(grad([inner, out], x, [t.ones(2), None], retain_graph=True)),
            values(grad(inner, x, t.eye(2), is_grads_batched=True, retain_graph=True)),
            values(grad((a * b).sum(), edge(b))),
            values(grad(out, edge(leaves(t)[0]), allow_unused=True, retain_graph=True)),
        )
        t.autograd.backward(edge(out), retain_graph=True)
        out.backward(inputs=[end, inner])
        return first, values([x.grad, y.grad]), edge(b).output_nr, type(end.node).__name__

    agree(program)


@pytest.mark.parametrize(
    ("program", "words"),
    [
        (lambda t, edge, x: edge(t.ones(2)), "does not require gradients"),
        (lambda t, edge, x: t.autograd.grad(edge(x * 2), x), "only for scalar outputs"),
        (lambda t, edge, x: t.autograd.grad(edge(x * 2), x, t.ones(3)), "has a shape of"),
        (
            lambda t, edge, x: t.autograd.grad(
                (x * 2).sum(), edge(leaves(t)[0]), materialize_grads=True
            ),
            "materialize_grads cannot be used when the given input is a GradientEdge",
        ),
    ],
)
def test_what_edges_refuse(program: Any, words: str) -> None:
    for t in LIBRARIES:
        with pytest.raises(RuntimeError, match=words):
            program(t, t.autograd.graph.get_gradient_edge, leaves(t)[0])


# ------------------------------------------------------------------- what a pass for inputs runs


def test_hooks_of_what_is_not_wanted_stay_quiet() -> None:
    def program(t: Any) -> Any:
        (x, y, _), seen = leaves(t), Calls()
        m = y * 2
        for tensor in (y, m):
            tensor.register_hook(seen.one)
        t.autograd.grad((x * m).sum(), x)
        return seen

    assert agree(program) == []


def test_an_input_named_twice_has_its_gradient_twice() -> None:
    def program(t: Any) -> Any:
        x, y, _ = leaves(t)
        m = x * y
        return values(t.autograd.grad(m.sum(), (x, m, x, m)))

    assert None not in agree(program)


def test_inputs_of_backward_are_accumulated_as_leaves_are() -> None:
    def program(t: Any) -> Any:
        (x, y, _), seen = leaves(t), Calls()
        x.register_post_accumulate_grad_hook(lambda leaf: seen.one(leaf.grad))
        y.register_post_accumulate_grad_hook(lambda leaf: seen.one(leaf.grad))
        m = x * y
        m.sum().backward(inputs=[x, m, x])
        return seen, values([x.grad, m.grad, y.grad])

    agree(program)


def test_the_first_hook_is_registered_before_its_pass() -> None:
    """A pass that began before any hook of the kind was there says so; the next one calls it."""
    code = """if True:
        import tilegrad
        from tilegrad.autograd import graph
        x, y = (tilegrad.ones(2, requires_grad=True) for _ in range(2))
        seen = []
        def late(grad):
            if not seen:
                seen.append(graph.register_multi_grad_hook((x, y), seen.append))
        z = x * y
        z.register_hook(late)
        try:
            z.sum().backward(retain_graph=True)
        except RuntimeError as error:
            print(error)
        (x * y).sum().backward()
        print(len(seen[1]))
    """
    given = {**os.environ, "PYTHONPATH": str(ROOT / ".dev")}
    said = subprocess.check_output([sys.executable, "-c", code], env=given, text=True).splitlines()
    assert "register it before" in said[0] and said[1] == "2"
