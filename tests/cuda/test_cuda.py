"""The public API of the GPU, on the simulated device where there is none."""

from __future__ import annotations

import copy
import io
import os
import subprocess
import sys
import threading
from typing import Any

import numpy as np
import pytest

import tilegrad
from tests.conftest import ROOT
from tilegrad import cuda, nn, optim
from tilegrad.engine import (
    calls,
    cuda as engine,
    device_memory,
    dispatch,
    interchange,
)
from tilegrad.engine.array import layout
from tilegrad.engine.device import device as as_device
from tilegrad.kernels.cuda.run import driver

only_simulated = pytest.mark.skipif(
    not driver.get().simulated, reason="looks into the simulated device"
)


def ramp(*shape: int, device: Any = "cuda", dtype: Any = tilegrad.float32) -> Any:
    count = int(np.prod(shape))
    return tilegrad.from_numpy(np.arange(count).reshape(shape)).to(dtype=dtype).to(device)


# -------------------------------------------------------------------------------- without a GPU


def _without_gpu(code: str) -> list[str]:
    unseen = {"CUDA_VISIBLE_DEVICES": "", "NUMBA_ENABLE_CUDASIM": "0"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="/",
        env={**os.environ, "PYTHONPATH": str(ROOT / ".dev"), **unseen},
    )  # fmt: skip
    return done.stdout.splitlines()


def test_without_a_gpu_nothing_is_available_and_nothing_imported() -> None:
    lines = _without_gpu(
        "import sys, tilegrad\n"
        "from tilegrad import cuda\n"
        "print(cuda.is_available(), cuda.device_count(), tilegrad.ones(2).is_pinned())\n"
        "cuda.manual_seed_all(5)\n"
        "print(tilegrad.initial_seed())\n"
        "print(*[m for m in sys.modules if m.split('.')[0] in ('numba', 'cuda')])"
    )
    assert lines == ["False 0 False", "5", ""]


def test_without_a_gpu_every_call_says_what_is_missing() -> None:
    free = {"is_available", "device_count", "manual_seed", "manual_seed_all", "stream", "device"}
    errors = {"KernelFault", "OutOfMemoryError"}
    names = sorted(set(cuda.__all__) - free - errors - {"set_device"})
    lines = _without_gpu(
        "import tilegrad\n"
        f"calls = [getattr(tilegrad.cuda, n) for n in {names}]\n"
        "calls += [lambda: tilegrad.cuda.set_device(0), tilegrad.ones(2).pin_memory]\n"
        "calls += [lambda: tilegrad.cuda.device('cuda').__enter__()]\n"
        "for call in calls:\n"
        "    try: call()\n"
        "    except tilegrad.DeviceError as error: print(error)"
    )
    assert len(lines) == len(names) + 3
    assert len(set(lines)) == 1 and lines[0].startswith("cuda: ")


# -------------------------------------------------------------------------------------- devices


def test_devices() -> None:
    assert cuda.is_available() and cuda.device_count() >= 1
    here = cuda.current_device()
    for name in (None, here, f"cuda:{here}", "cuda", tilegrad.device("cuda")):
        assert cuda.get_device_name(name) == cuda.get_device_properties(name).name
        assert cuda.get_device_capability(name) >= (7, 5)
        cuda.set_device(here if name is None else name)
        with cuda.device(name):
            assert tilegrad.ones(1, device="cuda").get_device() == here
    found = cuda.get_device_properties()
    assert found.total_memory > 1 << 30 and found.multi_processor_count > 0
    on = tilegrad.ones(1, device=tilegrad.device("cuda")).device
    assert on is tilegrad.device(f"cuda:{here}") and str(on) == f"cuda:{here}"


@pytest.mark.parametrize("bad", ["cpu", "tpu", 1.5, "cuda:x"])
def test_names_that_are_no_gpu_are_refused(bad: Any) -> None:
    with pytest.raises(ValueError, match="device: expected a CUDA device"):
        cuda.get_device_name(bad)


def test_another_gpu_is_refused() -> None:
    ramp(1)
    for call in (
        lambda: cuda.set_device(99),
        lambda: cuda.get_device_name(99),
        lambda: cuda.memory_allocated("cuda:99"),
        lambda: cuda.device(99).__enter__(),
        lambda: tilegrad.ones(1, device=tilegrad.device("cuda:99")),
    ):
        with pytest.raises(tilegrad.DeviceError, match="this machine has"):
            call()


