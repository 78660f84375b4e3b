"""In-place twins, with their gradients. That none is missing is for tests/house/test_registry.py."""

import numpy as np
import pytest

import tilegrad as tg

torch = pytest.importorskip("torch")


WRITES = {
    "eq_": (1.5,), "lt_": (2,), "logical_not_": (), "square_": (), "frac_": (), "fmod_": (2.0,),
    "xlogy_": (1.5,), "cumsum_": (0,), "cumprod_": (1,), "clamp_min_": (1.0,), "sign_": (),
    "atan2_": (2.0,), "rad2deg_": (),
}  # fmt: skip
SHOWS = {
    "transpose_": (0, 1), "swapaxes_": (0, 1), "t_": (), "unsqueeze_": (0,), "squeeze_": (),
    "as_strided_": ((3, 2), (1, 3)),
}  # fmt: skip


def _run(lib, name, arguments):
    x = lib.tensor([[1.0, -2.5, 3.0], [0.5, 1.5, 2.0]], requires_grad=True)
    y = x * 2
    try:
        given = arguments
        if name in ("xlogy_", "atan2_"):
            given = (lib.full((2, 3), arguments[0]),)
        out = getattr(y, name)(*given)
    except Exception as error:
        return type(error).__name__
    assert out is y
    weights = lib.arange(1.0, 7.0).reshape(tuple(y.shape))
    grad = None
    if y.requires_grad:
        (y * weights).sum().backward()
        # of what was overwritten by a constant: zeros, or none
        grad = [[0.0] * 3] * 2 if x.grad is None else x.grad.tolist()
    return tuple(y.shape), y.stride(), y.tolist(), grad


def _close(a, b):
    return a == b or (a is not None and b is not None and torch.allclose(
        torch.tensor(a), torch.tensor(b), rtol=1e-5, equal_nan=True
    ))  # fmt: skip


@pytest.mark.parametrize("name", [*WRITES, *SHOWS])
def test_twins_agree(name):
    arguments = {**WRITES, **SHOWS}[name]
    want, have = _run(torch, name, arguments), _run(tg, name, arguments)
    if isinstance(want, str) or isinstance(have, str):
        assert want == have
        return
    assert want[0] == have[0]
    assert name not in SHOWS or want[1] == have[1]
    assert _close(want[2], have[2])
    if name != "logical_not_":  # PyTorch lets the gradient through
        assert _close(want[3], have[3])


@pytest.mark.parametrize("lib", [torch, tg])
def test_leaf_refuses(lib):
    x = lib.ones(2, 3, requires_grad=True)
    for call in (lambda: x.t_(), lambda: x.square_()):
        with pytest.raises(RuntimeError, match="leaf Variable"):
            call()


@pytest.mark.parametrize("lib", [torch, tg])
def test_view_of_a_tensor_that_was_transposed(lib):
    x = lib.arange(6.0).reshape(2, 3).requires_grad_()
    y = x * 1
    row = y[0]
    y.t_()
    row.mul_(3)
    (y * lib.arange(1.0, 7.0).reshape(3, 2)).sum().backward()
    assert y.tolist() == [[0.0, 3.0], [3.0, 4.0], [6.0, 5.0]]
    assert x.grad.tolist() == [[3.0, 9.0, 15.0], [2.0, 4.0, 6.0]]


@pytest.mark.parametrize("lib", [torch, tg])
def test_saved_operand_is_guarded(lib):
    x = lib.ones(2, 3, requires_grad=True)
    y = x * 2
    z = (y * y).sum()
    y.t_()
    with pytest.raises(RuntimeError, match="modified"):
        z.backward()


def test_result_of_another_dtype_is_refused():
    for lib in (torch, tg):
        with pytest.raises(RuntimeError, match="can't be cast"):
            lib.tensor([1, 2]).fmod_(1.5)


# of w, which is tracked or not, and of y; the operand that is written over is kept for the backward pass
_KEPT = """
x.pow_(3); x.pow_(y); x.pow_(0.5); x.pow_(t.tensor(3.0)); x.remainder_(y); x.fmod_(y); x.clamp_(y); x.clamp_(y, y + 0.05)
x.clamp_(max=y); x.mvlgamma_(2); x.div_(y, rounding_mode='floor'); x.true_divide_(y); x.cumprod_(0); x.square_()
x[:1].pow_(3); x[:1].pow_(y[:1]); x[1:].remainder_(y[:1]); x.clamp_max_(y); x.logit_(0.1); x.__ipow__(y)
"""


@pytest.mark.parametrize("tracked", [True, False])
@pytest.mark.parametrize("call", [c.strip() for c in _KEPT.replace("\n", ";").split(";") if c.strip()])  # fmt: skip
def test_gradients_of_what_is_written_over(call: str, tracked: bool) -> None:
    """As PyTorch's, with those of a read of the result, and without a node for the copy."""
    found = []
    for t in (tg, torch):
        w = t.tensor([0.3, 1.6], dtype=t.float64, requires_grad=tracked)
        y = t.tensor([0.5, 0.7], dtype=t.float64, requires_grad=True)
        x = w * 1
        made = eval(call, {"x": x, "y": y, "t": t})
        assert made.requires_grad == (tracked or "y" in call)
        grads = [None, None]
        if made.requires_grad:
            assert "CopyBackwards" not in repr(x)
            (x * made.sum() + x * y).sum().backward()
            grads = [w.grad, y.grad]
        found.append([x.detach().numpy(), *[g if g is None else g.numpy() for g in grads]])
    for have, want in zip(*found, strict=True):
        assert (have is None) == (want is None)
        if want is not None:
            np.testing.assert_allclose(have, want, rtol=1e-9, atol=1e-12)
