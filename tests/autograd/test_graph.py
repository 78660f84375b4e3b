"""The graph: accumulation, hooks, views and in-place, errors, modes, depth and memory."""

from __future__ import annotations

import gc
import threading

import numpy as np
import pytest
import torch

import tilegrad
from tilegrad.autograd import Function, grad


def leaf(*shape: int, seed: int = 0) -> tilegrad.Tensor:
    values = np.random.default_rng(seed).standard_normal(shape)
    return tilegrad.from_numpy(values).requires_grad_()


def both(seed: int = 0, *shape: int):
    values = np.random.default_rng(seed).standard_normal(shape)
    return (
        tilegrad.from_numpy(values.copy()).requires_grad_(),
        torch.from_numpy(values.copy()).requires_grad_(),
    )


# ------------------------------------------------------------------------------- accumulation


def test_gradients_accumulate_over_uses_and_calls() -> None:
    x = leaf(3)
    (x * x + x).sum().backward()
    once = x.grad.numpy().copy()
    (x * x + x).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), 2 * once)


def test_gradients_of_leaves_share_no_memory() -> None:
    x, y = leaf(3), leaf(3, seed=1)
    (x + y).sum().backward()
    x.grad.zero_()
    np.testing.assert_array_equal(y.grad.numpy(), np.ones(3))


def test_the_gradient_given_is_not_kept() -> None:
    x, seed = leaf(3), tilegrad.from_numpy(np.ones(3))
    x.backward(seed)
    x.grad.zero_()
    np.testing.assert_array_equal(seed.numpy(), np.ones(3))


def test_diamond_and_unused_branch() -> None:
    x = leaf(4)
    y = x * 2
    unused = y.exp()
    (y + y * y).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), 2 + 8 * x.detach().numpy())
    assert unused.requires_grad


def test_several_roots() -> None:
    x = leaf(3)
    a, b = x * 2, x * 3
    tilegrad.autograd.backward([a.sum(), b.sum()])
    np.testing.assert_allclose(x.grad.numpy(), np.full(3, 5.0))


def test_inputs_argument_limits_what_is_accumulated() -> None:
    x, y = leaf(3), leaf(3, seed=1)
    (x * y).sum().backward(inputs=[x])
    assert y.grad is None
    np.testing.assert_allclose(x.grad.numpy(), y.detach().numpy())


def test_grad_of_a_non_leaf_and_of_unused() -> None:
    x, other = leaf(3), leaf(3, seed=1)
    y = x * 3
    z = (y * y).sum()
    (g,) = grad(z, y, retain_graph=True)
    np.testing.assert_allclose(g.numpy(), 2 * y.detach().numpy())
    assert x.grad is None
    with pytest.raises(RuntimeError, match="not have been used in the graph"):
        grad(z, [x, other], retain_graph=True)
    assert grad(z, [x, other], allow_unused=True)[1] is None


def test_grad_leaves_the_graph_behind_its_inputs_alone() -> None:
    x = leaf(3)
    y = x.exp()
    z = (y * y).sum()
    grad(z, y)
    y.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), y.detach().numpy())


def test_higher_orders() -> None:
    x = leaf()
    y = x.sin()
    for expected in (np.cos, lambda v: -np.sin(v), lambda v: -np.cos(v), np.sin):
        (y,) = grad(y, x, create_graph=True)
        np.testing.assert_allclose(y.item(), expected(x.item()), rtol=1e-12)


def test_dtype_of_a_promoted_gradient() -> None:
    x = tilegrad.from_numpy(np.ones(3, np.float32)).requires_grad_()
    y = leaf(3)
    (x * y).sum().backward()
    assert x.grad.dtype is tilegrad.float32
    assert y.grad.dtype is tilegrad.float64


# ------------------------------------------------------------------------------------- errors


def test_second_backward_names_the_op() -> None:
    x = leaf(3)
    y = (x * x).sum()
    y.backward()
    with pytest.raises(
        RuntimeError, match="mul: Trying to backward through the graph a second time"
    ):
        y.backward()


