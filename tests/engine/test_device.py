"""``device`` is a type whose objects are names: they need no GPU."""

import copy
import os
import pickle
import subprocess
import sys

import pytest
import torch

import tilegrad
from tests.conftest import ROOT


@pytest.mark.parametrize("m", [tilegrad, torch], ids=["tilegrad", "torch"])
def test_names(m):
    assert isinstance(m.device("cpu"), m.device) and isinstance(m.ones(1).device, m.device)
    assert not isinstance("cpu", m.device) and isinstance(m.device, type)
    for given, index, text in (
        (m.device("cpu"), None, "cpu"), (m.device("cpu:0"), 0, "cpu:0"), (m.device("cuda"), None, "cuda"),
        (m.device("cuda:3"), 3, "cuda:3"), (m.device("cuda", 1), 1, "cuda:1"),
        (m.device(type="cpu", index=0), 0, "cpu:0"), (m.device(m.device("cuda:1")), 1, "cuda:1"),
        (m.device(device="cuda:1"), 1, "cuda:1"),
    ):  # fmt: skip
        assert given.index == index and str(given) == text and given.type == text.split(":")[0]
        for other in (pickle.loads(pickle.dumps(given)), copy.deepcopy(given), copy.copy(given)):
            assert other == given and hash(other) == hash(given)
    assert m.device("cpu:0") != m.device("cpu") and m.device("cuda:0") != m.device("cuda")
    assert (
        m.ones(1, device="cpu:0").device
        == m.device("cpu")
        == m.ones(1).to(m.device("cpu:2")).device
    )
    assert repr(m.device("cuda", 1)) == "device(type='cuda', index=1)"


@pytest.mark.parametrize("m", [tilegrad, torch], ids=["tilegrad", "torch"])
def test_what_is_no_name(m):
    for given in ("foo", "cpu:x", "cuda:-1", "", "cuda:", "cuda:01", -1):
        with pytest.raises(RuntimeError):
            m.device(given)
    for given in (("cuda:0", 1), ("cuda", -1)):
        with pytest.raises(RuntimeError):
            m.device(*given)
    for given in ((), (None,), (1.5,), (True,), ("cuda", "1")):
        with pytest.raises(TypeError):
            m.device(*given)


def test_without_a_driver():
    code = """if True:
        import pickle, tilegrad as t
        d = t.device("cuda:0")
        print(d, t.device("cuda", 1).index, d != t.device("cpu"), pickle.loads(pickle.dumps(d)) is d)
        for call in (lambda: t.ones(1, device=d), lambda: t.ones(1).to(d), lambda: t.nn.Linear(1, 1).to(d)):
            try:
                call()
            except t.DeviceError as error:
                print(str(error)[:5])
    """
    unseen = {"CUDA_VISIBLE_DEVICES": "", "NUMBA_ENABLE_CUDASIM": "0"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / ".dev"), **unseen},
    )  # fmt: skip
    assert done.stdout.split() == ["cuda:0", "1", "True", "True", "cuda:", "cuda:", "cuda:"]


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
