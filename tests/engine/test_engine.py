"""The engine: memory, threads, processes, promotion, broadcasting, views, interchange."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from hypothesis.extra import numpy as hnp

import tilegrad
from tests.conftest import ROOT
from tilegrad.engine import memory
from tilegrad.engine.dtype import ALL
from tilegrad.kernels.cpu.run import jit

# -------------------------------------------------------------------------------------- memory


def test_freed_memory_is_used_again_and_counted() -> None:
    before = tilegrad.memory_stats()
    x = tilegrad.empty(3_000_000)
    held = tilegrad.memory_stats()
    assert held["allocated_bytes"] - before["allocated_bytes"] >= 12_000_000
    address = x.data_ptr()
    del x
    assert tilegrad.memory_stats()["allocated_bytes"] == before["allocated_bytes"]
    y = tilegrad.empty(3_000_000)
    assert y.data_ptr() == address
    assert tilegrad.memory_stats()["reserved_bytes"] == held["reserved_bytes"]


def test_empty_cache_returns_memory() -> None:
    x = tilegrad.empty(5_000_000)
    del x
    before = tilegrad.memory_stats()["reserved_bytes"]
    tilegrad.empty_cache()
    assert tilegrad.memory_stats()["reserved_bytes"] <= before - 20_000_000


def test_a_view_keeps_its_storage_alive() -> None:
    x = tilegrad.arange(2_000_000)
    row = x[1_999_990:]
    del x
    other = [tilegrad.zeros(2_000_000, dtype=tilegrad.int64) for _ in range(3)]
    assert row.tolist() == list(range(1_999_990, 2_000_000))
    del other


@given(st.integers(0, 1 << 40))
def test_size_classes_hold_the_request_without_much_waste(nbytes: int) -> None:
    size = memory.size_class(nbytes)
    assert size >= nbytes
    assert size % memory.ALIGNMENT == 0
    assert size <= max(memory.ALIGNMENT, nbytes * 3 // 2 + memory.ALIGNMENT)


def test_an_impossible_request_is_a_clear_error() -> None:
    with pytest.raises(tilegrad.OutOfMemoryError, match="refused"):
        tilegrad.empty(1 << 60, dtype=tilegrad.uint8)


def test_alignment() -> None:
    for n in (1, 3, 17, 100, 1000, 100_000):
        assert tilegrad.empty(n).data_ptr() % 64 == 0


# -------------------------------------------------------------------------- threads, processes


def test_results_are_bit_equal_for_any_number_of_threads() -> None:
    x = np.random.default_rng(0).standard_normal((517, 1031)).astype(np.float32)

    def results() -> list[bytes]:
        a = tilegrad.from_numpy(x).requires_grad_()
        out = [(a.exp() + a.t().t() * 2).sum(), a.softmax(1), a.sum(0), a.var(1), a @ a.t()]
        (a @ a.t()).sum().backward()
        return [o.detach().numpy().tobytes() for o in out] + [a.grad.numpy().tobytes()]

    before, found = tilegrad.get_num_threads(), []
    for threads in (1, 2, 3):
        tilegrad.set_num_threads(threads)
        found.append(results())
    tilegrad.set_num_threads(before)
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("count", [0, -1, 1.5, "2", True])
def test_set_num_threads_refuses(count) -> None:
    with pytest.raises(RuntimeError, match="set_num_threads"):
        tilegrad.set_num_threads(count)


def test_kernels_run_from_several_python_threads() -> None:
    x = np.random.default_rng(0).standard_normal(200_000)
    failures: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(5):
                a = tilegrad.from_numpy(x)
                np.testing.assert_allclose((a * a).sum().item(), (x * x).sum())
        except BaseException as error:
            failures.append(error)

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not failures


def test_our_threads_leave_the_openmp_runtime_as_it_was() -> None:
    code = """
import ctypes, sys
from tilegrad.kernels.cpu.run import threads
try:
    runtime = ctypes.CDLL("libgomp.so.1")
except OSError:
    sys.exit(print("no runtime"))
