"""Where tensors are made that are given no device: ``with device(…)``, as a decorator, and
``set_default_device``.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._device import _device_constructors

import tilegrad
from tilegrad.engine import device as devices

OTHER = {tilegrad: "cuda", torch: "meta"}  # on both: not where tensors are made otherwise
MADE = {
    "arange": (3,), "as_tensor": ([1],), "asarray": ([1],), "empty": (2,), "empty_strided": ((2,), (1,)),
    "bartlett_window": (4,), "blackman_window": (4,), "hamming_window": (4,), "hann_window": (4,),
    "kaiser_window": (4,), "empty_permuted": ((2, 3), (1, 0)), "range": (0, 3),
    "eye": (2,), "full": ((2,), 1.0), "linspace": (0, 1, 3), "logspace": (0, 1, 3), "ones": (2,),
    "scalar_tensor": (2.0,),
    "rand": (2,), "randint": (3, (2,)), "randn": (2,), "randperm": (3,), "tensor": ([1.0],),
    "tril_indices": (2, 2), "triu_indices": (2, 2), "zeros": (2,),
}  # fmt: skip

both = pytest.mark.parametrize("m", [tilegrad, torch], ids=["tilegrad", "torch"])


def _where(m: Any) -> str:
    return str(m.ones(1).device.type)


def test_every_constructor_is_here():
    names = {getattr(f, "__name__", "") for f in _device_constructors()}
    assert set(MADE) == {n for n in names if hasattr(tilegrad, n)}


@both
@pytest.mark.filterwarnings("ignore:.*range is deprecated")  # in both libraries
@pytest.mark.parametrize("name", MADE)
def test_a_block_says_where(m, name):
    make = getattr(m, name)
    if (m, name) == (torch, "range"):  # listed as a constructor, but it does not look for a block
        with m.device(OTHER[m]):
            assert make(*MADE[name]).device.type == "cpu"
        return
    with m.device(OTHER[m]) as where:
        assert where == m.device(OTHER[m])
        assert make(*MADE[name]).device.type == OTHER[m]
        assert make(*MADE[name], device="cpu").device.type == "cpu"
        with m.device("cpu"):
            assert make(*MADE[name]).device.type == "cpu"
        assert make(*MADE[name], device=None).device.type == OTHER[m]
    assert make(*MADE[name]).device.type == "cpu"


@both
def test_what_has_a_device_keeps_it(m):
    x = m.ones(2)
    with m.device(OTHER[m]):
        for made in (
            m.zeros_like(x),
            x.new_zeros(2),
            x.new_tensor([1.0]),
            x + 1,
            x.clone(),
            x[[0]],
        ):
            assert made.device.type == "cpu"
        assert m.from_numpy(np.ones(2)).device.type == "cpu"
        assert m.as_tensor(x).device.type == m.asarray(x).device.type == OTHER[m]
        assert m.nn.Linear(2, 2).weight.device.type == OTHER[m]
        assert m.nn.BatchNorm1d(2).running_mean.device.type == OTHER[m]
        assert m.get_default_device().type == OTHER[m]
    assert m.get_default_device() == m.device("cpu")


@both
def test_the_usual_device(m):
    m.set_default_device(OTHER[m])
    seen = []
    try:
        with m.device("cpu"):
            seen.append(_where(m))
        m.set_default_device(m.device(OTHER[m]))
        thread = threading.Thread(target=lambda: seen.append(_where(m)))
        thread.start()
        thread.join()
        assert [*seen, _where(m)] == ["cpu", "cpu", OTHER[m]]
    finally:
        m.set_default_device(None)
    assert _where(m) == "cpu"
    for bad, error in ((1.5, TypeError), (True, TypeError), ("x", RuntimeError)):
        with pytest.raises(error):
            m.set_default_device(bad)


@both
def test_a_block_that_fails_ends(m):
    with pytest.raises(ValueError), m.device(OTHER[m]):
        raise ValueError
    assert _where(m) == "cpu"
    with pytest.raises(RuntimeError, match="trying to pop from empty mode stack"):
        m.device(OTHER[m]).__exit__(None, None, None)


def test_a_decorator_holds_while_the_function_runs():
    @tilegrad.device("cuda")
    def plain(n: int) -> Any:
        return tilegrad.ones(n)

    @tilegrad.device("cuda")
    def steps() -> Any:
        yield _where(tilegrad)
        yield _where(tilegrad)

    @tilegrad.device("cuda")
    async def waits() -> str:
        await asyncio.sleep(0)
        return _where(tilegrad)

    assert plain(3).device.type == "cuda" and plain.__name__ == "plain"
    assert [(inside, _where(tilegrad)) for inside in steps()] == [("cuda", "cpu")] * 2
    assert asyncio.run(waits()) == "cuda"
    with pytest.raises(TypeError):
        tilegrad.device("cpu")(5)
    with pytest.raises(RuntimeError, match="Cannot decorate classes"):
        tilegrad.device("cpu")(type("C", (), {}))
    assert not devices._asked


def test_a_number_asks_for_a_gpu():
    code = """if True:
        import tilegrad
        try:
            print(tilegrad.device(0))
        except RuntimeError as error:
            print(error)
        with tilegrad.device("cuda"):  # a name asks for nothing before a tensor is made
            print(tilegrad.ones(1, device="cpu").device)
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    first, second = done.stdout.splitlines()
    assert first == "cuda:0" or "Cannot access accelerator device when none is available" in first
    assert second == "cpu"
    assert tilegrad.device(0) == tilegrad.device("cuda:0")  # there is one, or the simulator
