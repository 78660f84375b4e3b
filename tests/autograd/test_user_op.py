"""tilegrad.op: a signature, a reference, kernels for each device, and a gradient."""

from __future__ import annotations

import math
import os
import pickle
import re
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numba import cuda

import tilegrad
from tests.conftest import ROOT
from tilegrad.autograd.gradcheck import gradcheck, gradgradcheck
from tilegrad.engine.dispatch import mode
from tilegrad.engine.interpreter import why_plain
from tilegrad.engine.signature_parser import SignatureError
from tilegrad.kernels.bodies import BodyError
from tilegrad.kernels.cuda import user as on_cuda
from tilegrad.kernels.faults import KernelFault

T = 4


@tilegrad.op("row_softmax(x: f[*B, N], eps: float = 0.0) -> y: like x")
def row_softmax(x, eps):
    """Softmax of the last dimension."""
    e = (x - x.amax(-1, keepdim=True)).exp()
    return e / (e.sum(-1, keepdim=True) + eps)


def larger(a, b):
    return a if a > b else b


@row_softmax.cpu(tasks=lambda B: B)
def _(task, x, y, eps, N, f):
    first = task * N
    top = f(-math.inf)
    for j in range(N):
        top = larger(top, x[first + j])
    total = f(0)
    for j in range(N):
        y[first + j] = math.exp(x[first + j] - top)
        total += y[first + j]
    for j in range(N):
        y[first + j] /= total + eps


@row_softmax.cuda(grid=lambda B: B, block=T)
def _(x, y, eps, N, f):
    part = cuda.shared.array(T, f)
    t, first = cuda.threadIdx.x, cuda.blockIdx.x * N
    top = f(-math.inf)
    for j in range(t, N, T):
        top = larger(top, x[first + j])
    part[t] = top
    cuda.syncthreads()
    for k in range(T):
        top = larger(top, part[k])
    cuda.syncthreads()
    total = f(0)
    for j in range(t, N, T):
        total += exp(x[first + j] - top)  # noqa: F821
    part[t] = total
    cuda.syncthreads()
    total = eps
    for k in range(T):
        total += part[k]
    for j in range(t, N, T):
        y[first + j] = exp(x[first + j] - top) / total  # noqa: F821


@row_softmax.vjp
def _(grad_y, y):
    weighed = grad_y * y
    return weighed - y * weighed.sum(-1, keepdim=True)


def scaled(x, k, flip):
    return (-x if flip else x) * k


def op_of(reference: Any = scaled, signature: str = "") -> Any:
    text = signature or f"{reference.__name__}(x: f[*B, N], k: float = 2.0, flip: bool = False)"
    return tilegrad.op(text if signature else text + " -> y: like x")(reference)


@pytest.mark.parametrize("name", ["float32", "float64"])
def test_the_kernel_is_the_reference(device, name, rng):
    kind = getattr(tilegrad, name)
    x = tilegrad.tensor(rng.standard_normal((2, 3, 5)), dtype=kind)
    have = row_softmax(x.to(device))
    assert have.dtype is kind and have.device.type == device and have.is_contiguous()
    tolerance = 1e-6 if name == "float32" else 1e-14
    np.testing.assert_allclose(have.cpu().numpy(), x.softmax(-1).numpy(), rtol=tolerance)
    for view in (x.transpose(0, 2), x[:, ::2, 1::2], x[:0], x[:, :, :0], x[0, 0]):
        have, want = (
            row_softmax(view.to(device), 0.5),
            row_softmax.reference(view, 0.5) if view.numel() else view,
        )
        np.testing.assert_allclose(have.cpu().numpy(), want.numpy(), rtol=10 * tolerance)


