"""Straight-line programs of short transforms, against the definition."""

from __future__ import annotations

import operator

import numpy as np
import pytest

from tilegrad.kernels import codelets

ARITHMETIC = {
    "add": operator.add, "sub": operator.sub, "mul": operator.mul, "neg": operator.neg,
}  # fmt: skip
MORE = (6, 10, 11, 12, 13, 15, 16)


def _definition(x: np.ndarray) -> np.ndarray:
    n = len(x)
    return np.exp(-2j * np.pi * np.outer(range(n), range(n)) / n) @ x


def _reals(x: np.ndarray) -> list[float]:
    return [float(part) for value in x for part in (value.real, value.imag)]


@pytest.mark.parametrize("radix", [*codelets.RADICES, *MORE])
def test_a_program_is_the_definition(radix: int, rng: np.random.Generator) -> None:
    x = rng.standard_normal(radix) + 1j * rng.standard_normal(radix)
    program = codelets.codelet(radix)
    made = codelets.run(program, _reals(x), lambda c: c, lambda c, a, b: c * a + b, ARITHMETIC)
    found = np.array(made[::2]) + 1j * np.array(made[1::2])
    np.testing.assert_allclose(found, _definition(x), rtol=0, atol=1e-14 * radix)


@pytest.mark.parametrize("radix", codelets.RADICES)
def test_its_source_is_the_same_in_the_type_of_its_numbers(
    radix: int, rng: np.random.Generator
) -> None:
    x = (rng.standard_normal(radix) + 1j * rng.standard_normal(radix)).astype("c8")
    scope: dict[str, object] = {}
    exec(codelets.source(codelets.codelet(radix)), scope)
    made = scope["codelet"](*[np.float32(v) for v in _reals(x)])  # type: ignore[operator]
    assert {type(v) for v in made} == {np.float32}
    found = np.array(made[::2]) + 1j * np.array(made[1::2])
    np.testing.assert_allclose(found, _definition(x), rtol=0, atol=1e-6 * radix)


def test_powers_of_two_take_the_operations_that_are_known() -> None:
    """Additions and multiplications of Cooley and Tukey's splitting, nothing twice."""
    counts = {}
    for radix in (2, 4, 8):
        steps = codelets.codelet(radix).steps
        counts[radix] = (
            sum(s.kind in ("add", "sub") for s in steps),
            sum(s.kind == "mul" for s in steps),
        )
    assert counts == {2: (4, 0), 4: (16, 0), 8: (52, 4)}
