"""What hooks return, what is assigned to .grad and .data, and the gradients that tensors retain."""

from typing import Any

import numpy as np
import pytest
import torch

import tilegrad
from tilegrad.autograd.gathering import RemovableHandle

WRONG = {
    "int": (3, TypeError),
    "list": ([1.0, 2.0], TypeError),
    "array": (np.ones(2, np.float32), TypeError),
    "shape (3,)": (tilegrad.ones(3), RuntimeError),
    "shape (1,)": (tilegrad.ones(1), RuntimeError),
    "shape (2, 1)": (tilegrad.ones(2, 1), RuntimeError),
    "float64": (tilegrad.ones(2, dtype=tilegrad.float64), RuntimeError),
    "int64": (tilegrad.ones(2, dtype=tilegrad.int64), RuntimeError),
}


def leaf():
    return tilegrad.tensor([1.0, 2.0], requires_grad=True)


@pytest.mark.parametrize("name", WRONG)
def test_wrong_results_of_hooks(name: str) -> None:
    value, error = WRONG[name]
    places = (
        lambda x, y: x.register_hook(lambda g: value),
        lambda x, y: y.register_hook(lambda g: value),
        lambda x, y: y.grad_fn.register_prehook(lambda out: (value,)),
        lambda x, y: y.grad_fn.register_hook(lambda given, out: (value, *given[1:])),
    )
    for register in places:
        x = leaf()
        y = x * 3
        register(x, y)
        with pytest.raises(error, match="hook"):
            y.sum().backward()
        assert x.grad is None


def test_wrong_tuples_of_node_hooks() -> None:
    for add in (
        lambda node: node.register_hook(lambda given, out: given[0]),
        lambda node: node.register_prehook(lambda out: out[0]),
    ):
        y = leaf() * 3
        add(y.grad_fn)
        with pytest.raises(TypeError, match="expected tuple, but hook returned 'Tensor'"):
            y.sum().backward()
    for add in (
        lambda node: node.register_hook(lambda given, out: (*given, None)),
        lambda node: node.register_prehook(lambda out: out * 2),
    ):
        y = leaf() * 3
        add(y.grad_fn)
        with pytest.raises(RuntimeError, match="incorrect number of values"):
            y.sum().backward()


@pytest.mark.parametrize("name", WRONG)
def test_wrong_gradients_assigned(name: str) -> None:
    value, error = WRONG[name]
    for x in (leaf(), tilegrad.ones(2)):
        with pytest.raises(error, match="grad"):
            x.grad = value
        assert x.grad is None


def test_gradients_assigned() -> None:
    x = leaf()
    x.grad = tilegrad.ones(2)
    (x * 2).sum().backward()
    assert x.grad.tolist() == [3.0, 3.0]
    del x.grad
    assert x.grad is None
    with pytest.raises(RuntimeError, match="as its own grad"):
        x.grad = x


def test_data_assigned() -> None:
    x = leaf()
    for value in (3, [1.0], np.ones(2)):
        with pytest.raises(TypeError, match="data"):
            x.data = value
    with pytest.raises(RuntimeError, match="floating point"):
        x.data = tilegrad.ones(2, dtype=tilegrad.int64)
    x.data = tilegrad.ones(3)
    assert x.tolist() == [1.0, 1.0, 1.0] and x.requires_grad


@pytest.mark.parametrize(
    ("write", "expected"),
    [
        (lambda y: y.mul_(5), [5.0, 5.0]),
        (lambda y: y.mul_(5).mul_(2), [10.0, 10.0]),
        (lambda y: y.__setitem__(0, 5.0), [0.0, 1.0]),
        (lambda y: y[:1].mul_(3), [3.0, 1.0]),
        (lambda y: y[:1].mul_(3).add_(1), [3.0, 1.0]),
        (lambda y: y.copy_(y * 2), [2.0, 2.0]),
        (lambda y: None, [1.0, 1.0]),
    ],
)
def test_retained_gradients_are_those_of_the_tensor_as_it_is(write, expected) -> None:
    x = leaf()
    y = x * 2
    assert not y.retains_grad and not x.retains_grad
    y.retain_grad()
    y.retain_grad()
    write(y)
    assert y.retains_grad
    y.sum().backward(retain_graph=True)
    assert y.grad.tolist() == [1.0, 1.0]
    assert x.grad.tolist() == [2 * e for e in expected]
    y.sum().backward()
    assert y.grad.tolist() == [2.0, 2.0]