def test_one_seed_serves_all_devices() -> None:
    cuda.manual_seed(3)
    first = tilegrad.rand(5, device="cuda")
    tilegrad.manual_seed(3)
    assert first.is_cuda and first.tolist() == tilegrad.rand(5).tolist()
    own = tilegrad.Generator(device="cuda").manual_seed(3)
    assert own.device.type == "cuda"
    assert tilegrad.rand(5, device="cuda", generator=own).tolist() == first.tolist()


def test_every_public_name_is_there() -> None:
    for name in cuda.__all__:
        assert getattr(cuda, name).__doc__
    assert cuda.OutOfMemoryError is tilegrad.OutOfMemoryError
    assert tilegrad.cuda is cuda


# ---------------------------------------------------------------------------- streams and events


def test_the_current_stream_follows_its_blocks() -> None:
    default = cuda.default_stream()
    assert cuda.current_stream() == default
    one, two = cuda.Stream(), cuda.Stream(priority=-1)
    assert one != two and hash(one) != hash(two) and one != 3
    with cuda.stream(one):
        assert cuda.current_stream() == one
        with two, one:
            assert cuda.current_stream() == one
        assert cuda.current_stream("cuda") == one
        with cuda.stream(None):
            assert cuda.current_stream() == one
    assert cuda.current_stream() == default
    assert "tilegrad.cuda.Stream device=cuda:" in repr(one)


def test_streams_wait_for_each_other() -> None:
    x, other = ramp(1000), cuda.Stream()
    other.wait_stream(cuda.current_stream())
    with other:
        y = x * 2
        done = other.record_event()
    done.wait()
    cuda.current_stream().wait_event(done)
    x.record_stream(other)
    assert (y + x).tolist() == (ramp(1000, device="cpu") * 3).tolist()
    other.synchronize()
    cuda.synchronize()
    assert other.query() and done.query()


def test_events_measure_time() -> None:
    start, end = cuda.Event(enable_timing=True), cuda.Event(enable_timing=True, blocking=True)
    with pytest.raises(RuntimeError, match="must be recorded"):
        start.elapsed_time(end)
    start.record()
    ramp(10).exp()
    end.record(cuda.current_stream())
    end.synchronize()
    assert start.elapsed_time(end) >= 0
    with pytest.raises(ValueError, match="enable_timing=True"):
        start.elapsed_time(cuda.Event())
    with pytest.raises(NotImplementedError, match="interprocess"):
        cuda.Event(interprocess=True)


def test_a_stream_that_nobody_holds_is_used_again() -> None:
    handle = cuda.Stream(priority=-2).cuda_stream
    again = cuda.Stream(priority=-2)
    assert again.cuda_stream == handle
    assert cuda.Stream(priority=-2).cuda_stream != handle


def test_ops_run_from_other_threads() -> None:
    x, found = ramp(4), []
    worker = threading.Thread(target=lambda: found.append((x + 1).tolist()))
    worker.start()
    worker.join()
    assert found == [[1, 2, 3, 4]]


# --------------------------------------------------------------------------------------- memory


def test_memory_is_counted() -> None:
    cuda.empty_cache()
    before = cuda.memory_allocated()
    cuda.reset_peak_memory_stats()
    x = tilegrad.empty(100_000, device="cuda")
    held = cuda.memory_allocated() - before
    assert held >= 400_000
    assert cuda.memory_reserved() >= cuda.memory_allocated()
    del x
    assert cuda.memory_allocated() == before
    assert cuda.max_memory_allocated() == before + held
    assert cuda.max_memory_reserved() >= cuda.memory_reserved()
    stats = cuda.memory_stats()
    assert stats["allocated_bytes.all.current"] == before
    assert stats["allocated_bytes.all.peak"] == before + held
    cuda.reset_peak_memory_stats()
    assert cuda.max_memory_allocated() == before
    free, total = cuda.mem_get_info()
    assert 0 < free <= total
    summary = cuda.memory_summary()
    assert cuda.get_device_name() in summary and "in live tensors" in summary


def test_too_much_memory_is_a_clear_error() -> None:
    held = ramp(3)
    with pytest.raises(cuda.OutOfMemoryError, match=r"out of memory.*bytes are in use.*are free"):
        tilegrad.empty(1 << 50, dtype=tilegrad.uint8, device="cuda")
    assert held.tolist() == [0, 1, 2]


