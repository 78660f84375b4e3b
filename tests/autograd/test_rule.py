"""Rules: what they record, what they save, and what they keep for later calls."""

from __future__ import annotations

from typing import Any

import pytest

import tilegrad
from tilegrad.autograd import rule as rules
from tilegrad.autograd.graph import SavedOutput
from tilegrad.autograd.rule import Rule, needed_saves
from tilegrad.engine.ops.elementwise import OPS


def _times_vjp(node: Any, grad: Any) -> tuple[Any, ...]:
    x, y = node.unpack()
    return grad * y if node.edges[0] is not None else None, grad * x if node.edges[1] else None


TIMES = Rule("times", _times_vjp, ((0, 1), (1, 0)))


def _times(x: Any, y: Any, meta: Any = None) -> Any:
    return TIMES.record((x, y), OPS["mul"](x, y), meta)


def test_constants_and_no_grad_record_nothing() -> None:
    x = tilegrad.rand(3, requires_grad=True)
    assert _times(tilegrad.rand(3), tilegrad.rand(3)).grad_fn is None
    with tilegrad.no_grad():
        assert _times(x, x).grad_fn is None


@pytest.mark.parametrize("call", [1, 2])  # the long way, then by the template that it has left
def test_a_node_saves_what_wanted_gradients_read(call: int) -> None:
    x, y = tilegrad.rand(3, requires_grad=True), tilegrad.rand(3)
    for _ in range(call):
        out = _times(x, y, "kept")
    node = out.grad_fn
    assert node.meta == "kept" and node.op == "times"
    assert node.saved == (None, y) and node.versions == (-1, y.storage.version)
    out.sum().backward()
    assert x.grad.tolist() == y.tolist()


def test_templates_are_kept_by_meta_and_forgotten_at_their_limit() -> None:
    rule = Rule("doubled", lambda node, grad: (grad * 2,))
    x = tilegrad.rand(3, requires_grad=True)
    for meta in range(rules.LIMIT + 1):
        out = rule.record((x,), OPS["mul"](x, x), meta)
        assert out.grad_fn.meta == meta
    assert list(rule.templates) == [rules.LIMIT]


def test_any_number_of_results_and_any_meta() -> None:
    def vjp(node: Any, *grads: Any) -> tuple[Any, ...]:
        x, second = node.unpack()
        assert second.tolist() == (x * 3).tolist()
        return (grads[0] * 2 + grads[1] * 3 + second * 0,)

    both = Rule("both", vjp, (0, -2))
    x = tilegrad.rand(3, requires_grad=True)
    made = both.record_all((x,), (x.detach() * 2, x.detach() * 3), {"no": "hash"})
    assert [m.grad_fn is made[0].grad_fn for m in made] == [True, True]
    assert not both.templates
    (made[0] + made[1]).sum().backward()
    assert x.grad.tolist() == pytest.approx([5.0] * 3)


def _cube_vjp(node: Any, grad: Any) -> tuple[Any, ...]:
    old, new = node.unpack()
    assert new.tolist() == pytest.approx([v**3 for v in old.tolist()])
    return (grad * old * old * 3,)


def test_a_write_saves_the_old_value_and_the_new() -> None:
    cube = Rule("cube", _cube_vjp, (0, -1))
    leaf = tilegrad.tensor([1.0, 2.0], requires_grad=True)
    x = leaf * 1.0
    view = x[:1]

    def run(target: Any) -> None:
        OPS["copy"](OPS["mul"](OPS["mul"](target, target), target), target)

    assert cube.write((x,), run, x) is x
    assert x.grad_fn.op == "cube_" and isinstance(x.grad_fn.saved[1], SavedOutput)
    assert view.grad_fn.op == "as_strided"  # a view of the base as it is now
    x.sum().backward()
    assert leaf.grad.tolist() == [3.0, 12.0]


def test_a_write_over_a_saved_operand_is_found() -> None:
    scaled = Rule("scaled", lambda node, grad: (grad * node.unpack()[0], None), (1,))
    x, y = tilegrad.rand(3, requires_grad=True) * 1.0, tilegrad.rand(3)
    scaled.write((x, y), lambda: OPS["mul"](x, y, x))
    y.add_(1)
    with pytest.raises(RuntimeError, match="scaled_: one of the variables needed"):
        x.sum().backward()


def test_saves_depend_on_who_asks() -> None:
    saves = (0, (1, 0), (-1, 1, 2))
    assert needed_saves(saves, 0b001) == (0, 1, None)
    assert needed_saves(saves, 0b100) == (0, None, -1)


def test_views_keep_their_metadata_unless_they_are_bare() -> None:
    x = tilegrad.rand(2, 3, requires_grad=True)
    assert x.transpose(0, 1).grad_fn.meta == (0, 1)
    assert x.view(6).grad_fn.meta is None
    first, second = x.split(1)
    assert first.grad_fn is second.grad_fn and first.grad_fn.op == "split"
