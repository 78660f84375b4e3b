"""GPUs by PyTorch's names: which there are, and what is said where there is none."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest

import tilegrad
from tests.conftest import ROOT
from tests.cuda.simulated import ramp
from tilegrad import cuda


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
    free = {
        "debug",
        "is_available",
        "is_bf16_supported",
        "device_count",
        "manual_seed",
        "manual_seed_all",
        "stream",
        "device",
    }
    errors = {"KernelFault", "OutOfMemoryError"}
    named = {"HalfTensor", "BFloat16Tensor"}  # of dtypes without kernels
    names = sorted(set(cuda.__all__) - free - errors - named - {"set_device"})
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


@pytest.mark.parametrize("place", ["cpu", "meta"])
def test_cuda_goes_to_gpus_only(place):
    for mine in (tilegrad.ones(2), tilegrad.nn.Linear(2, 2)):
        with pytest.raises(RuntimeError, match="must be cuda device"):
            mine.cuda(tilegrad.device(place))