@only_simulated
def test_memory_that_another_stream_uses_waits_for_it(monkeypatch: Any) -> None:
    there = driver.get()
    x, before = tilegrad.empty(1000, device="cuda"), there.used  # type: ignore[attr-defined]
    x.record_stream(cuda.current_stream())  # its own: no need to wait
    assert not isinstance(x.storage.pool, device_memory._Lent)
    view = x[1:]
    x.record_stream(cuda.Stream())
    view.record_stream(cuda.Stream())
    monkeypatch.setattr(there, "event_is_done", lambda event: False)
    del x, view
    tilegrad.empty(1, device="cuda")
    assert there.used == before  # type: ignore[attr-defined]
    monkeypatch.undo()
    tilegrad.empty(1, device="cuda")
    assert there.used == before - 4000  # type: ignore[attr-defined]
    with pytest.raises(RuntimeError, match="record_stream: needs a CUDA tensor"):
        tilegrad.ones(2).record_stream(cuda.current_stream())


@only_simulated
def test_machine_code_gives_memory_to_one_thread_on_the_default_stream(monkeypatch: Any) -> None:
    monkeypatch.setattr(driver.get(), "simulated", False)
    memory = device_memory.DeviceAllocator(0)
    kind = layout((250,), tilegrad.float32, as_device("cuda"))
    plan = dispatch.Plan((kind,), lambda *args: None)
    plan.size, plan.pool = memory.pool_of(kind.nbytes)
    address = memory.allocate(kind.nbytes).address
    assert memory.counts.allocated == 0
    made = calls.fresh(plan)
    assert made.data_ptr() == address and memory.counts.allocated == plan.size
    del made
    elsewhere: list[Any] = []
    thread = threading.Thread(target=lambda: elsewhere.append(calls.fresh(plan)))
    thread.start()
    thread.join()
    with cuda.stream(cuda.Stream()):
        elsewhere.append(calls.fresh(plan))
    elsewhere.append(calls.fresh(plan))  # back, but nobody has looked yet
    assert elsewhere == [None, None, None] and memory.counts.allocated == 0
    memory.allocate(kind.nbytes)  # looks
    assert calls.fresh(plan) is not None


def test_pinned_memory() -> None:
    x = ramp(2, 3, device="cpu")
    pinned = x.t().pin_memory()
    assert pinned.is_pinned() and pinned[0].is_pinned() and not x.is_pinned()
    assert pinned.tolist() == x.t().tolist() and pinned.pin_memory().data_ptr() == pinned.data_ptr()
    there = pinned.to("cuda", non_blocking=True)
    assert there.stride() == (1, 3) and not there.is_pinned()
    back = there.to("cpu", non_blocking=True)
    cuda.synchronize()
    assert back.is_pinned() and back.tolist() == x.t().tolist()
    with pytest.raises(RuntimeError, match="only dense CPU tensors"):
        there.pin_memory()


@only_simulated
def test_pinned_memory_is_not_used_again_before_the_copy_is_done(monkeypatch: Any) -> None:
    x = tilegrad.ones(50).pin_memory()
    address = x.data_ptr()
    x.to("cuda", non_blocking=True)
    monkeypatch.setattr(driver.get(), "event_is_done", lambda event: False)
    del x
    assert tilegrad.ones(50).pin_memory().data_ptr() != address
    monkeypatch.undo()
    held = [tilegrad.ones(50).pin_memory() for _ in range(3)]
    assert address in {t.data_ptr() for t in held}


# ---------------------------------------------------------------------------- mixing and copying


def test_a_zero_dimensional_cpu_tensor_counts_as_a_number() -> None:
    x, two = ramp(3), tilegrad.tensor(2.0, dtype=tilegrad.float64)
    for made in (x * two, two * x, x.mul(two), tilegrad.where(x > 5, x, two * x)):
        assert made.is_cuda and made.dtype is tilegrad.float32 and made.tolist() == [0, 2, 4]
    assert (x.to(tilegrad.int64) + tilegrad.tensor(True)).tolist() == [1, 2, 3]
    assert (two + two.cuda()).is_cuda
    x += two
    assert x.is_cuda and x.tolist() == [2, 3, 4]
    assert tilegrad.clamp(x, two, two + 1).tolist() == [2, 3, 3]


