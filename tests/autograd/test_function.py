"""Custom functions as PyTorch's: what forward may return and mark, and what backward may give."""

import gc

import numpy as np
import pytest

import tilegrad
from tilegrad import nn
from tilegrad.autograd import Function, grad


def leaf(*values):
    return tilegrad.tensor([float(v) for v in values], requires_grad=True)


def make(forward, backward=lambda ctx, *g: g[0]):
    return type(
        "My", (Function,), {"forward": staticmethod(forward), "backward": staticmethod(backward)}
    )


def written(ctx, x):
    x.mul_(2)
    ctx.mark_dirty(x)
    return x


Double = make(written, lambda ctx, g: g * 2)


def test_dirty_views_pass_the_gradient_of_their_base() -> None:
    weight = tilegrad.tensor([[1.0, 2.0], [3.0, 4.0]])
    for part, expected in (
        (lambda y: y[:1], [[2.0, 4.0], [3.0, 4.0]]),
        (lambda y: y.t()[0], [[2.0, 2.0], [6.0, 4.0]]),
        (lambda y: y.diagonal(), [[2.0, 2.0], [3.0, 8.0]]),
        (lambda y: y.view(-1)[1:3], [[1.0, 4.0], [6.0, 4.0]]),
        (lambda y: y, [[2.0, 4.0], [6.0, 8.0]]),
    ):
        x = tilegrad.ones(2, 2, requires_grad=True)
        y = x * 1
        view = part(y)
        assert Double.apply(view) is view
        (y * weight).sum().backward(retain_graph=True)
        assert x.grad.tolist() == expected
        x.grad = None
        Double.apply(part(y))  # once more, and on as any other tensor
        part(y).mul_(3)
        (y * weight).sum().backward()
        three = np.where(np.array(expected) == weight.numpy(), 1.0, 12.0)
        np.testing.assert_array_equal(x.grad.numpy(), weight.numpy() * three)


def test_dirty_views_of_a_plain_base_make_it_part_of_the_graph() -> None:
    def add(ctx, target, x):
        ctx.mark_dirty(target)
        return target.add_(x * 3)

    Add = make(add, lambda ctx, g: (g, g * 3))
    base, x = tilegrad.ones(3), leaf(1, 2)
    Add.apply(base[1:], x)
    assert base.requires_grad and base.tolist() == [1.0, 4.0, 7.0]
    (base * base).sum().backward()
    assert x.grad.tolist() == [24.0, 42.0]


def test_what_cannot_be_dirty() -> None:
    with pytest.raises(RuntimeError, match="a leaf Variable that requires grad has been used"):
        Double.apply(leaf(1, 2))
    with pytest.raises(RuntimeError, match="a view of a leaf Variable"):
        Double.apply(leaf(1, 2)[:1])
    with tilegrad.no_grad():
        assert Double.apply(leaf(1, 2)).tolist() == [2.0, 4.0]
    for x in (leaf(1, 2) * 1, tilegrad.ones(2)):
        with pytest.raises(RuntimeError, match="marked as dirty.*were not returned"):
            make(lambda ctx, x: (ctx.mark_dirty(x), x.mul_(2), x * 3)[2]).apply(x)
    with pytest.raises(RuntimeError, match="mark_dirty can only accept variables"):
        make(lambda ctx, x: ctx.mark_dirty(3)).apply(leaf(1))


def test_materialized_gradients() -> None:
    seen = []

    def run(flag, *extra):
        def forward(ctx, x):
            ctx.set_materialize_grads(flag)
            return x * 1, 5, x * 2, x > 0

        def backward(ctx, *grads):
            seen.append([g if g is None else g.tolist() for g in grads])
            return tilegrad.ones(2)

        make(forward, backward).apply(leaf(1, 2))[2].sum().backward()

    run(False)
    run(True)
    assert seen == [
        [None, None, [1.0, 1.0], None],
        [[0.0, 0.0], None, [1.0, 1.0], [False, False]],
    ]
    with pytest.raises(TypeError, match="set_materialize_grads"):
        run("yes")