def test_gradients_by_the_vjp_and_by_the_reference(device):
    x = tilegrad.randn(2, 3, dtype=tilegrad.float64).to(device).requires_grad_()
    assert type(row_softmax(x).grad_fn).__name__ == "RowSoftmaxBackward0"
    grad = tilegrad.autograd.grad(row_softmax(x)[:, 0].sum(), x)[0]
    want = tilegrad.autograd.grad(x.softmax(-1)[:, 0].sum(), x)[0]
    np.testing.assert_allclose(grad.cpu().numpy(), want.cpu().numpy(), atol=1e-15)
    small = x.detach().cpu().requires_grad_()
    assert gradcheck(row_softmax, (small,)) and gradgradcheck(row_softmax, (small,))
    plain = op_of()
    assert plain.devices == () and gradcheck(plain, (small,)) and gradgradcheck(plain, (small,))
    assert type(plain(small).grad_fn).__name__ == "MulBackward0"

    @plain.cpu(tasks=lambda B: B)
    def _(task, x, y, k, flip, N):
        for j in range(task * N, task * N + N):
            y[j] = (-x[j] if flip else x[j]) * k

    assert plain.devices == ("cpu",)
    for how in ({}, {"k": 3, "flip": True}):
        assert tilegrad.equal(
            plain(small, **how), plain.reference(small, how.get("k", 2.0), bool(how))
        )
        assert type(plain(small, **how).grad_fn).__name__ == "ScaledBackward0"
        assert gradcheck(lambda x, how=how: plain(x, **how), (small,))
        assert gradgradcheck(lambda x, how=how: plain(x, **how) * x, (small,))


def test_a_vjp_holds_without_a_kernel_too():
    """It is the gradient of the op, whatever computes the op."""
    tenfold = op_of()

    @tenfold.vjp
    def _(grad_y, k, flip):
        return grad_y * (10.0 * k)

    x = tilegrad.ones(2, 3, requires_grad=True)
    tenfold(x, 3.0).sum().backward()
    assert x.grad is not None and x.grad.tolist() == [[30.0] * 3] * 2


def moments(x, w, ids):
    return x.mean(-1) * w.sum(), (x * x).amax(-1), x.argmax(-1)


def made_moments() -> Any:
    op = op_of(
        moments, "moments(x: f[*B, N], w: f[M], ids: i64[M]) -> m: f[*B], t: f[*B], at: i64[*B]"
    )

    @op.cpu(tasks=lambda B: B, scratch=lambda N, itemsize: N * itemsize)
    def _(task, x, w, m, t, at, N, M, scratch, itemsize, f):
        total, most, place, whole = f(0), f(-1), 0, f(0)
        for k in range(M):
            whole += w[k]
        for j in range(N):
            scratch[j] = x[task * N + j]
        for j in range(N):
            total += scratch[j]
            most = max(most, scratch[j] * scratch[j])
            place = j if scratch[j] > scratch[place] else place
        m[task], t[task], at[task] = total / f(N) * whole, most, place

    @op.cuda(grid=lambda B: (B, 1), block=(1, 1, 1), scratch=lambda N, itemsize: N * itemsize)
    def _(x, w, m, t, at, N, M, scratch, f):
        row = cuda.blockIdx.x
        total, most, place, whole = f(0), f(-1), 0, f(0)
        for k in range(M):
            whole += w[k]
        for j in range(N):
            scratch[j] = x[row * N + j]
        for j in range(N):
            total += scratch[j]
            most = max(most, scratch[j] * scratch[j])
            place = j if scratch[j] > scratch[place] else place
        m[row], t[row], at[row] = total / f(N) * whole, most, place

    return op