before = runtime.omp_get_max_active_levels()
threads.parallel_for_address()
print(before, runtime.omp_get_max_active_levels())
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / ".dev")},
    )  # fmt: skip
    before, *after = done.stdout.split()
    assert [before] == after or done.stdout.startswith("no runtime")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_child_computes() -> None:
    x = tilegrad.ones(1_000_000)
    assert (x + 1).sum().item() == 2_000_000  # the OpenMP team runs
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    child = context.Process(target=lambda: queue.put((x + 1).sum().item()))
    child.start()
    child.join(30)
    assert child.exitcode == 0
    assert queue.get() == 2_000_000


# --------------------------------------------------------------------------------------- modes


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "int8"])
@pytest.mark.parametrize("shape", [(8, 8), (37, 61), (130, 65), (3, 9, 200), (1, 300), (64, 7)])
def test_operands_that_lie_across(shape: tuple[int, ...], dtype: str, threads: int) -> None:
    rng = np.random.default_rng(0)
    across = (*shape[:-2], shape[-1], shape[-2])
    a, b, c = (rng.integers(1, 50, s).astype(dtype) for s in (shape, across, shape[-2:-1]))
    x, y, z = (tilegrad.tensor(v) for v in (a, b, c))
    turned, theirs = y.transpose(-1, -2), b.swapaxes(-1, -2)
    column, beside = z.unsqueeze(1), c[:, None]
    assert np.array_equal((x + turned).numpy(), a + theirs)
    assert np.array_equal((x * column - turned).numpy(), a * beside - theirs)
    where = tilegrad.where(turned.gt(25), x, turned)  # a mask across, which goes another way
    assert np.array_equal(where.numpy(), np.where(theirs > 25, a, theirs))
    x += turned
    assert np.array_equal(x.numpy(), (a + theirs).astype(dtype))


def test_a_mode_sees_every_op_on_its_way() -> None:
    from tilegrad.engine import dispatch

    seen = []

    def spy(op, arrays, params, metadata):
        seen.append(op.name)
        return op(*arrays, params=params, **metadata)

    x = tilegrad.ones(2, 3, requires_grad=True)
    with dispatch.mode(spy):
        y = (x * 2).t()
        y.add_(1.0)
        y.softmax(0).sum().backward()
    assert {"mul", "transpose", "add", "softmax", "sum"} <= set(seen)
    seen.clear()
    (x + 1).sum()
    assert not seen


# ------------------------------------------------------------------------------- kernel cache


def _cached(code: str, cache: Path) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True, text=True, check=True, cwd="/",
        env={**os.environ, "PYTHONPATH": str(ROOT / ".dev"), "TILEGRAD_CACHE_DIR": str(cache)},
    )  # fmt: skip
    return done.stdout.split()


def test_a_corrupt_cache_entry_is_compiled_again(tmp_path: Path) -> None:
    code = (
        "import tilegrad\nfrom tilegrad.kernels.cpu.run import jit\n"
        "print((tilegrad.ones(3) + 1).tolist()[0], sum(c for *_, c in jit.compile_log))"
    )
    assert _cached(code, tmp_path)[0] == "2.0"
    for entry in tmp_path.glob("*.o"):
        entry.write_bytes(entry.read_bytes()[:100])
    assert _cached(code, tmp_path)[0] == "2.0"


def test_the_key_covers_helpers_in_other_files() -> None:
    from tilegrad.kernels.function import _closure

    closure = _closure("tilegrad.kernels.cpu.elementwise")
    assert {"tilegrad.kernels.cpu.simd.memory", "tilegrad.kernels.cpu.run.native"} <= closure
    formulas = _closure("tilegrad.kernels.formulas.activation")
    assert {
        "tilegrad.kernels.formulas.transcendental",
        "tilegrad.kernels.formulas.primitives",
    } <= formulas