def test_its_gradient_goes_back_to_the_cpu() -> None:
    x, scale = ramp(3).requires_grad_(), tilegrad.tensor(2.0, requires_grad=True)
    (x * scale * scale).sum().backward()
    assert x.grad.is_cuda and x.grad.tolist() == [4, 4, 4]
    assert not scale.grad.is_cuda and scale.grad.item() == 12


def test_all_else_that_is_mixed_is_refused() -> None:
    x, y = ramp(3), tilegrad.ones(3)
    for call in (
        lambda: x + y,
        lambda: y + x[0],
        lambda: y.add_(x[0]),
        lambda: tilegrad.tensor(1.0).add_(x[0]),
        lambda: tilegrad.where(x > 1, x, y),
        lambda: x.double() @ y.double(),
    ):
        with pytest.raises(tilegrad.DeviceError, match="same device; got .*cuda:0"):
            call()


@pytest.mark.parametrize("source", ["cpu", "cuda"])
def test_copies_between_devices(source: str) -> None:
    target = "cuda" if source == "cpu" else "cpu"
    x = ramp(2, 3, device=source)
    same, wide, turned = (
        tilegrad.zeros(2, 3, device=target),
        tilegrad.zeros(2, 2, 3, dtype=tilegrad.float64, device=target),
        tilegrad.zeros(3, 2, device=target).t(),
    )
    version = same._version
    for out in (same, wide, turned):
        out.copy_(x)
        assert out.cpu().tolist() == (x.cpu() + out.cpu() * 0).tolist()
    assert same._version == version + 1
    assert tilegrad.zeros(3, device=target).copy_(x[:, 1:2].reshape(2)[:1]).tolist() == [1] * 3
    there = x.requires_grad_().to(target)
    assert there.requires_grad
    (there * 3).sum().backward()
    assert x.grad.device is x.device and x.grad.tolist() == [[3.0] * 3] * 2


def test_to_takes_what_pytorch_takes() -> None:
    x = tilegrad.ones(2)
    here = cuda.current_device()
    for made in (
        x.cuda(), x.cuda(here), x.to("cuda"), x.to(here), x.to(ramp(1)), x.type_as(ramp(1)),
        x.to(device="cuda", dtype=tilegrad.float32), x.to("cuda", tilegrad.float32, True),
        tilegrad.asarray(x, device="cuda", copy=True), tilegrad.as_tensor(x, device="cuda"),
    ):  # fmt: skip
        assert made.is_cuda and made.tolist() == [1, 1] and made.get_device() == here
    there = x.cuda()
    assert there.to("cuda") is there and there.cuda() is there
    assert there.to("cuda", copy=True).data_ptr() != there.data_ptr()
    assert there.to("cuda", tilegrad.float32, False, True).data_ptr() != there.data_ptr()
    assert there.cpu().get_device() == -1
    assert there.new_zeros(3).is_cuda and tilegrad.ones_like(there).is_cuda


# ------------------------------------------------------------------------------------ to Python


def test_values_come_to_python() -> None:
    x = ramp(2, 3)
    assert repr(x) == "tensor([[0., 1., 2.],\n        [3., 4., 5.]], device='cuda:0')"
    assert repr(tilegrad.zeros(0, 2, device="cuda")) == "tensor([], device='cuda:0', size=(0, 2))"
    assert "requires_grad=True" in repr(ramp(1).requires_grad_())
    assert x[1, 2].item() == 5.0 and float(x[0, 1]) == 1.0 and bool(x[0, 1]) and int(x[1, 0]) == 3
    assert f"{x[0, 1]:.2f}" == "1.00"
    assert x.t().tolist() == [[0, 3], [1, 4], [2, 5]] and [len(row) for row in x] == [3, 3]
    np.testing.assert_array_equal(x.numpy(force=True), np.arange(6).reshape(2, 3))
    for call in (x.numpy, lambda: np.asarray(x)):
        with pytest.raises(TypeError, match="Use Tensor.cpu\\(\\) to copy the tensor to host"):
            call()
    with pytest.raises(RuntimeError, match="item: a Tensor with 6 elements"):
        x.item()


def test_deepcopy() -> None:
    x = ramp(3).requires_grad_()
    x.grad = ramp(3) * 2
    made = copy.deepcopy({"x": x})["x"]
    assert made.is_cuda and made.requires_grad and made.data_ptr() != x.data_ptr()
    assert made.tolist() == x.tolist() and made.grad.tolist() == [0, 2, 4]