def test_several_outputs_operands_and_scratch_memory(device, rng):
    op = made_moments()
    x = tilegrad.tensor(rng.standard_normal((4, 5))).to(device).requires_grad_()
    w, ids = (
        tilegrad.rand(3, dtype=tilegrad.float64).to(device).requires_grad_(),
        tilegrad.arange(3).to(device),
    )
    have, want = op(x, w, ids), moments(x, w, ids)
    for one, two in zip(have, want, strict=True):
        np.testing.assert_allclose(
            one.detach().cpu().numpy(), two.detach().cpu().numpy(), rtol=1e-12
        )
    assert [o.requires_grad for o in have] == [True, True, False]
    grads = [tilegrad.autograd.grad((y[0] * 2).sum() + y[1].sum(), (x, w)) for y in (have, want)]
    for one, two in zip(*grads, strict=True):
        np.testing.assert_allclose(one.cpu().numpy(), two.cpu().numpy(), rtol=1e-12)

    @op.vjp
    def _(x, grad_t, grad_m, t):
        return {"x": grad_m.unsqueeze(-1).expand(x.shape) * 3 + (grad_t * t).unsqueeze(-1)}

    by_x, by_w = tilegrad.autograd.grad(op(x, w, ids)[0].sum(), (x, w), allow_unused=True)
    assert by_w is None and by_x.tolist() == [[3.0] * 5] * 4


def accumulate(total, x, k):
    return total * k + x


def made_accumulate() -> Any:
    op = op_of(accumulate, "accumulate(total: inout f[N], x: f[N], k: float = 1.0)")

    @op.cpu(tasks=1)
    def _(task, total, x, k, N):
        for j in range(N):
            total[j] = total[j] * k + x[j]

    @op.cuda(grid=1, block=T)
    def _(total, x, k, N):
        for j in range(cuda.threadIdx.x, N, T):
            total[j] = total[j] * k + x[j]

    return op


@pytest.mark.parametrize("bodies", [True, False])
def test_operands_that_are_written_over(device, bodies):
    op = (
        made_accumulate()
        if bodies
        else op_of(accumulate, "accumulate(total: inout f[N], x: f[N], k: float = 1.0)")
    )
    total, x = tilegrad.arange(5.0).to(device), tilegrad.ones(5).to(device)
    version = total.storage.version
    assert op(total, x, 2.0) is total and total.tolist() == [1.0, 3.0, 5.0, 7.0, 9.0]
    assert total.storage.version > version
    whole = tilegrad.zeros(5, 3).to(device)
    op(whole[:, 1], x)  # a view with gaps: its base changes
    assert whole.sum(0).tolist() == [0.0, 5.0, 0.0]
    with pytest.raises(RuntimeError, match="accumulate: a leaf Variable that requires grad"):
        op(tilegrad.ones(5).to(device).requires_grad_(), x)
    with pytest.raises(
        RuntimeError, match="accumulate: unsupported operation: some elements of the input"
    ):
        op(total, total)
    with pytest.raises(
        RuntimeError, match="accumulate: unsupported operation: more than one element"
    ):
        op(tilegrad.zeros(1).to(device).expand(5), x)
    start, leaf = (tilegrad.rand(5).to(device).requires_grad_() for _ in range(2))
    moving = start * 1
    op(moving, leaf * leaf, 3.0)
    moving.sum().backward()
    assert start.grad is not None and leaf.grad is not None
    np.testing.assert_allclose(start.grad.cpu().numpy(), np.full(5, 3.0))
    np.testing.assert_allclose(leaf.grad.cpu().numpy(), 2 * leaf.detach().cpu().numpy())


def test_what_was_saved_and_is_written_over_is_an_error():
    op, x = made_accumulate(), tilegrad.rand(5, requires_grad=True)
    kept = x * 1
    out = kept * kept
    op(kept, tilegrad.ones(5))
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        out.sum().backward()


def test_old_and_new_values_in_the_vjp(device):
    op = made_accumulate()

    @op.vjp
    def _(grad_total, old_total, total, k):
        return {"total": grad_total * old_total, "x": grad_total * total}

    x = tilegrad.ones(3).to(device).requires_grad_()
    start = tilegrad.tensor([2.0, 3.0, 4.0]).to(device).requires_grad_()
    moving = start * 1
    op(moving, x)
    moving.sum().backward()
    assert start.grad.tolist() == [2.0, 3.0, 4.0] and x.grad.tolist() == [3.0, 4.0, 5.0]


