"""Every kernel in the emulator, several blocks of it: no races within blocks or between them, nothing
read outside memory, and the right results.
"""

from __future__ import annotations

from collections import defaultdict
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import tilegrad
from tests.assembly.assembler import factory_name
from tests.assembly.test_assembly import FACTORIES
from tests.cuda.simulated import retune
from tests.emulator.device import Device
from tests.emulator.families import FAMILIES, Family
from tests.emulator.flow import Fault
from tests.emulator.translate import Edit
from tilegrad.kernels.cuda.run import jit
from tilegrad.kernels.cuda.tuning import SORT

SMALL = [family for family in FAMILIES if family.small is not None]
MANY = 4  # blocks

# kernels of fewer blocks
FEW = {
    # one block in all
    **dict.fromkeys(("clip.length", "cross_entropy.finish", "prefix.exclusive_sum"), 1),
    # a thread for each row, channel or parameter, by itself
    **dict.fromkeys(("moments.gather", "moments.settle", "optim.advance", "arg_reduce.fill"), 1),
    **dict.fromkeys(("topk.search.take_ends", "topk.sorted_rows"), 1),
}


class Emulator:
    """The simulated device's kernels run in the emulator.

    Attributes:
        most: blocks of the largest grid of each kernel that ran.
    """

    def __init__(self) -> None:
        self.most: dict[str, int] = defaultdict(int)

    def note(self, launch: jit.Launch) -> None:
        """Count a launch."""
        x, y, z = launch.grid
        name = factory_name(launch.factory)
        self.most[name] = max(self.most[name], x * y * z)


@pytest.fixture
def emulator(monkeypatch: pytest.MonkeyPatch) -> Emulator:
    """Rows soon count as long."""
    made, device = Emulator(), Device([])
    retune(monkeypatch, SORT, single=1 << 12, run=1 << 10)
    monkeypatch.setattr(jit, "machine", SimpleNamespace(launch=device.launch))
    monkeypatch.setattr(jit, "_launches", SimpleNamespace(append=made.note))
    return made


def _results(t: Any, family: Family, arrays: list[np.ndarray], place: Any) -> list[np.ndarray]:
    """Results, then gradients of the first one."""
    rng = np.random.default_rng(1)
    tensors = [place(a) for a in arrays]
    floats = [x for x in tensors if x.is_floating_point()]
    for x in floats if family.grad else []:
        x.requires_grad_()
    outs = family.call(t, *tensors)
    outs = list(outs) if isinstance(outs, tuple) else [outs]
    found = [out.detach().cpu().numpy() for out in outs]
    if family.grad:
        seed = np.asarray(rng.standard_normal(found[0].shape), dtype=found[0].dtype)
        outs[0].backward(t.from_numpy(seed).to(outs[0].device))
        found += [x.grad.cpu().numpy() for x in floats]
    return found


def _wide(array: np.ndarray) -> Any:
    return torch.from_numpy(array.astype(np.float64) if array.dtype.kind == "f" else array)


def check(family: Family) -> None:
    """Run a row of the table in the emulator; PyTorch says in float64 what is right."""
    rng = np.random.default_rng([ord(c) for c in family.name])
    arrays = [operand.make(rng) for operand in family.small or ()]
    have = _results(tilegrad, family, arrays, lambda a: tilegrad.from_numpy(a.copy()).to("cuda"))
    want = _results(torch, family, arrays, _wide)
    for one, right in zip(have, want, strict=True):
        assert one.shape == right.shape
        if right.dtype.kind != "f":
            np.testing.assert_array_equal(one, right)
        else:
            error = np.linalg.norm((one.astype(np.float64) - right).ravel())
            assert error <= family.tolerance * max(np.linalg.norm(right.ravel()), 1e-3)


def _drawn(device: str) -> list[Any]:
    tilegrad.manual_seed(3)
    x = tilegrad.ones(5003, device=device)
    drawn = [tilegrad.rand(5003, device=device), tilegrad.randint(0, 99, (5003,), device=device)]
    return [
        *drawn,
        tilegrad.nn.functional.dropout(x),
        tilegrad.bernoulli(x * 0.3),
        tilegrad.poisson(x * 3),
    ]


def check_random_numbers() -> None:
    for have, want in zip(_drawn("cuda"), _drawn("cpu"), strict=True):
        np.testing.assert_array_equal(have.cpu().numpy(), want.numpy())


def _trained(device: str) -> list[Any]:
    rng = np.random.default_rng(4)
    made = [rng.standard_normal((2, n), dtype=np.float32) for n in (*[7] * 40, 5003)]
    weights = [tilegrad.nn.Parameter(tilegrad.from_numpy(w[0].copy()).to(device)) for w in made]
    optimizer = tilegrad.optim.Adam(weights, lr=0.1, weight_decay=0.01)
    for _ in range(2):
        for weight, (_, slope) in zip(weights, made, strict=True):
            weight.grad = tilegrad.from_numpy(slope.copy()).to(device)
        tilegrad.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
    return [w.detach().cpu().numpy() for w in weights]


def check_steps_of_an_optimizer() -> None:
    for have, want in zip(_trained("cuda"), _trained("cpu"), strict=True):
        np.testing.assert_allclose(have, want, rtol=2e-5, atol=2e-5)


def test_every_kernel_in_several_blocks(emulator: Emulator) -> None:
    """One test, so that in the end it is known which kernels ran: a new one needs a row of
    tests/emulator/families.py.
    """
    faults = {}
    for family in SMALL:
        try:
            check(family)
        except Exception as error:
            faults[family.name] = f"{type(error).__name__}: {error}"
    for check_other in (check_random_numbers, check_steps_of_an_optimizer):
        check_other()
    assert not faults
    few = {name: emulator.most[name] for name in FACTORIES}
    assert not {name: n for name, n in few.items() if n < FEW.get(name, MANY)}


def test_a_missing_barrier_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fault that a GPU found: few entries, gathered by all warps and sorted by one."""
    family = next(f for f in SMALL if f.name == "topk of many rows")
    device = Device([Edit("before = max(size, lanes)", "before = size")])
    monkeypatch.setattr(jit, "machine", SimpleNamespace(launch=device.launch))
    with pytest.raises(Fault, match="race on element .* of shared .*keys"):
        check(family)