def test_retain_graph_allows_a_second_backward() -> None:
    x = leaf(3)
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward()
    np.testing.assert_allclose(x.grad.numpy(), 4 * x.detach().numpy())


def test_inplace_on_a_saved_tensor_names_the_op() -> None:
    x = leaf(3)
    y = x * 1
    z = (y * y).sum()
    y.add_(1)
    with pytest.raises(RuntimeError, match="mul: one of the variables needed.*inplace operation"):
        z.backward()


def test_inplace_on_a_saved_output_is_caught() -> None:
    x = leaf(3)
    y = x.exp()
    y.mul_(2)
    with pytest.raises(RuntimeError, match="exp: .*modified by an inplace operation"):
        y.sum().backward()


def test_inplace_on_a_leaf_is_refused() -> None:
    x = leaf(3)
    with pytest.raises(RuntimeError, match="add_: a leaf Variable that requires grad"):
        x.add_(1)
    with pytest.raises(RuntimeError, match="a view of a leaf Variable"):
        x[0].add_(1)
    with tilegrad.no_grad():
        x.add_(1)


def test_inplace_on_expanded_memory_is_refused() -> None:
    x = tilegrad.from_numpy(np.ones((1, 3))).expand(4, 3)
    with pytest.raises(RuntimeError, match="more than one element of the written-to tensor"):
        x.add_(1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: leaf(3).backward(), "grad can be implicitly created only for scalar outputs"),
        (lambda: tilegrad.from_numpy(np.ones(())).backward(), "does not require grad"),
        (lambda: leaf(3).sum().backward(leaf(2)), "Mismatch in shape"),
        (lambda: tilegrad.from_numpy(np.arange(3)).requires_grad_(), "floating point dtype"),
        (lambda: (leaf(3) * 2).numpy(), "Can't call numpy"),
    ],
)
def test_errors(call, message: str) -> None:
    with pytest.raises(RuntimeError, match=message):
        call()


# -------------------------------------------------------------------------- views and in-place


def _inplace_on_view(t, x):
    y = x * 2
    y[1].mul_(3)
    y[0] += y[1]
    return y


def _inplace_on_base(t, x):
    y = x * 2
    row = y[0]
    y.mul_(x)
    return row * row


def _view_chain(t, x):
    y = x * 1
    y.reshape(-1)[2:4].fill_(5.0)
    y.t()[0].exp_()
    return y.clone().sin()


def _copy_into_slice(t, x):
    y = x * 2
    y[:, 1] = x[:, 0] * 3
    y[0, :] = 1.0
    return y


def _accumulate_rows(t, x):
    total = x[0] * 0
    for row in x:
        total += row * row
    return total


@pytest.mark.parametrize(
    "program",
    [_inplace_on_view, _inplace_on_base, _view_chain, _copy_into_slice, _accumulate_rows],
    ids=lambda p: p.__name__.strip("_"),
)
def test_inplace_programs_match_pytorch(program) -> None:
    ours, theirs = both(0, 3, 4)
    a, b = program(tilegrad, ours), program(torch, theirs)
    np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy())
    a.sum().backward()
    b.sum().backward()
    np.testing.assert_allclose(ours.grad.numpy(), theirs.grad.numpy())


def test_version_counts_writes_and_views_share_it() -> None:
    x = tilegrad.from_numpy(np.zeros((2, 3)))
    view = x[0]
    before = x._version
    view.add_(1)
    assert x._version == view._version == before + 1


def test_inplace_changes_grad_fn() -> None:
    x = leaf(3)
    y = x * 2
    y.relu_()
    assert "relu_" in y.grad_fn.op
    y.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), 2.0 * (x.detach().numpy() > 0))


# --------------------------------------------------------------------------------------- hooks


def test_hooks_on_leaves_and_others() -> None:
    x = leaf(3)
    seen = []
    x.register_hook(lambda g: seen.append("leaf"))
    y = x * 2
    handle = y.register_hook(lambda g: g * 10)
    y.sum().backward(retain_graph=True)
    np.testing.assert_allclose(x.grad.numpy(), np.full(3, 20.0))
    assert seen == ["leaf"]
    handle.remove()
    x.grad = None
    y.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), np.full(3, 2.0))