def test_strides_and_shapes_on_request(device):
    op = op_of(lambda_twice, "lambda_twice(x: f[M, N]) -> y: like x")

    @op.cpu(tasks=lambda M: M)
    def _(task, x, y, x_strides, x_shape):
        for j in range(x_shape[1]):
            y[task * x_shape[1] + j] = x[task * x_strides[0] + j * x_strides[1]] * 2

    @op.cuda(grid=lambda M: M, block=lambda N: min(N, 8))
    def _(x, y, x_strides, x_shape):
        i = cuda.blockIdx.x
        for j in range(cuda.threadIdx.x, x_shape[1], cuda.blockDim.x):
            y[i * x_shape[1] + j] = x[i * x_strides[0] + j * x_strides[1]] * 2

    x = tilegrad.arange(12.0).reshape(3, 4).to(device)
    assert tilegrad.equal(op(x.t()), (x * 2).t())
    seen = []
    with mode(
        lambda op, arrays, params, meta: seen.append(op.name) or op(*arrays, params=params, **meta)
    ):
        op(x.t())
    assert seen == ["t", "lambda_twice"]  # no copy was made


def lambda_twice(x):
    return x * 2


def test_wrong_arguments_of_calls():
    x = tilegrad.rand(2, 3)
    for call, kind, words in (
        (lambda: row_softmax(3.0), TypeError, "row_softmax: x must be a tensor; got float"),
        (lambda: row_softmax(x, "a"), TypeError, "row_softmax: eps must be a float; got str"),
        (lambda: row_softmax(x, None), TypeError, "row_softmax: eps must be a float; got NoneType"),
        (lambda: row_softmax(x, tilegrad.tensor(1.0)), TypeError, "eps must be a float; got Tensor"),
        (lambda: row_softmax(x.long()), RuntimeError, "x must have a floating-point dtype; got int64"),
        (lambda: row_softmax(x[0, 0]), RuntimeError, r"x must have shape \[\*B, N\]; got \[\]"),
        (lambda: row_softmax(), TypeError, "missing 1 required positional argument: 'x'"),
        (lambda: row_softmax(x, eps=1.0, q=1), TypeError, "unexpected keyword argument 'q'"),
        (lambda: op_of()(x, flip=3), TypeError, "scaled: flip must be a bool; got int"),
        (lambda: made_moments()(x, x[0], x[0]), RuntimeError, "moments: ids must be int64; got float32"),
        (
            lambda: made_moments()(x, x[0].to("cuda"), tilegrad.arange(3)),
            tilegrad.DeviceError, "moments: Expected all tensors to be on the same device",
        ),
    ):  # fmt: skip
        with pytest.raises(kind, match=words):
            call()
    assert tilegrad.equal(row_softmax(x, np.float32(0.5)), row_softmax(eps=0.5, x=x))
    assert tilegrad.equal(row_softmax(x, 1), row_softmax(x, True))


def wrong_count(x, k, flip):
    return x, x


def wrong_shape(x, k, flip):
    return x[0]


def test_wrong_references_and_vjps():
    x = tilegrad.ones(2, 3, requires_grad=True)
    with pytest.raises(
        RuntimeError, match="wrong_count: the reference must return y; got 2 values"
    ):
        op_of(wrong_count)(x)
    with pytest.raises(
        RuntimeError, match=r"must return y of \(2, 3\) float32; got \(3,\) float32"
    ):
        op_of(wrong_shape)(x)
    for wrong, words in (
        (
            lambda grad_y: grad_y.sum(0),
            r"\.vjp must return a gradient of x of shape \[2, 3\]; got \[3\]",
        ),
        (
            lambda grad_y: (grad_y, grad_y),
            r"\.vjp must return a gradient for each of x; got 2 values",
        ),
        (lambda grad_y: 3.0, r"\.vjp must return tensors or None; got float for x"),
        (lambda grad_y: {"z": grad_y}, r"a dict that asks for 'z', which is none of x"),
    ):
        op = op_of()
        op.vjp(wrong)
        with pytest.raises((RuntimeError, TypeError), match=words):
            op(x).sum().backward()
    with pytest.raises(
        BodyError, match=r"\.vjp asks for 'q', which is none of x, y, k, flip, grad_y"
    ):
        op_of().vjp(lambda q: q)
    assert op_of()(x).tolist() == [[2.0] * 3] * 2