def test_non_differentiable_outputs() -> None:
    def forward(ctx, x):
        order = x * 2
        ctx.mark_non_differentiable(order)
        return x * 3, order

    x, seen = leaf(1, 2), []
    a, b = make(forward, lambda ctx, g, h: (seen.append(h.tolist()), g * 3)[1]).apply(x)
    assert a.requires_grad and not b.requires_grad and b.grad_fn is None
    a.sum().backward()
    assert x.grad.tolist() == [3.0, 3.0] and seen == [[0.0, 0.0]]


def test_inputs_and_their_views_returned() -> None:
    back = lambda ctx, g: g.reshape(2) * 2
    for forward in (lambda ctx, x: x, lambda ctx, x: x.view(2, 1)):
        kind = make(forward, back)
        x = leaf(1, 2)
        y = x * 1
        result = kind.apply(y)
        assert result is not y and result.data_ptr() == y.data_ptr()
        result.sum().backward()
        assert x.grad.tolist() == [2.0, 2.0]
        result = kind.apply(y)
        with pytest.raises(RuntimeError, match="Output 0 of My is a view and is being modified"):
            result.mul_(3)
        y.mul_(3)
        with pytest.raises(RuntimeError, match="its base or another view of its base"):
            result.sum()
        assert kind.apply(y).clone().mul_(2).requires_grad
    y = leaf(1, 2) * 1
    result = make(lambda ctx, x: x.detach(), back).apply(y)  # no view, as in PyTorch
    assert result.data_ptr() == y.data_ptr() and result.mul_(3).requires_grad


def test_where_nothing_is_recorded_results_are_no_part_of_the_graph() -> None:
    """An input that is returned as it is comes back as another tensor, of no history."""
    same = make(lambda ctx, x: x)
    x = leaf(1, 2)
    with tilegrad.no_grad():
        for given in (x, x * 1):
            made = same.apply(given)
            assert made is not given and not made.requires_grad and made.grad_fn is None
    constant = tilegrad.ones(2)
    assert same.apply(constant) is not constant and same.apply(constant)._base is constant
    y = x * 1

    def aside(ctx, x):
        ctx.mark_non_differentiable(x)
        return x

    assert make(aside).apply(y)._base is None and not make(aside).apply(y).requires_grad


def test_tensors_by_keyword_are_constants() -> None:
    w, x = leaf(3, 4), leaf(1, 2)
    kind = make(lambda ctx, x, w=None: x * w, lambda ctx, g: g * 5)
    kind.apply(x, w=w).sum().backward()
    assert x.grad.tolist() == [5.0, 5.0] and w.grad is None


def test_needs_input_grad() -> None:
    seen = []

    def forward(ctx, *args):
        seen.append(ctx.needs_input_grad)
        return args[0] * 1

    def backward(ctx, g):
        seen.append(ctx.needs_input_grad)
        return g, None, None, None

    args = leaf(1) * 1, tilegrad.ones(1), 3, leaf(1)
    make(forward, backward).apply(*args).sum().backward()
    with tilegrad.no_grad():
        make(forward, backward).apply(*args)
    assert seen == [(True, False, False, True)] * 3