def test_retain_grad() -> None:
    x = leaf(3)
    y = x * 2
    y.retain_grad()
    (y * y).sum().backward()
    np.testing.assert_allclose(y.grad.numpy(), 2 * y.detach().numpy())


def test_post_accumulate_hook_sees_the_updated_gradient() -> None:
    x, seen = leaf(3), []
    handle = x.register_post_accumulate_grad_hook(lambda t: seen.append(t.grad.numpy().copy()))
    (x * 2).sum().backward()
    (x * 2).sum().backward()
    handle.remove()
    (x * 2).sum().backward()
    np.testing.assert_array_equal(seen, [np.full(3, 2.0), np.full(3, 4.0)])
    with pytest.raises(RuntimeError, match="non-leaf"):
        (x * 2).register_post_accumulate_grad_hook(print)


def test_hook_on_a_tensor_without_gradient_is_refused() -> None:
    with pytest.raises(RuntimeError, match="register_hook"):
        tilegrad.from_numpy(np.ones(2)).register_hook(lambda g: g)


# --------------------------------------------------------------------------------------- modes


def test_modes() -> None:
    x = leaf(3)
    with tilegrad.no_grad():
        assert not (x * 2).requires_grad
        with tilegrad.enable_grad():
            assert (x * 2).requires_grad
    with tilegrad.inference_mode():
        assert not (x * 2).requires_grad
        assert tilegrad.is_inference_mode_enabled()

    @tilegrad.no_grad()
    def frozen():
        return x * 2

    assert not frozen().requires_grad
    with tilegrad.set_grad_enabled(False):
        assert not (x * 2).requires_grad
    assert (x * 2).requires_grad


def test_no_grad_is_per_thread() -> None:
    x, seen = leaf(3), []
    with tilegrad.no_grad():
        worker = threading.Thread(target=lambda: seen.append((x * 2).requires_grad))
        worker.start()
        worker.join()
    assert seen == [True]


def test_anomaly_mode_names_the_forward_line() -> None:
    x = tilegrad.from_numpy(np.array([-1.0])).requires_grad_()
    with tilegrad.autograd.detect_anomaly():
        assert tilegrad.autograd.is_anomaly_enabled()
        y = x.sqrt()  # this line
        with pytest.raises(RuntimeError, match="(?s)SqrtBackward0.*nan values.*# this line"):
            y.sum().backward()


# ---------------------------------------------------------------------------- custom functions


class Cube(Function):
    @staticmethod
    def forward(ctx, x, scale):
        ctx.save_for_backward(x)
        ctx.scale = scale
        return x * x * x * scale

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * 3 * x * x * ctx.scale, None


class ExpOut(Function):
    @staticmethod
    def forward(ctx, x):
        y = x.exp()
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, g):
        (y,) = ctx.saved_tensors
        return g * y


def test_custom_function_first_and_second_order() -> None:
    x = leaf(4)
    assert tilegrad.autograd.gradcheck(lambda x: Cube.apply(x, 2.0), [x])
    assert tilegrad.autograd.gradgradcheck(lambda x: Cube.apply(x, 2.0), [x])
    assert tilegrad.autograd.gradcheck(ExpOut.apply, [x])
    assert tilegrad.autograd.gradgradcheck(ExpOut.apply, [x])


def test_custom_function_with_the_wrong_number_of_gradients() -> None:
    class Wrong(Function):
        @staticmethod
        def forward(ctx, x, y):
            return x * y

        @staticmethod
        def backward(ctx, g):
            return g

    with pytest.raises(RuntimeError, match="incorrect number of gradients"):
        Wrong.apply(leaf(2), leaf(2)).sum().backward()