def test_wrong_declarations():
    with pytest.raises(
        SignatureError, match="must be called other, as its signature says; got scaled"
    ):
        op_of(scaled, "other(x: f[N]) -> y: like x")
    with pytest.raises(
        SignatureError, match=r"must take \(x\), as its signature says; got \(x, k, flip\)"
    ):
        op_of(scaled, "scaled(x: f[N]) -> y: like x")
    for asks, words in (
        (
            lambda task, q: 0,
            r"the \.cpu body asks for 'q', which is none of task, tasks, x, y, k, flip, B, N",
        ),
        (lambda scratch: 0, r"asks for 'scratch'"),
        (lambda *x: 0, "name each argument"),
    ):
        with pytest.raises(BodyError, match=words):
            op_of().cpu(tasks=1)(asks)
    with pytest.raises(
        BodyError, match="tasks= asks for 'M', which is none of B, N, k, flip, itemsize"
    ):
        op_of().cpu(tasks=lambda M: M)(lambda task: 0)
    x = tilegrad.ones(2, 3)
    for tasks in (-1, 2.5, lambda N: "a"):
        op = op_of()
        op.cpu(tasks=tasks)(lambda task: 0)
        with pytest.raises(BodyError, match="tasks must be a whole number, 0 or more; got"):
            op(x)
    for grid, block, words in (
        (1, 2048, "a block has at most"), (1, 0, "1 to 1024 threads"), ((1, 1, 1, 1), 1, "one to three"),
        ((1, 70000), 1, "a grid has at most"),
    ):  # fmt: skip
        op = op_of()
        op.cuda(grid=grid, block=block)(lambda x: 0)
        with pytest.raises(BodyError, match=words):
            op(x.to("cuda"))


DUPLICATE = """
import tilegrad

@tilegrad.op("twice(x: f[N]) -> y: like x")
def twice(x):
    return x + x

@tilegrad.op("twice(x: f[N]) -> y: like x")
def twice(x):
    return x * 2
"""


def test_two_ops_of_one_name_are_an_error(tmp_path):
    file = tmp_path / "duplicate.py"
    file.write_text(DUPLICATE)
    code = compile(DUPLICATE, str(file), "exec")
    with pytest.raises(ValueError, match="twice: there is an op of this name already, of line 4"):
        exec(code, {"__name__": "duplicate"})
    once = compile(
        DUPLICATE.split("\n\n@")[0] + "\n\n@" + DUPLICATE.split("\n\n@")[1], str(file), "exec"
    )
    scope = {"__name__": "duplicate"}
    for _ in range(2):  # a cell that is run again
        exec(once, scope)


