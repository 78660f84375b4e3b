"""op.check: it passes what is right, and finds what is wrong, with the smallest operands that show it."""

from __future__ import annotations

from typing import Any

import pytest

import tilegrad
from tilegrad.autograd.checking import CheckError
from tilegrad.engine.dispatch import mode
from tilegrad.kernels.bodies import BodyError

SIGNATURE = "doubled(x: f[M, N], k: float = 2.0, flip: bool = False) -> y: like x"


def op_of(body: Any, vjp: Any = None, **how: Any) -> Any:
    @tilegrad.op(SIGNATURE)
    def doubled(x, k, flip):
        return -x * k if flip else x * k

    if body is not None:
        doubled.cpu(**{"tasks": lambda M: M, **how})(body)
    if vjp is not None:
        doubled.vjp(vjp)
    return doubled


def good(task, x, y, k, flip, N):
    for j in range(task * N, task * N + N):
        y[j] = (-x[j] if flip else x[j]) * k


def right(grad_y, k, flip):
    return grad_y * (-k if flip else k)


def test_what_is_right_passes_and_is_told(capsys):
    op = op_of(good, right)
    assert op.check() is None
    said = capsys.readouterr().out
    for what in (
        "primes", "flip=True", "size 1", "M = 0", "N = 0", "transposed", "with gaps", "NaN and inf",
        "N = 211", "the same bits", "accesses within bounds", "gradients of the reference",
        "gradients of second order", "tangents", "no kernel: the reference",
    ):  # fmt: skip
        assert what in said, what
    assert "float64 float32" in said and said.startswith("doubled\n")
    op.check(shapes={"N": 6}, k=3.0)
    assert "N = 0" not in capsys.readouterr().out
    op_of(None).check()
    with pytest.raises(TypeError, match="shapes= are of M, N; got Q"):
        op.check(shapes={"Q": 1})


def forgets_odd(task, x, y, k, flip, N):
    for j in range(task * N, task * N + (N - N % 2 if N > 2 else N)):
        y[j] = (-x[j] if flip else x[j]) * k


def ignores_flip(task, x, y, k, flip, N):
    for j in range(task * N, task * N + N):
        y[j] = x[j] * k


def in_rows(task, x, y, k, flip, N):
    for j in range(task * N, task * N + N):
        y[j] = (-x[j] if flip else x[j]) * k


def no_infinity(task, x, y, k, flip, N):
    for j in range(task * N, task * N + N):
        y[j] = (-x[j] if flip else x[j]) * k if x[j] < 1e30 else 0


def beyond(task, x, y, k, flip, N, M, scratch):
    for j in range(task * N, task * N + N):
        y[j] = (-x[j] if flip else x[j]) * k
    scratch[N] = 1


def too_coarse(task, x, y, k, flip, N, f):
    for j in range(task * N, task * N + N):
        y[j] = f((-x[j] if flip else x[j]) * k * 1.001)


@pytest.mark.parametrize(
    ("body", "words", "how"),
    [
        (forgets_odd, r"primes, cpu, float64: y\[0, 2\] is .*; its reference .*\nwith M=1, N=3", {}),
        (ignores_flip, r"flip=True, cpu, float64: y\[0, 0\] is .*\nwith M=1, N=1, k=2.0, flip=True", {}),
        (in_rows, r"transposed, cpu, float64: y\[0, 1\] is .*\nwith M=2, N=2", {"strided": True}),
        (no_infinity, r"NaN and infinities, cpu, float64: y\[.*\] is .*0\.0.*; its reference .*(inf|nan)", {}),
        (beyond, "access outside scratch: element 7", {"scratch": lambda N, itemsize: N * itemsize}),
        (too_coarse, r"primes, cpu, float64: y\[0, 0\]", {}),
    ],
)  # fmt: skip
def test_wrong_kernels_are_found(body, words, how):
    with pytest.raises(CheckError, match=f"^doubled: (the .*)?{words}") as caught:
        op_of(body, right, **how).check()
    assert "\nx = [" in str(caught.value)


def not_flipped(grad_y, k):
    return grad_y * k


def constant(grad_y, k, flip):
    return (grad_y * (-k if flip else k)).detach()


def test_wrong_gradients_are_found():
    with pytest.raises(CheckError, match=r"the gradient of x\[0, 0\] is .*; that of the reference"):
        op_of(good, not_flipped).check(flip=True)
    with pytest.raises(CheckError, match="gradients of second order"):
        op_of(good, constant).check()


def test_bits_that_depend_on_the_run_are_found():
    runs: list[int] = []

    def drifts(op: Any, arrays: Any, params: Any, meta: Any) -> Any:
        made = op(*arrays, params=params, **meta)
        if op.name == "doubled" and made.layout.numel > 9000 and made.layout.itemsize == 4:
            runs.append(1)
            made += 1e-6 * len(runs)
        return made

    with mode(drifts), pytest.raises(CheckError, match="doubled: other bits in another run, cpu"):
        op_of(good, right).check(shapes={"M": 211})


def test_tangents_given_and_by_the_vjp():
    op = op_of(good, right)
    x, t = tilegrad.rand(2, 3), tilegrad.rand(2, 3)
    made, tangent = op.jvp((x,), (t,), k=3.0)
    assert tilegrad.equal(made, x * 3) and tilegrad.equal(tangent, t * 3)
    assert op.jvp((x,), (None,))[1].abs().sum().item() == 0

    @op.jvp
    def _(tangent_x, k, flip):
        return tangent_x * (-k if flip else k)

    assert tilegrad.equal(op.jvp([x], [t], flip=True)[1], t * -2)
    op.check()
    op.jvp(lambda tangent_x: tangent_x * 5)
    with pytest.raises(CheckError, match="the tangent differs from differences by up to"):
        op.check()
    for wrong, words in (
        (lambda tangent_x: (tangent_x, tangent_x), "a tangent for each of y; got 2 values"),
        (lambda tangent_x: tangent_x[0], r"a tangent of y of shape \[2, 3\]; got \[3\]"),
        (lambda tangent_x: 1.0, "got float"),
    ):
        op.jvp(wrong)
        with pytest.raises(RuntimeError, match=words):
            op.jvp((x,), (t,))
    with pytest.raises(BodyError, match=r"\.jvp asks for 'q'"):
        op.jvp(lambda q: q)
    with pytest.raises(RuntimeError, match=r"tangent of x must have shape \[2, 3\]; got \[3\]"):
        op.jvp((x,), (t[0],))
    with pytest.raises(RuntimeError, match="takes 1 operands and as many tangents; got 1 and 2"):
        op.jvp((x,), (t, t))


def test_tangents_of_several_results_and_of_what_is_written_over():
    @tilegrad.op("pair(total: inout f[N], x: f[N], ids: i64[N]) -> s: f[], at: like ids")
    def pair(total, x, ids):
        return total * x, (total * x).sum(), ids * 2

    total, x, ids = tilegrad.rand(3), tilegrad.rand(3), tilegrad.arange(3)
    before = total.clone()
    made, tangents = pair.jvp((total, x, ids), (tilegrad.ones(3), None, None))
    assert tilegrad.equal(total, before) and tilegrad.equal(made[0], total * x)
    assert tilegrad.equal(tangents[0], x) and tilegrad.allclose(tangents[1], x.sum())
    assert tangents[2].tolist() == [0, 0, 0]