def test_modules_move_and_train() -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    weight = net[0].weight
    net[0].weight.grad = tilegrad.ones(4, 3)
    for move in (lambda: net.to("cuda"), net.cuda, lambda: net.to(0), lambda: net.to(ramp(1))):
        assert move() is net and net.cpu()[0].weight is weight
        move()
        assert all(t.is_cuda for t in net.state_dict().values())
    assert net[0].weight is weight and isinstance(weight, nn.Parameter) and weight.grad.is_cuda
    assert net.to("cuda", tilegrad.float64, non_blocking=True)[0].bias.dtype is tilegrad.float64
    assert net[1].num_batches_tracked.dtype is tilegrad.int64
    twin = copy.deepcopy(net.float())
    assert twin[0].weight.is_cuda and twin[0].weight.data_ptr() != weight.data_ptr()


def test_saving_and_loading() -> None:
    net = nn.Linear(3, 2).cuda()
    optimizer = optim.Adam(net.parameters())
    for p in net.parameters():
        p.grad = tilegrad.ones_like(p)
    optimizer.step()
    file = io.BytesIO()
    tilegrad.save({"net": net.state_dict(), "optim": optimizer.state_dict(), "at": 3}, file)
    for where in (None, "cpu", "cuda", tilegrad.device("cuda")):
        file.seek(0)
        found = tilegrad.load(file, map_location=where)
        expected = "cuda" if "cuda" in str(where) else "cpu"
        assert {t.device.type for t in found["net"].values()} == {expected}
        twin = nn.Linear(3, 2).cuda()
        twin.load_state_dict(found["net"])
        assert twin.weight.is_cuda and twin.weight.tolist() == net.weight.tolist()
        other = optim.Adam(twin.parameters())
        other.load_state_dict(found["optim"])
        state = other.state[twin.weight]
        assert all(t.is_cuda for t in state.values()) and state["step"].item() == 1
        assert state["exp_avg"].tolist() == optimizer.state[net.weight]["exp_avg"].tolist()


# ------------------------------------------------------------------------- with other libraries


class Foreign:
    """Another library's array: only the protocols are left of a tensor."""

    def __init__(self, tensor: Any, kind: int = 2, index: int = 0):
        self.tensor, self.device = tensor, (kind, index)
        self.asked: dict[str, Any] = {}

    def __dlpack__(self, **options: Any) -> Any:
        self.asked = options
        return self.tensor.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.device


class Interface:
    """An object with a CUDA array interface."""

    def __init__(self, tensor: Any, **changed: Any):
        self.tensor = tensor
        self.__cuda_array_interface__ = {**tensor.__cuda_array_interface__, **changed}


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int8", "int16", "int32", "int64", "float64"])
def test_dlpack_both_ways(dtype: str) -> None:
    x = ramp(2, 3, dtype=dtype).t()[1:]
    source = Foreign(x)
    made = tilegrad.from_dlpack(source)
    assert made.device is x.device and made.dtype is x.dtype
    assert (made.shape, made.stride(), made.data_ptr()) == (x.shape, x.stride(), x.data_ptr())
    assert source.asked == {"stream": 1}
    made.fill_(1)
    assert x.tolist() == made.tolist()
    assert x.__dlpack_device__() == (2, 0)


def test_dlpack_keeps_memory_as_long_as_it_is_used() -> None:
    x = ramp(4)
    address, exported = x.data_ptr(), len(interchange._exported)
    made = tilegrad.from_dlpack(Foreign(x))
    del x
    ramp(4)
    assert made.tolist() == [0, 1, 2, 3]
    assert (address, 16) in interchange.foreign_memory()
    del made
    assert len(interchange._exported) == exported
    unused = ramp(4).__dlpack__()
    assert len(interchange._exported) == exported + 1
    del unused
    assert len(interchange._exported) == exported


def test_dlpack_orders_the_streams(monkeypatch: Any) -> None:
    waits: list[tuple[int, int]] = []
    monkeypatch.setattr(interchange, "_order", lambda a, b: waits.append((a, b)))
    x, other = ramp(2), cuda.Stream()
    for stream in (None, 1, other.cuda_stream, -1):
        x.__dlpack__(stream=stream)
    with other:
        source = Foreign(x)
        tilegrad.from_dlpack(source)
        assert source.asked == {"stream": other.cuda_stream}
    own = other.cuda_stream
    assert waits == [(0, 1), (0, 1), (0, own), (own, own)]
    with pytest.raises(ValueError, match="stream 0 is ambiguous"):
        x.__dlpack__(stream=0)