def test_what_is_saved() -> None:
    def forward(ctx, x):
        inner, out = x * 2, x.exp()
        ctx.save_for_backward(inner, None, out, x)
        ctx.inner = inner
        assert ctx.saved_tensors == ()
        return out

    def backward(ctx, g):
        inner, nothing, out, x = ctx.saved_tensors
        assert nothing is None and inner.tolist() == (x * 2).tolist()
        return g * out

    kind = make(forward, backward)
    assert tilegrad.autograd.gradgradcheck(
        kind.apply, [leaf(0.5, 1).double().detach().requires_grad_()]
    )
    contexts = []
    kept = make(
        forward, lambda ctx, g: (contexts.append(ctx), ctx.inner.add_(1), backward(ctx, g))[2]
    )
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        kept.apply(leaf(1, 2)).sum().backward()
    for value in (3, [tilegrad.ones(1)], "x"):
        with pytest.raises(TypeError, match="can only save variables, but argument 0 is of type"):
            make(lambda ctx, x, v=value: ctx.save_for_backward(v)).apply(leaf(1))
    done = []
    make(forward, lambda ctx, g: (done.append(ctx), backward(ctx, g))[1]).apply(leaf(1)).backward()
    with pytest.raises(RuntimeError, match="already been freed"):
        done[0].saved_tensors  # noqa: B018


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((3, None), "expected Variable or None"),
        (([tilegrad.ones(2)], None), "expected Variable or None"),
        ((np.ones(2), None), "expected Variable or None"),
        ((), "incorrect number of gradients .expected 2, got 0"),
        ((None, None, tilegrad.ones(2)), "incorrect number of gradients .expected 2, got 3"),
        ((tilegrad.ones(2), tilegrad.ones(2)), "different than None at position 2"),
        ((tilegrad.ones(3), None), r"invalid gradient at index 0 - got \[3\] but expected"),
        ((tilegrad.ones(1), None), r"invalid gradient at index 0 - got \[1\]"),
        ((tilegrad.ones(2, 1), None), r"invalid gradient at index 0 - got \[2, 1\]"),
        ((tilegrad.tensor(1.0), None), r"invalid gradient at index 0 - got \[\]"),
    ],
)
def test_gradients_that_backward_may_not_return(given, message: str) -> None:
    kind = make(lambda ctx, x, number: x * 2, lambda ctx, g: given)
    with pytest.raises(RuntimeError, match=message):
        kind.apply(leaf(1, 2), 3).sum().backward()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (tilegrad.ones(3, 2), [3.0, 3.0]),
        (tilegrad.ones(2, dtype=tilegrad.float64), [1.0, 1.0]),
        (tilegrad.ones(2, dtype=tilegrad.int64), [1.0, 1.0]),
        ((tilegrad.ones(2), None, None), [1.0, 1.0]),
        (None, None),
    ],
)
def test_gradients_that_are_made_to_fit(given, expected) -> None:
    x = leaf(1, 2)
    make(lambda ctx, x: x * 2, lambda ctx, g: given).apply(x).sum().backward()
    assert (
        (x.grad and x.grad.tolist()) == expected
        if expected is None
        else x.grad.tolist() == expected
    )
    assert x.grad is None or x.grad.dtype is tilegrad.float32


def test_backward_and_vjp() -> None:
    one = {"forward": staticmethod(lambda ctx, x: x * 1)}
    two = {"vjp": staticmethod(lambda ctx, g: g * 2)}
    x = leaf(1)
    type("One", (Function,), one | two).apply(x).sum().backward()
    assert x.grad.tolist() == [2.0]
    with pytest.raises(RuntimeError, match="only implement one of them"):
        type("Both", (Function,), one | two | {"backward": two["vjp"]}).apply(x).sum().backward()
    with pytest.raises(NotImplementedError, match="backward or vjp"):
        type("None_", (Function,), one).apply(x).sum().backward()
    with pytest.raises(NotImplementedError, match="forward"):
        Function.apply(x)


