"""Bad calls, from ``cases/bad_calls.txt``: each raises what PyTorch raises when the same line runs
there. After ``##`` comes what both messages say, in words.
"""

from __future__ import annotations

import copy
import importlib
import math
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tilegrad as tg
from tilegrad.autograd import once
from tilegrad.engine.random import default_generator


def leaf(t: Any) -> Any:
    return t.ones(2, requires_grad=True)


def full_grad(t: Any) -> Any:
    x = leaf(t)
    x.grad = t.ones(2) * math.inf
    return x


def twice(t: Any) -> None:
    y = (leaf(t) * leaf(t)).sum()
    y.backward()
    y.backward()


def overwritten(t: Any) -> None:
    y = (leaf(t) * 2).exp()
    y.add_(1)
    y.sum().backward()


def shared_twice(t: Any, optim: Any) -> None:
    x = leaf(t)
    optim.SGD([{"params": [x]}, {"params": [x]}], 0.1)


def _names(t: Any) -> dict[str, Any]:
    data = importlib.import_module("torch.utils.data") if t is torch else t.data
    modules = {"t": t, "F": t.nn.functional, "nn": t.nn, "optim": t.optim, "data": data}
    functions = (leaf, full_grad, twice, overwritten, shared_twice)
    return {**modules, "math": math, "copy": copy, "np": np, **{f.__name__: f for f in functions}}


OURS, THEIRS = _names(tg), _names(torch)


def _rows() -> list[tuple[str, str]]:
    lines = (Path(__file__).parent / "bad_calls.txt").read_text().splitlines()
    rows = [line.partition("  ## ") for line in lines if line and not line.startswith("#")]
    return [(row, words) for row, _, words in rows]


ROWS = _rows()


def _error(row: str, names: dict[str, Any]) -> Exception:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            value = eval(row, dict(names))
        except Exception as error:
            return error
    raise AssertionError(f"{row} gave {value!r}")


def _process() -> dict[str, Any]:
    """What a refused call may leave to no later one."""
    return {
        "kinds of the generator's numbers": [type(n) for n in default_generator.position],
        "dtype": tg.get_default_dtype(), "threads": tg.get_num_threads(),
        "grad mode": tg.is_grad_enabled(), "inference mode": tg.is_inference_mode_enabled(),
    }  # fmt: skip


def _words(error: Exception) -> str:
    return " ".join(re.findall(r"[a-z']+", str(error).lower()))


def test_the_table_has_the_rows_that_it_should():
    assert len(ROWS) >= 1000
    assert len({row for row, _ in ROWS}) == len(ROWS)


@pytest.mark.parametrize(("row", "words"), ROWS, ids=[row for row, _ in ROWS])
def test_a_bad_call_raises_what_pytorch_raises(row, words):
    before, place, state = _process(), default_generator.position, torch.get_rng_state()
    ours, theirs = _error(row, OURS), _error(row, THEIRS)
    assert _process() == before
    drew = not torch.equal(state, torch.get_rng_state())
    assert drew or default_generator.position == place, "a refused call drew random numbers"
    same = type(ours) is type(theirs)
    own = type(ours).__module__.startswith("tilegrad") and isinstance(ours, type(theirs))
    assert same or own, f"{ours!r}, PyTorch {theirs!r}"
    assert words in _words(ours)
    assert words in _words(theirs)


def test_a_number_of_what_needs_a_gradient_warns():
    for kind in (float, int):
        once.warn_of_scalar.cache_clear()
        with pytest.warns(UserWarning, match="requires_grad=True to a scalar"):
            kind(tg.ones(1, requires_grad=True))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tg.ones(1, requires_grad=True).item()
        float(tg.ones(1))


@pytest.mark.parametrize(
    ("tilegrad", "openmp", "threads"),
    [("", "1", 1), ("3", "1", 3), ("", "2,1", 2), ("", "0", None), ("", "x", None)],
)
def test_threads_by_environment(monkeypatch, tilegrad, openmp, threads):
    from tilegrad.kernels.cpu.run import threads as module

    before = module.get_num_threads()
    try:
        monkeypatch.setenv("TILEGRAD_NUM_THREADS", tilegrad)
        monkeypatch.setenv("OMP_NUM_THREADS", openmp)
        assert module._default_threads() == (threads or module.processors())
    finally:
        module.set_num_threads(before)