def test_an_unwritable_cache_costs_only_speed(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert _cached("import tilegrad; print((tilegrad.ones(3) + 1).tolist()[0])", blocked) == ["2.0"]


def test_a_kernel_refuses_wrong_arguments() -> None:
    (tilegrad.ones(3) + 1).sum()
    from tilegrad.engine.ops.elementwise import OPS
    from tilegrad.kernels.cpu.elementwise import map_rows

    function = map_rows.build(OPS["add"].formula.function, ("float32",) * 3, "ccc", 0)
    with pytest.raises(TypeError):
        function(1, 2)
    with pytest.raises(TypeError):
        function(*["a"] * 8)
    assert jit.compile_log


# ---------------------------------------------------------------------- promotion, broadcasting

_NAMES = [d.name for d in ALL]
_VALUES = {"bool": True, "int": 3, "float": 2.5}


@pytest.mark.parametrize("a", _NAMES)
@pytest.mark.parametrize("b", _NAMES)
def test_promotion_matches_pytorch(a: str, b: str) -> None:
    shapes = [((2,), (2,)), ((2,), ()), ((), (2,)), ((), ())]
    for left, right in shapes:
        ours = tilegrad.ones(left, dtype=a) + tilegrad.ones(right, dtype=b)
        theirs = torch.ones(left, dtype=getattr(torch, a)) + torch.ones(
            right, dtype=getattr(torch, b)
        )
        assert ours.dtype.name == str(theirs.dtype).split(".")[1]
    ours_name = tilegrad.promote_types(getattr(tilegrad, a), getattr(tilegrad, b)).name
    theirs_name = str(torch.promote_types(getattr(torch, a), getattr(torch, b)))
    assert ours_name == theirs_name.split(".")[1]


@pytest.mark.parametrize("a", _NAMES)
@pytest.mark.parametrize("kind", _VALUES)
def test_promotion_with_numbers_matches_pytorch(a: str, kind: str) -> None:
    for shape in ((2,), ()):
        ours = tilegrad.ones(shape, dtype=a) * _VALUES[kind]
        theirs = torch.ones(shape, dtype=getattr(torch, a)) * _VALUES[kind]
        assert ours.dtype.name == str(theirs.dtype).split(".")[1]


@settings(max_examples=150, deadline=None)
@given(hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=4, max_side=4, min_side=0))
def test_broadcasting_matches_numpy(shapes) -> None:
    x, y = (
        np.arange(np.prod(s, dtype=int), dtype=np.float64).reshape(s) for s in shapes.input_shapes
    )
    ours = tilegrad.from_numpy(x) + tilegrad.from_numpy(y) * 2
    np.testing.assert_array_equal(ours.numpy(), x + y * 2)


@pytest.mark.parametrize(("a", "b"), [((2, 3), (2,)), ((4,), (3,)), ((2, 1, 3), (2, 2))])
def test_shapes_that_do_not_broadcast(a, b) -> None:
    with pytest.raises(RuntimeError, match="add: sizes must be equal or 1"):
        tilegrad.ones(a) + tilegrad.ones(b)


# --------------------------------------------------------------------------------------- views


def _programs():
    def step(draw, shape):
        ndim = len(shape)
        options = ["unsqueeze", "reshape"]
        if ndim:
            options += ["transpose", "permute", "slice", "squeeze"]
        return draw(st.sampled_from(options))

    @st.composite
    def program(draw):
        shape = draw(hnp.array_shapes(min_dims=1, max_dims=3, max_side=5))
        x = np.arange(int(np.prod(shape)), dtype=np.float32).reshape(shape)
        steps = []
        for _ in range(draw(st.integers(1, 5))):
            name = step(draw, x.shape)
            if name == "transpose":
                a, b = (draw(st.integers(-x.ndim, x.ndim - 1)) for _ in range(2))
                steps.append(lambda t, a=a, b=b: t.transpose(a, b))
                x = np.swapaxes(x, a, b)
            elif name == "permute":
                order = draw(st.permutations(range(x.ndim)))
                steps.append(lambda t, order=order: t.permute(*order))
                x = x.transpose(order)
            elif name == "slice":
                axis = draw(st.integers(0, x.ndim - 1))
                start, stop = sorted(draw(st.tuples(*[st.integers(0, x.shape[axis])] * 2)))
                stride = draw(st.integers(1, 3))
                key = (slice(None),) * axis + (slice(start, stop, stride),)
                steps.append(lambda t, key=key: t[key])
                x = x[key]
            elif name == "squeeze":
                steps.append(lambda t: t.squeeze())
                x = x.squeeze()
            elif name == "unsqueeze":
                axis = draw(st.integers(-x.ndim - 1, x.ndim))
                steps.append(lambda t, axis=axis: t.unsqueeze(axis))
                x = np.expand_dims(x, axis)
            elif name == "reshape":
                steps.append(lambda t: t.reshape(-1))
                x = x.reshape(-1)
        return shape, steps, x

    return program()