def test_once_differentiable() -> None:
    class Square(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        @tilegrad.autograd.function.once_differentiable
        def backward(ctx, g):
            assert not tilegrad.is_grad_enabled()
            return g * 2 * ctx.saved_tensors[0]

    x = leaf(1, 2)
    y = Square.apply(x)
    (g,) = grad((y * y).sum(), x, create_graph=True)
    assert g.tolist() == [4.0, 32.0]
    with pytest.raises(RuntimeError, match="trying to differentiate twice"):
        g.sum().backward()


def test_a_call_is_freed_without_the_garbage_collector() -> None:
    def forward(ctx, x):
        ctx.save_for_backward(x, out := x.mul_(2))
        ctx.mark_dirty(x)
        return out

    kind = make(forward, lambda ctx, g: (ctx.saved_tensors, g * 2)[1])

    def run(passes: bool) -> None:
        x = tilegrad.ones(10_000, requires_grad=True)
        y = kind.apply(x * 1)
        if passes:
            y.sum().backward()

    run(True)
    gc.collect()
    gc.disable()
    try:
        before = tilegrad.memory_stats()["allocated_bytes"]
        for passes in (True, False):
            run(passes)
            assert tilegrad.memory_stats()["allocated_bytes"] == before
    finally:
        gc.enable()


# ------------------------------------------------------------------- grad's and backward's arguments


def test_arguments_of_grad() -> None:
    x = leaf(1, 2)
    call = lambda *a, **k: grad([(x * x).sum()], [x], *a, **k)[0]
    assert call(None, False, False, True, True, False, False).tolist() == [2.0, 4.0]
    assert call(only_inputs=True).tolist() == [2.0, 4.0]
    unused = leaf(1, 2, 3)
    for batched, shape in ((False, (3,)), (True, (4, 3))):
        given = tilegrad.ones(4) if batched else None
        found = grad((x * x).sum(), unused, given, is_grads_batched=batched, materialize_grads=True)
        assert found[0].shape == shape
    for bad in ({"only_inputs": False}, {"allow_unused": False, "materialize_grads": True}):
        with pytest.raises(ValueError, match="grad: "):
            call(**bad)
    with pytest.raises(ValueError, match="non-empty"):
        grad((x * x).sum(), [])
    for bad in (3, "x", np.ones(2)):
        with pytest.raises(TypeError):
            grad(bad, x)
        with pytest.raises(TypeError):
            tilegrad.autograd.backward(bad)


def test_batched_cotangents() -> None:
    x = leaf(1, 2)
    y = x * x
    (jacobian,) = grad(y, x, tilegrad.eye(2), is_grads_batched=True, create_graph=True)
    assert jacobian.tolist() == [[2.0, 0.0], [0.0, 4.0]]
    (second,) = grad(jacobian.sum(), x)
    assert second.tolist() == [2.0, 2.0]
    grad(y, x, tilegrad.eye(2), is_grads_batched=True)
    with pytest.raises(RuntimeError, match="freed"):
        y.sum().backward()
    with pytest.raises(RuntimeError, match="is_grads_batched"):
        grad(x * x, x, is_grads_batched=True)


def test_a_cotangent_of_another_float_dtype_is_cast() -> None:
    for module, shape in ((nn.Linear(3, 2), (4, 3)), (nn.Conv2d(1, 2, 3), (1, 1, 5, 5))):
        module = module.double()
        out = module(tilegrad.ones(*shape, dtype=tilegrad.float64))
        out.backward(tilegrad.ones(*out.shape))
        assert module.weight.grad.dtype is tilegrad.float64


# ------------------------------------------------------------------------------ states


def test_the_state_of_a_generator_is_a_tensor() -> None:
    generator = tilegrad.Generator().manual_seed(5)
    state = generator.get_state()
    assert isinstance(state, tilegrad.Tensor) and state.dtype is tilegrad.uint8
    other = generator.clone_state()
    first = tilegrad.rand(3, generator=generator).tolist()
    assert tilegrad.rand(3, generator=other).tolist() == first
    assert generator.set_state(state.clone()) is generator
    assert tilegrad.rand(3, generator=generator).tolist() == first
    before = tilegrad.get_rng_state()
    first = tilegrad.rand(3).tolist()
    tilegrad.set_rng_state(before)
    assert tilegrad.rand(3).tolist() == first
