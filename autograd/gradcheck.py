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
    return [r for r in found if r.layout.dtype.has_gradient]


def _real(values: np.ndarray) -> np.ndarray:
    """Complex numbers as (…, 2) of their parts, over the same memory; others as they are."""
    if values.dtype.kind != "c":
        return values
    parts = np.lib.stride_tricks.as_strided(
        values.real, (*values.shape, 2), (*values.strides, values.itemsize // 2), writeable=True
    )
    return parts


def _parts(x: Tensor) -> int:
    """How many real numbers the elements are."""
    return x.numel() * (2 if x.layout.dtype.is_complex else 1)


def _numerical(function: Callable[[], list[Tensor]], x: Tensor, eps: float) -> list[np.ndarray]:
    """Jacobians d output / d x by central differences, one (outputs, inputs) matrix of real numbers per output:
    complex ones count as their parts.
    """
    flat = _real(to_numpy(x))
    columns: list[list[np.ndarray]] = []
    with no_grad():
        for index in np.ndindex(flat.shape):
            kept = flat[index]
            ends = []
            for step in (eps, -eps):
                flat[index] = kept + step
                ends.append([_real(host(o)).ravel().copy() for o in function()])
            flat[index] = kept
            columns.append([(a - b) / (2 * eps) for a, b in zip(*ends, strict=True)])
    if not columns:
        return [np.zeros((_real(host(o)).size, 0)) for o in function()]
    return [np.stack(rows, axis=1) for rows in zip(*columns, strict=True)]


def _analytic(output: Tensor, inputs: Sequence[Tensor]) -> list[np.ndarray]:
    """Jacobians d output / d input from one backward pass per element of ``output``, or per part of one."""
    size = _parts(output)
    result = [np.zeros((size, _parts(x))) for x in inputs]
    for row in range(size):
        seed = np.zeros(output.shape, output.dtype.numpy)
        _real(seed).reshape(-1)[row] = 1.0
        start = tensor_of(from_numpy(seed))
        found = grad(output, inputs, start, retain_graph=True, allow_unused=True)
        for matrix, value in zip(result, found, strict=True):
            if value is not None:
                matrix[row] = _real(host(value)).ravel()
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
        inputs: float64 or complex128 tensors; those that require a gradient are checked.
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
        if not x.dtype.has_gradient or x.dtype.to_real().itemsize < 8:
            raise ValueError(f"gradcheck: inputs must be float64 or complex128; got {x.dtype.name}")
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
            analytic = [np.zeros((_parts(output), _parts(x))) for x in inputs]
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


def _normal(rng: np.random.Generator, like: Tensor) -> np.ndarray:
    shape = tuple(like.shape)
    real = rng.standard_normal(shape)
    return real + 1j * rng.standard_normal(shape) if like.layout.dtype.is_complex else real


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
        grad_outputs = [tensor_of(from_numpy(_normal(rng, o))).requires_grad_() for o in sample]

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