def test_retained_gradients_of_views_and_beside_hooks() -> None:
    y = leaf() * 2
    part = y[:1]
    part.retain_grad()
    y.mul_(5)
    part.sum().backward()
    assert part.grad.tolist() == [1.0]
    y = leaf() * 2
    y.retain_grad()
    y.register_hook(lambda g: g * 10)
    y.sum().backward()
    assert y.grad.tolist() == [10.0, 10.0]
    y.detach_()
    assert not y.retains_grad


def test_a_handle_removes_its_own_registration() -> None:
    """Of a function that is registered twice, with another one between."""
    seen: list[str] = []

    def first(*args: Any) -> None:
        seen.append("first")

    def second(*args: Any) -> None:
        seen.append("second")

    leaf, layer = tilegrad.ones(2, requires_grad=True), tilegrad.nn.Linear(2, 2)
    product = leaf * 2
    optimizer = tilegrad.optim.SGD([leaf], 0.1)
    registers: list[tuple[Any, Any]] = [
        (leaf.register_hook, lambda: (leaf * 2).sum().backward()),
        (leaf.register_post_accumulate_grad_hook, lambda: (leaf * 2).sum().backward()),
        (product.register_hook, lambda: product.sum().backward(retain_graph=True)),
        (product.grad_fn.register_hook, lambda: product.sum().backward(retain_graph=True)),
        (layer.register_forward_hook, lambda: layer(leaf)),
        (layer.register_full_backward_pre_hook, lambda: layer(leaf).sum().backward()),
        (optimizer.register_step_post_hook, optimizer.step),
    ]
    for register, run in registers:
        one, two, three = (register(h) for h in (first, second, first))
        for handle, left in (
            (None, ["first", "second", "first"]),
            (three, ["first", "second"]),
            (three, ["first", "second"]),
            (one, ["second"]),
        ):
            if handle is not None:
                handle.remove()
            seen.clear()
            run()
            assert seen == left, register
        two.remove()


def test_hooks_of_the_node_at_a_leaf() -> None:
    """Those of ``AccumulateGrad``, in their order among the others, side by side with PyTorch."""
    logs: list[list[Any]] = []
    for t in (tilegrad, torch):
        log: list[Any] = []
        x = t.ones(2, requires_grad=True)
        node = x.expand_as(x).grad_fn.next_functions[0][0]
        assert node is (x * 2).grad_fn.next_functions[0][0] and node.variable is x
        assert node.name() == "torch::autograd::AccumulateGrad"

        def note(name: str, value: Any, log: list[Any] = log, x: Any = x) -> None:
            numbers = [v.tolist() for v in value] if isinstance(value, tuple) else value.tolist()
            log.append((name, numbers, None if x.grad is None else x.grad.tolist()))

        handle = node.register_hook(lambda inside, outside: note("after", inside + outside))
        node.register_prehook(lambda grads: note("before", grads))
        x.register_hook(lambda grad: note("tensor", grad))
        x.register_post_accumulate_grad_hook(lambda leaf: note("leaf", leaf.grad))
        tripled = node.register_prehook(lambda grads: (grads[0] * 3,))
        for _ in range(2):
            (x * 2).sum().backward()
        note("captured", t.autograd.grad((x * 5).sum(), x)[0])
        handle.remove()
        tripled.remove()
        (x * 2).sum().backward()
        node.register_hook(lambda inside, outside: outside)
        with pytest.raises(RuntimeError, match="incorrect number of values"):
            (x * 2).sum().backward()
        logs.append(log)
    assert logs[0] == logs[1] and len(logs[0]) > 12


def test_hooks_are_registered_and_taken_back_without_a_look_at_the_others() -> None:
    """Else ten thousand hooks on one tensor take a second."""

    class Hooks(list[Any]):
        def __iter__(self) -> Any:
            raise AssertionError("looks at all")

        __contains__ = __iter__  # type: ignore[assignment]

    hooks = Hooks()
    handles = [RemovableHandle(hooks, print) for _ in range(3)]
    assert len(hooks) == 3
    for handle in reversed(handles):
        handle.remove()
    assert len(hooks) == 0