def test_it_pickles_by_name_and_works_in_threads_and_modules():
    assert pickle.loads(pickle.dumps(row_softmax)) is row_softmax

    class Layer(tilegrad.nn.Module):
        def forward(self, x: Any) -> Any:
            return row_softmax(x, eps=0.25)

    x = tilegrad.rand(200, 300)
    want, found = Layer()(x), []
    workers = [threading.Thread(target=lambda: found.append(Layer()(x))) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(found) == 4 and all(tilegrad.equal(one, want) for one in found)
    assert (
        "row_softmax" in repr(row_softmax)
        and row_softmax.__doc__ == "Softmax of the last dimension."
    )


class Rows(tilegrad.data.Dataset):
    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> Any:
        return row_softmax(tilegrad.arange(5.0) * index)


def test_it_works_in_workers_of_a_loader():
    batches = list(tilegrad.data.DataLoader(Rows(), batch_size=4, num_workers=1))
    want = (tilegrad.arange(8.0).reshape(8, 1) * tilegrad.arange(5.0)).softmax(1)
    np.testing.assert_allclose(tilegrad.cat(batches).numpy(), want.numpy(), rtol=1e-6)


def test_results_do_not_depend_on_threads():
    x, found = tilegrad.rand(500, 300), set()
    before = tilegrad.get_num_threads()
    for threads in (1, 2):
        tilegrad.set_num_threads(threads)
        found.add(row_softmax(x).numpy().tobytes())
    tilegrad.set_num_threads(before)
    assert len(found) == 1


def test_modes_see_each_launch(device):
    x, seen = tilegrad.rand(3, 4).to(device), []

    def look(op: Any, arrays: Any, params: Any, meta: Any) -> Any:
        seen.append((op.name, params))
        return op(*arrays, params=params, **meta)

    with mode(look):
        row_softmax(x, 0.5)
        row_softmax(x.t())
    assert seen[0] == ("row_softmax", (0.5,))
    assert [n for n, _ in seen[1:]] == ["t", "copy", "row_softmax"]


def test_kernels_assemble_for_gpus():
    """Bodies in numba.cuda's Python, with no GPU involved; debug builds too."""
    row_softmax(tilegrad.rand(2, 3).to("cuda"))
    variants = [v for v in on_cuda.user.built if v[1].asks == ("x", "y", "eps", "N", "f")]
    variant = next(v for v in variants if v[1].arrays[0].dtype == "float32")
    for arch in ((8, 0), (9, 0)):
        made = on_cuda.user.assemble(variant, arch)
        assert made.usage.spills == 0 and made.source.threads == T
    assert on_cuda.user.assemble(variant, (9, 0), guard=4096).cubin


def test_an_edited_body_is_compiled_again_and_an_unchanged_one_loaded(tmp_path: Path):
    """In a new process an unchanged body needs no compiler; a changed helper compiles it again."""
    program = """
        import sys
        import tilegrad
        {comment}
        RATE = {rate}

        def helper(a):
            return a * RATE

        @tilegrad.op("bump(x: f[N]) -> y: like x")
        def bump(x):
            return x * RATE

        @bump.cpu(tasks=1)
        def _(task, x, y, N):
            for i in range(N):
                y[i] = helper(x[i])

        print(bump(tilegrad.arange(4.0)).tolist(), "numba" in sys.modules)
    """

    def run(rate: float, comment: str = "") -> str:
        file = tmp_path / "program.py"
        file.write_text(textwrap.dedent(program).format(rate=rate, comment=comment))
        done = subprocess.run(
            [sys.executable, str(file)], capture_output=True, text=True, check=False,
            env={**os.environ, "PYTHONPATH": str(ROOT / ".dev"), "TILEGRAD_CACHE_DIR": str(tmp_path / "k")},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    assert run(2) == "[0.0, 2.0, 4.0, 6.0] True"
    assert run(2, "# a line more") == "[0.0, 2.0, 4.0, 6.0] False"
    assert run(3) == "[0.0, 3.0, 6.0, 9.0] True"


@cuda.jit(device=True)
def scaled_by(value, rate):
    return value * rate


@cuda.jit
def plain_kernel(x, out, columns, rate):
    """A kernel as numba-cuda's users have it: arrays, their shapes, a grid of two dimensions."""
    i, j = cuda.grid(2)
    if i < x.shape[0] and j < columns:
        out[i, j] = scaled_by(x[i, j], rate) + x[i][j] * x.ndim
        cuda.atomic.add(out, (i, j), 1)


def grown(x, rate):
    return x * (rate + 2) + 1


def test_a_plain_kernel_of_numba_cuda_is_a_body():
    op = op_of(grown, "grown(x: f[M, N], rate: float = 2.0) -> y: like x")
    op.cuda(
        plain_kernel, args=("x", "y", "N", "rate"), block=(4, 2),
        grid=(lambda M: (M + 3) // 4, lambda N: (N + 1) // 2),
    )  # fmt: skip
    x = tilegrad.arange(30.0).reshape(6, 5)
    for one in (x, x.reshape(5, 6).t()):
        assert tilegrad.equal(op(one.to("cuda"), 3.0).cpu(), grown(one, 3.0))
    op.check(shapes={"M": 6, "N": 5})
    variant = next(v for v in on_cuda.user.built if v[0].__name__ == "plain_kernel")
    assert on_cuda.user.assemble(variant, (9, 0)).usage.spills == 0
    with pytest.raises(BodyError, match="has 4 parameters, x, out, columns, rate; args= names 1"):
        op.cuda(plain_kernel, grid=1, block=1, args=("x",))
    with pytest.raises(BodyError, match="with args= that names"):
        op.cuda(plain_kernel, grid=1, block=1)


def test_arrays_instead_of_pointers_on_request():
    op = op_of(lambda_twice, "lambda_twice(x: f[M, N]) -> y: like x")

    @op.cuda(grid=lambda M: M, block=lambda N: min(N, 8), views=True, strided=True)
    def _(x, y):
        i = cuda.blockIdx.x
        for j in range(cuda.threadIdx.x, x.shape[1], cuda.blockDim.x):
            y[i, j] = x[i, j] * 2

    x = tilegrad.arange(12.0).reshape(3, 4).to("cuda")
    assert tilegrad.equal(op(x.t()), (x * 2).t())

    @op.cuda(grid=1, block=1, views=True)
    def _(x, y):
        y[0, 4] = x[2, 3]

    with pytest.raises(KernelFault, match=r"access outside y: \[0, 4\] of \[3, 4\]"):
        op(x)


def test_arrays_instead_of_pointers_on_the_cpu(rng):
    """Rows, negative indices, sizes, strides; each index is checked in debug mode."""
    op = op_of(lambda_twice, "lambda_twice(x: f[M, N]) -> y: like x")

    @op.cpu(tasks=lambda M: M, views=True, strided=True)
    def _(task, x, y, N, f):
        row = x[task - x.shape[0]]
        for j in range(len(row)):
            y[task, j] = row[j - N] * f(x.ndim) if y.size == x.size else f(0)

    x = tilegrad.tensor(rng.standard_normal((4, 3)))
    for view in (x, x.t(), x[::2, 1:], x[:0], x[:, :0]):
        assert tilegrad.equal(op(view), view * 2)
        with tilegrad.cuda.debug():
            assert tilegrad.equal(op(view), view * 2)

    @op.cpu(tasks=1, views=True)
    def _(task, x, y):
        y[0, 0] = x[1, 3]

    with tilegrad.cuda.debug(), pytest.raises(KernelFault, match="outside x: element 12 of"):
        op(x)

    @op.cpu(tasks=1, views=True)
    def _(task, x, y):
        y[4][0] = x[0, 0]

    with tilegrad.cuda.debug(), pytest.raises(KernelFault, match="outside y: element 12 of"):
        op(x)

    @op.cpu(tasks=1, views=True)
    def _(task, x, y):
        y[0, 0, 0] = x[0, 0]

    with pytest.raises(BodyError, match=r"y\[0, 0, 0\] = x\[0, 0\]"):
        op(x)


def test_scalars_that_a_launch_is_a_function_of(device):
    """They are part of the plan, whatever they are; others may differ from call to call for nothing."""
    op = op_of()

    @op.cpu(tasks=lambda k: int(k), work=lambda flip: 1 << 20)
    def _(task, tasks, x, y, k, flip, B, N):
        for j in range(task, B * N, tasks):
            y[j] = (-x[j] if flip else x[j]) * k

    @op.cuda(grid=lambda k: int(k), block=1)
    def _(x, y, k, flip, B, N):
        for j in range(cuda.blockIdx.x, B * N, cuda.gridDim.x):
            y[j] = (-x[j] if flip else x[j]) * k

    x = tilegrad.rand(3, 4).to(device)
    for k in (1.5, 2.5, 3.25):
        for flip in (False, True):
            assert tilegrad.equal(op(x, k, flip), scaled(x, k, flip))


def test_sums_in_vectors_on_request(monkeypatch):
    """The same numbers but for roundings, the same bits in every run; only where it is asked for."""

    def squares(x):
        return (x * x).sum(-1)

    def body(task, x, y, N, f):
        total = f(0)
        for j in range(task * N, task * N + N):
            total += x[j] * x[j]
        y[task] = total

    x = tilegrad.rand(8, 1000)
    made = []
    for how in ({}, {"reassociate": True}):
        op = tilegrad.op("squares(x: f[*B, N]) -> y: f[*B]")(squares)
        op.cpu(tasks=lambda B: B, **how)(body)
        made.append(op(x))
    one_by_one = np.zeros(8, np.float32)
    for column in x.numpy().T:
        one_by_one += column * column
    assert made[0].numpy().tobytes() == one_by_one.tobytes() and not tilegrad.equal(*made)
    np.testing.assert_allclose(made[1].numpy(), (x.double() ** 2).sum(1).numpy(), rtol=1e-6)


def test_the_tutorial_runs_on_the_simulated_gpu():
    """Its part on ops, where CUDA bodies are run and checked as well."""
    text = (ROOT / "docs/kernels.md").read_text()
    part = text[text.index("## Kernels over whole rows") : text.index("## Is it fast?")]
    code = "import math, tilegrad\n" + "\n".join(
        re.findall(r"^```python\n(.*?)^```", part, re.M | re.S)
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT / ".dev"), "NUMBA_ENABLE_CUDASIM": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "accesses within bounds      cuda" in done.stdout
    said = re.findall(r"^ *print\(.*\)  # (.*)$", code, re.M)
    assert len(said) == 4 and all(line in done.stdout.splitlines() for line in said)


def test_it_is_timed_and_explained_as_other_ops_are(capsys):
    rows = row_softmax.bench((4, 5), rounds=2, libraries=["op by op"])
    assert {row.library for row in rows} == {"tilegrad", "op by op"}
    assert all(row.error < 1e-5 for row in rows if row.what == "forward")
    plain = op_of()
    plain.explain((4, 5))
    said = capsys.readouterr().out
    assert (
        "op by op: left out" not in said and "elementwise_map_rows" in said
    )  # the reference's kernels


@pytest.mark.skipif(why_plain() is not None, reason="calls are plain Python here")
def test_a_call_costs_what_a_built_in_one_does():
    """Python instructions of a call whose plan is known; machine code does the rest."""
    x, calls = tilegrad.rand(4, 5), []

    def count(frame: Any, event: str, argument: Any) -> None:
        if event == "call":
            calls.append(frame.f_code.co_name)

    total, added = tilegrad.zeros(5), tilegrad.rand(5)
    accumulate = made_accumulate()
    for call in (lambda: row_softmax(x, 0.5), lambda: accumulate(total, added, 1.0)):
        call()
        calls.clear()
        sys.setprofile(count)
        call()
        sys.setprofile(None)
        assert calls in (["<lambda>", "row_softmax"], ["<lambda>", "accumulate"])


def test_gradients_of_gradients_through_what_is_written_over():
    """The old value that a gradient reads is part of the graph, too."""
    made_accumulate().check()

    def scaled_in_place(total, x):
        return total * x

    op_of(scaled_in_place, "scaled_in_place(total: inout f[N], x: f[N])").check()


class Again(tilegrad.autograd.Function):
    """Runs the op anew in the backward pass, as checkpointing does."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        ctx.save_for_backward(x)
        return row_softmax(x, 0.5)

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        (x,) = ctx.saved_tensors
        with tilegrad.enable_grad():
            again = x.detach().requires_grad_()
            return tilegrad.autograd.grad(row_softmax(again, 0.5), again, grad)[0]


def test_it_may_be_run_again_in_the_backward_pass(device):
    x = tilegrad.rand(3, 4).to(device).requires_grad_()
    found = []
    for call in (Again.apply, lambda x: row_softmax(x, 0.5)):
        found.append(tilegrad.autograd.grad(call(x)[:, 1].sum(), x)[0])
    assert tilegrad.equal(*found)