def test_gradcheck_finds_a_wrong_gradient() -> None:
    class Wrong(Function):
        @staticmethod
        def forward(ctx, x):
            return x * x

        @staticmethod
        def backward(ctx, g):
            return g

    with pytest.raises(tilegrad.GradcheckError, match="Jacobian mismatch"):
        tilegrad.autograd.gradcheck(Wrong.apply, [leaf(3)])
    assert not tilegrad.autograd.gradcheck(Wrong.apply, [leaf(3)], raise_exception=False)


# ------------------------------------------------------------------------------ depth and memory


def test_a_deep_graph_neither_recurses_nor_leaks() -> None:
    x = leaf(2)

    def step() -> None:
        y = x
        for _ in range(100_000):
            y = y * 1.0
        y.sum().backward()
        x.grad = None

    gc.collect()
    gc.disable()
    try:
        step()
        before = tilegrad.memory_stats()["allocated_bytes"]
        step()
        assert tilegrad.memory_stats()["allocated_bytes"] == before
    finally:
        gc.enable()


def test_a_graph_is_freed_without_the_garbage_collector() -> None:
    x = leaf(1000)

    def build() -> None:
        y = (x.exp() * x).tanh()
        z = y.view(10, 100)[2:5].t().exp()
        (z.sum() + y.sum()).backward()
        x.grad = None

    build()
    gc.collect()
    gc.disable()
    try:
        before = tilegrad.memory_stats()["allocated_bytes"]
        for _ in range(3):
            build()
        assert tilegrad.memory_stats()["allocated_bytes"] == before
    finally:
        gc.enable()


def test_threads_may_run_backward_at_once() -> None:
    failures = []

    def work(seed: int) -> None:
        try:
            for _ in range(20):
                x = leaf(50, seed=seed)
                (x.exp() * x).sum().backward()
                v = x.detach().numpy()
                np.testing.assert_allclose(x.grad.numpy(), np.exp(v) * (1 + v))
        except Exception as error:
            failures.append(error)

    workers = [threading.Thread(target=work, args=(s,)) for s in range(4)]
    for w in workers:
        w.start()
    for w in workers:
        w.join()
    assert not failures


def test_a_gradient_that_two_inputs_share_is_not_added_to_in_place() -> None:
    """d(x + a) is one tensor for both: what x gets later must not reach a."""
    w, x = (tilegrad.ones(3, requires_grad=True) for _ in range(2))
    scale = tilegrad.tensor([1.0, 2.0, 3.0])
    a = w * 2  # older than m: m's gradient is added to x.grad while a's still waits
    m = x * 3
    (((x + a) * scale).sum() + (m * scale).sum()).backward()
    assert w.grad.tolist() == [2.0, 4.0, 6.0]
    assert x.grad.tolist() == [4.0, 8.0, 12.0]


def test_hooks_of_a_leaf_see_its_whole_gradient_once() -> None:
    x = tilegrad.ones(2, requires_grad=True)
    seen: list[list[float]] = []
    x.register_hook(lambda g: seen.append(g.tolist()))
    x.register_post_accumulate_grad_hook(lambda leaf: seen.append(leaf.grad.tolist()))
    (x * 2 + x * 3).sum().backward()
    assert seen == [[5.0, 5.0], [5.0, 5.0]]


def test_gradients_kept_by_the_user_do_not_change_later() -> None:
    x = tilegrad.ones(2, requires_grad=True)
    kept: list[tilegrad.Tensor] = []
    x.register_hook(kept.append)
    seed = tilegrad.ones(2)
    for _ in range(2):
        x.clone().backward(seed)
    assert kept[0].tolist() == seed.tolist() == [1.0, 1.0]
    assert x.grad.tolist() == [2.0, 2.0]


@pytest.mark.parametrize("number", [1, 0.5])
@pytest.mark.parametrize("write", ["result", "divisor"])
def test_a_number_over_a_tensor_lets_both_be_written(number, write):
    values = {}
    for library in (torch, tilegrad):
        leaf = library.tensor([1.0, 4.0], requires_grad=True)
        x = leaf * 1
        y = number / x
        if write == "result":
            y *= x
        else:
            x.add_(1)
        (y * y).sum().backward()
        values[library] = leaf.grad.tolist()
    assert values[tilegrad] == values[torch]
