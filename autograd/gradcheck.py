"""Gradients against finite differences: ``gradcheck`` and ``gradgradcheck``."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from tilegrad.autograd.annotations import Tensor
from tilegrad.autograd.base import TensorBase, tensor_of
from tilegrad.autograd.gradients import grad
from tilegrad.autograd.mode import enable_grad, no_grad
from tilegrad.engine.array import from_numpy, to_numpy
from tilegrad.engine.transfer import host


class GradcheckError(RuntimeError):
    """An analytic gradient differs from the numerical one."""


def _outputs(result: Tensor | Sequence[Tensor]) -> list[Tensor]:
    found = [result] if isinstance(result, TensorBase) else list(result)
    return [r for r in found if r.layout.dtype.is_floating_point]


def _numerical(function: Callable[[], list[Tensor]], x: Tensor, eps: float) -> list[np.ndarray]:
    """Jacobians d output / d x by central differences, one (outputs, inputs) matrix per output."""
    flat = to_numpy(x)
    columns: list[list[np.ndarray]] = []
    with no_grad():
        for index in np.ndindex(flat.shape):
            kept = flat[index]
            ends = []
            for step in (eps, -eps):
                flat[index] = kept + step
                ends.append([host(o).ravel().copy() for o in function()])
            flat[index] = kept
            columns.append([(a - b) / (2 * eps) for a, b in zip(*ends, strict=True)])
    if not columns:
        return [np.zeros((host(o).size, 0)) for o in function()]
    return [np.stack(rows, axis=1) for rows in zip(*columns, strict=True)]


def _analytic(output: Tensor, inputs: Sequence[Tensor]) -> list[np.ndarray]:
    """Jacobians d output / d input from one backward pass per element of ``output``."""
    size = output.numel()
    result = [np.zeros((size, x.numel())) for x in inputs]
    for row in range(size):
        seed = np.zeros(output.shape)
        seed.ravel()[row] = 1.0
        start = tensor_of(from_numpy(seed.astype(output.dtype.numpy)))
        found = grad(output, inputs, start, retain_graph=True, allow_unused=True)
        for matrix, value in zip(result, found, strict=True):
            if value is not None:
                matrix[row] = host(value).ravel()
    return result


def gradcheck(
    func: Callable[..., Tensor | Sequence[Tensor]],
    inputs: Tensor | Sequence[Tensor],
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
) -> bool:
    """Compare the gradients of ``func`` with central differences, element by element.

    Args:
        func: takes ``inputs``, returns a tensor or several.
        inputs: float64 tensors; those that require a gradient are checked.
        eps: step of the differences; ``atol``, ``rtol``: tolerances.

    Raises:
        GradcheckError: they differ (or return False, without ``raise_exception``).
        ValueError: nothing to check.
    """
    given = [inputs] if isinstance(inputs, TensorBase) else list(inputs)
    checked = [x for x in given if isinstance(x, TensorBase) and x.requires_grad]
    if not checked:
        raise ValueError("gradcheck: at least one input must require a gradient; got none")
    for x in checked:
        if x.dtype.name != "float64":
            raise ValueError(f"gradcheck: inputs must be float64; got {x.dtype.name}")
    try:
        _compare(lambda: _outputs(func(*given)), checked, eps, atol, rtol)
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


def _compare(
    function: Callable[[], list[Tensor]],
    inputs: Sequence[Tensor],
    eps: float,
    atol: float,
    rtol: float,
) -> None:
    numerical = [_numerical(function, x, eps) for x in inputs]
    for number, output in enumerate(function()):
        if not output.requires_grad:
            analytic = [np.zeros((output.numel(), x.numel())) for x in inputs]
        else:
            analytic = _analytic(output, inputs)
        for position, (have, rows) in enumerate(zip(analytic, numerical, strict=True)):
            want = rows[number]
            if not np.allclose(have, want, rtol=rtol, atol=atol, equal_nan=True):
                worst = np.nanmax(np.abs(have - want))
                raise GradcheckError(
                    f"gradcheck: Jacobian mismatch for output {number} with respect to input "
                    f"{position}, by up to {worst:g}\nnumerical:\n{want}\nanalytical:\n{have}"
                )


def gradgradcheck(
    func: Callable[..., Tensor | Sequence[Tensor]],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Sequence[Tensor] | None = None,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
) -> bool:
    """:func:`gradcheck` of the gradient of ``func`` itself, as a function of the inputs and of the
    incoming gradients (random ones, unless given).
    """
    given = [inputs] if isinstance(inputs, TensorBase) else list(inputs)
    count = len(given)
    if grad_outputs is None:
        rng = np.random.default_rng(0)
        with no_grad():
            sample = _outputs(func(*given))
        grad_outputs = [
            tensor_of(from_numpy(rng.standard_normal(tuple(o.shape)))).requires_grad_()
            for o in sample
        ]

    @enable_grad()
    def first_order(*args: Tensor) -> tuple[Tensor, ...]:
        tensors, seeds = args[:count], args[count:]
        wanted = [x for x in tensors if isinstance(x, TensorBase) and x.requires_grad]
        pairs = [
            (o, s) for o, s in zip(_outputs(func(*tensors)), seeds, strict=True) if o.requires_grad
        ]
        found = grad(
            [o for o, _ in pairs],
            wanted,
            [s for _, s in pairs],
            create_graph=True,
            materialize_grads=True,
        )
        return tuple(f for f in found if f is not None)

    return gradcheck(
        first_order,
        [*given, *grad_outputs],
        eps=eps,
        atol=atol,
        rtol=rtol,
        raise_exception=raise_exception,
    )