def test_dlpack_to_the_cpu_and_copies() -> None:
    x = ramp(3)
    host = np.from_dlpack(Foreign(x.cpu(), 1))
    assert host.tolist() == [0, 1, 2]
    made = tilegrad.from_dlpack(Foreign(_Given(x, dl_device=(1, 0)), 1))
    assert not made.is_cuda and made.tolist() == [0, 1, 2]
    copied = tilegrad.from_dlpack(Foreign(_Given(x, copy=True)))
    assert copied.data_ptr() != x.data_ptr() and copied.tolist() == [0, 1, 2]
    for options in ({"dl_device": (10, 0)}, {"dl_device": (1, 0), "copy": False}):
        with pytest.raises(BufferError, match="cannot hand"):
            x.__dlpack__(**options)
    with pytest.raises(BufferError, match="require gradient"):
        ramp(2).requires_grad_().__dlpack__()
    with pytest.raises(TypeError, match="from_dlpack: device"):
        tilegrad.from_dlpack(Foreign(x, 10))


class _Given:
    """A tensor asked for DLPack with options of its own."""

    def __init__(self, tensor: Any, **options: Any):
        self.tensor, self.options = tensor, options

    def __dlpack__(self, **options: Any) -> Any:
        return self.tensor.__dlpack__(**self.options)


def test_cuda_array_interface() -> None:
    x = ramp(2, 3).t()
    found = x.__cuda_array_interface__
    assert found["version"] == 3 and found["typestr"] == "<f4" and found["shape"] == (3, 2)
    assert found["strides"] == (4, 12) and found["data"] == (x.data_ptr(), False)
    assert found["stream"] == 1 and ramp(3).__cuda_array_interface__["strides"] is None
    assert tilegrad.zeros(0, device="cuda").__cuda_array_interface__["data"] == (0, False)
    with cuda.Stream() as other:
        assert x.__cuda_array_interface__["stream"] == other.cuda_stream
    made = tilegrad.as_tensor(Interface(x))
    assert made.data_ptr() == x.data_ptr() and made.stride() == x.stride() and made.is_cuda
    copied = tilegrad.tensor(Interface(x))
    assert copied.is_cuda and copied.data_ptr() != x.data_ptr() and copied.tolist() == x.tolist()
    assert tilegrad.as_tensor(Interface(x), dtype="float64", device="cpu").tolist() == x.tolist()
    assert not hasattr(tilegrad.ones(2), "__cuda_array_interface__")
    with pytest.raises(RuntimeError, match="requires grad"):
        _ = ramp(2).requires_grad_().__cuda_array_interface__


@pytest.mark.parametrize(
    ("changed", "kind"),
    [
        ({"typestr": "<c8"}, TypeError),
        ({"mask": object()}, TypeError),
        ({"strides": (-4,)}, ValueError),
        ({"strides": (6,)}, ValueError),
    ],
)
def test_interfaces_that_do_not_fit_are_refused(changed: dict[str, Any], kind: type) -> None:
    with pytest.raises(kind, match="from_cuda_interface: "):
        tilegrad.as_tensor(Interface(ramp(3), **changed))


# ---------------------------------------------------------------------------------- later checks


def test_checks_wait_until_the_host_does() -> None:
    def fail() -> None:
        raise IndexError("found")

    ran: list[int] = []
    engine.check_later(lambda: ran.append(1))
    ramp(3) + 1
    assert not ran
    ramp(3).tolist()
    assert ran == [1]
    for wait in (cuda.synchronize, lambda: ramp(1).item(), cuda.current_stream().synchronize):
        engine.check_later(fail)
        engine.check_later(lambda: ran.append(2))
        with pytest.raises(IndexError, match="found"):
            wait()
        cuda.synchronize()
    assert ran == [1]  # what comes after a fault is not looked at


def test_checks_belong_to_their_stream() -> None:
    ran: list[str] = []
    other = cuda.Stream()
    with other:
        engine.check_later(lambda: ran.append("other"))
    engine.check_later(lambda: ran.append("own"))
    ramp(1).item()
    assert ran == ["own"]
    other.synchronize()
    assert ran == ["own", "other"]