@settings(max_examples=150, deadline=None)
@given(_programs())
def test_chains_of_views_match_numpy(given_program) -> None:
    shape, steps, want = given_program
    t = tilegrad.arange(int(np.prod(shape)), dtype=tilegrad.float32).reshape(shape)
    for step in steps:
        t = step(t)
    assert tuple(t.shape) == want.shape
    np.testing.assert_array_equal(t.numpy(), want)
    np.testing.assert_array_equal(t.contiguous().numpy(), want)
    np.testing.assert_array_equal((t + 0).numpy(), want)


def test_views_share_memory_both_ways() -> None:
    x = tilegrad.zeros(3, 4)
    x.t()[1].fill_(5)
    x.view(-1)[0] = 7
    x.unfold(1, 2, 2)[2, 1] = 9
    want = np.zeros((3, 4))
    want[:, 1], want[0, 0], want[2, 2:4] = 5, 7, 9
    np.testing.assert_array_equal(x.numpy(), want)


def test_view_that_needs_a_copy_is_refused() -> None:
    with pytest.raises(RuntimeError, match="view size is not compatible"):
        tilegrad.ones(3, 4).t().view(-1)


def test_inplace_with_overlapping_source() -> None:
    """Refused where both are gapless (tests/parity/test_overlap.py), else as if it had been copied."""
    x = tilegrad.arange(6, dtype=tilegrad.float32)
    with pytest.raises(RuntimeError, match="memory location"):
        x[1:].add_(x[:-1])
    y = tilegrad.arange(16, dtype=tilegrad.float32).view(4, 4)
    z = y.numpy().copy()
    y[1:, :3].add_(y[:-1, 1:])
    z[1:, :3] += z[:-1, 1:].copy()
    np.testing.assert_array_equal(y.numpy(), z)


# --------------------------------------------------------------------------------- interchange


def test_numpy_shares_memory_both_ways() -> None:
    a = np.zeros(3, np.float32)
    t = tilegrad.from_numpy(a)
    t.add_(1)
    assert a.tolist() == [1, 1, 1]
    b = (t * 2).numpy()
    assert b.tolist() == [2, 2, 2]
    assert np.asarray(t).base is not None
    assert np.asarray(t, dtype=np.float64).dtype == np.float64


def test_dlpack_both_ways() -> None:
    t = tilegrad.arange(6, dtype=tilegrad.float32).view(2, 3).t()
    theirs = torch.from_dlpack(t)
    theirs[0, 1] = 50
    assert t[0, 1].item() == 50
    source = torch.arange(4.0)
    ours = tilegrad.from_dlpack(source)
    ours.mul_(2)
    assert source.tolist() == [0, 2, 4, 6]


@pytest.mark.parametrize("bad", [np.zeros(3, np.complex64), np.array(["a"]), np.zeros(3, ">f4")])
def test_foreign_dtypes_are_refused(bad) -> None:
    kind = TypeError if bad.dtype.isnative else ValueError
    with pytest.raises(kind, match="from_numpy"):
        tilegrad.from_numpy(bad)


def test_negative_strides_are_refused() -> None:
    with pytest.raises(ValueError, match="from_numpy: strides"):
        tilegrad.from_numpy(np.arange(3)[::-1])


def test_cuda_is_a_clear_error() -> None:
    code = """
import tilegrad
calls = (
    lambda: tilegrad.tensor([1.0], device=tilegrad.device("cuda:0")),
    lambda: tilegrad.ones(3).to("cuda"),
    lambda: tilegrad.ones(3).cuda(),
    lambda: tilegrad.zeros(3, device="cuda:1"),
)
for call in calls:
    try:
        call()
    except tilegrad.DeviceError as error:
        print(error)
"""
    unseen = {"CUDA_VISIBLE_DEVICES": "", "NUMBA_ENABLE_CUDASIM": "0"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="/",
        env={**os.environ, "PYTHONPATH": str(ROOT / ".dev"), **unseen},
    )  # fmt: skip
    lines = done.stdout.splitlines()
    assert len(lines) == 4 and len(set(lines)) == 1  # one line each, the same one
    assert lines[0].startswith("cuda: ")
    with pytest.raises(RuntimeError, match="device: must be"):
        tilegrad.device("tpu")
