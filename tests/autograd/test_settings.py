"""Settings that change nothing are remembered as PyTorch remembers them."""

from __future__ import annotations

import pytest
import torch

import tilegrad
from tilegrad import paths
from tilegrad.autograd import settings

BOTH = (tilegrad, torch)


def test_what_is_set_is_given_back() -> None:
    for t in BOTH:
        assert (
            t.get_deterministic_debug_mode() == 0 and not t.are_deterministic_algorithms_enabled()
        )
        t.use_deterministic_algorithms(True, warn_only=True)
        assert (
            t.is_deterministic_algorithms_warn_only_enabled()
            and t.get_deterministic_debug_mode() == 1
        )
        t.set_deterministic_debug_mode("error")
        assert t.get_deterministic_debug_mode() == 2 and t.are_deterministic_algorithms_enabled()
        t.use_deterministic_algorithms(False)
        for wrong, kind in (("never", RuntimeError), (3, RuntimeError), (1.0, TypeError)):
            with pytest.raises(kind):
                t.set_deterministic_debug_mode(wrong)
        t.set_float32_matmul_precision("high")
        assert t.get_float32_matmul_precision() == "high"
        t.set_float32_matmul_precision("highest")
        with pytest.warns(UserWarning, match="not one of"):
            t.set_float32_matmul_precision("low")
        t.set_warn_always(True)
        assert t.is_warn_always_enabled()
        t.set_warn_always(False)
        t.set_anomaly_enabled(True)
        assert t.is_anomaly_enabled()
        t.set_anomaly_enabled(False)
        assert not t.is_anomaly_enabled() and not t.is_distributed(t.ones(1))
        with pytest.raises(RuntimeError, match="expects a positive integer"):
            t.set_num_interop_threads(0)
    tilegrad.set_num_interop_threads(2)
    assert tilegrad.get_num_interop_threads() == 2 and tilegrad.set_flush_denormal(True) is False


def test_names() -> None:
    own = {n for n, v in vars(settings).items() if callable(v) and n[0] != "_"}
    assert own == set(paths.SETTINGS) and all(hasattr(torch, n) for n in own)
