"""Every row of the table of ops: values, dtypes, strides, special values, gradients to order two.

PyTorch runs the same call in float64 and is the reference for values and gradients; in the dtype
under test it is the reference for the result's dtype and shape.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import tilegrad
from tests.cases import table
from tests.cases.case import FLOATS, Case
from tests.conftest import DEVICES, TOLERANCES
from tilegrad.engine.dispatch import Op

CASES = table()


@pytest.fixture(autouse=True)
def _every_plan_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """No op of ours hands its planner what keeps the plan from being found again (a bool inside a tuple)."""
    make = Op._make_plan

    def made(self: Op, key: Any, arrays: Any, metadata: Any) -> Any:
        assert key is not None, f"{self.name} plans every call anew: {metadata}"
        return make(self, key, arrays, metadata)

    monkeypatch.setattr(Op, "_make_plan", made)


def _ids(rows: list[Any]) -> list[str]:
    return ["-".join(r.name if isinstance(r, Case) else str(r) for r in row) for row in rows]


def _outputs(result: Any) -> list[Any]:
    return [result] if hasattr(result, "dtype") else list(result)


def _promote(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float64) if array.dtype.kind == "f" else array


def _check(have: Any, want: Any, dtype: str, case: Case) -> None:
    rtol, atol = TOLERANCES.get(dtype, (0, 0))
    got = have.detach().cpu().numpy()
    ref = want.detach().numpy(force=True)  # sgn's gradient holds no zeros in PyTorch
    assert got.shape == ref.shape
    np.testing.assert_allclose(
        got.astype(ref.dtype),
        ref,
        rtol=rtol * case.tolerance,
        atol=atol * case.tolerance,
        equal_nan=True,
    )


def _tensor(array: np.ndarray, device: str) -> Any:
    return tilegrad.from_numpy(array).to(device)


def _strided(array: np.ndarray, device: str) -> Any:
    """The same values, every second element of memory, dimensions stored in reverse order."""
    if array.ndim == 0:
        return _tensor(array, device)
    places = tuple(slice(None, None, 2) for _ in array.shape)
    wide = np.zeros(tuple(2 * n for n in array.shape[::-1]), array.dtype)
    wide.transpose()[places] = array
    return _tensor(wide, device).permute(*range(array.ndim - 1, -1, -1))[places]


def _run(
    case: Case, arrays: list[np.ndarray], device: str, exactly: bool = True, make: Any = _tensor
) -> None:
    """Values against float64, unless the dtype's own range is the point (``exactly=False``)."""
    results = _outputs(case.call(tilegrad, *(make(a, device) for a in arrays)))
    exact = _outputs(case.call(torch, *(torch.from_numpy(_promote(a)) for a in arrays)))
    same = _outputs(case.call(torch, *(torch.from_numpy(a) for a in arrays)))
    assert len(results) == len(exact)
    for have, want, kind in zip(results, exact, same, strict=True):
        assert str(have.dtype).split(".")[1] == str(kind.dtype).split(".")[1]
        assert have.device.type == device
        name = have.dtype.name
        _check(have, want if name in TOLERANCES and exactly else kind, name, case)


def _rows(rows: list[Any], test: str) -> Any:
    """Rows once per device that runs them."""
    everywhere = [
        (*row, device)
        for row in rows
        for device in DEVICES
        if device == "cpu" or test in row[0].simulated
    ]
    names = "case, device" if len(everywhere[0]) == 2 else "case, dtype, device"
    return pytest.mark.parametrize(names, everywhere, ids=_ids(everywhere))


@_rows([(c, d) for c in CASES for d in c.dtypes], "forward")
def test_forward(case: Case, dtype: str, device: str, rng: np.random.Generator) -> None:
    _run(case, [a.make(rng, dtype) for a in case.args], device)


@_rows([(c, c.dtypes[0]) for c in CASES if c.strided], "strided")
def test_strided(case: Case, dtype: str, device: str, rng: np.random.Generator) -> None:
    _run(case, [a.make(rng, dtype) for a in case.args], device, make=_strided)


_VALUES = (np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-40, -1e-310, 1.0, -1.0)


@_rows([(c, d) for c in CASES if c.special for d in c.dtypes if d in FLOATS], "forward")
def test_special_values(case: Case, dtype: str, device: str, rng: np.random.Generator) -> None:
    arrays = []
    for arg in case.args:
        array = arg.make(rng, dtype)
        if array.dtype.kind == "f":
            where = rng.permutation(array.size)[: 2 * len(_VALUES)]
            array.flat[where] = np.resize(np.array(_VALUES, dtype), where.shape)
        arrays.append(array)
    _run(case, arrays, device, exactly=False)


_GRADIENT = [(c,) for c in CASES if "float64" in c.dtypes and c.gradient_positions()]


def _leaves(
    case: Case, rng: np.random.Generator, dtype: str, device: str = "cpu"
) -> tuple[list[Any], list[np.ndarray]]:
    arrays = [a.make(rng, dtype) for a in case.args]
    tensors = [_tensor(a.copy(), device) for a in arrays]
    for position in case.gradient_positions():
        tensors[position].requires_grad_()
    return tensors, arrays


@_rows(_GRADIENT, "gradient")
def test_gradient(case: Case, device: str, rng: np.random.Generator) -> None:
    """First-order gradients in float32 and float64 against PyTorch's."""
    for dtype in (d for d in case.dtypes if d in FLOATS):
        tensors, arrays = _leaves(case, rng, dtype, device)
        theirs = [torch.from_numpy(_promote(a.copy())) for a in arrays]
        for position in case.gradient_positions():
            theirs[position].requires_grad_()
        outputs = [o for o in _outputs(case.call(tilegrad, *tensors)) if o.requires_grad]
        wanted = [o for o in _outputs(case.call(torch, *theirs)) if o.requires_grad]
        assert len(outputs) == len(wanted)
        seeds = [rng.standard_normal(tuple(o.shape)).astype(o.dtype.name) for o in outputs]
        tilegrad.autograd.backward(outputs, [_tensor(np.asarray(s), device) for s in seeds])
        torch.autograd.backward(wanted, [torch.from_numpy(_promote(np.asarray(s))) for s in seeds])
        for position in case.gradient_positions():
            have, want = tensors[position].grad, theirs[position].grad
            if want is None:
                assert have is None or not have.cpu().numpy().any()
                continue
            assert have is not None
            assert have.dtype.name == arrays[position].dtype.name
            _check(have, want, dtype, case)


_NUMERIC = [(c,) for (c,) in _GRADIENT if c.numeric]


@pytest.mark.parametrize("case", [c for (c,) in _NUMERIC], ids=_ids(_NUMERIC))
def test_gradcheck(case: Case, rng: np.random.Generator) -> None:
    tensors, _ = _leaves(case, rng, "float64")
    assert tilegrad.autograd.gradcheck(lambda *t: case.call(tilegrad, *t), tensors)


_SECOND = [(c,) for (c,) in _GRADIENT if c.second_order]


@pytest.mark.parametrize("case", [c for (c,) in _SECOND], ids=_ids(_SECOND))
def test_gradgradcheck(case: Case, rng: np.random.Generator) -> None:
    tensors, _ = _leaves(case, rng, "float64")
    outputs = _outputs(case.call(tilegrad, *tensors))
    if not any(o.requires_grad for o in outputs):
        pytest.fail("no output requires a gradient: mark the row differentiable=()")
    assert tilegrad.autograd.gradgradcheck(lambda *t: case.call(tilegrad, *t), tensors)
