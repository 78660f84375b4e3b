"""Random programs in step with PyTorch; ``python -m tests.programs --seeds N`` runs any number."""

from __future__ import annotations

import pytest

from tests.programs.explained import is_open
from tests.programs.run import run_program, shortened


@pytest.mark.parametrize("start", range(0, 120, 30))
def test_programs_agree(start: int) -> None:
    """Values, dtypes, shapes, gradients and refusals after each statement."""
    for seed in range(start, start + 30):
        outcome = run_program(seed)
        if outcome.difference and not is_open(outcome.difference):
            short = shortened(outcome)
            pytest.fail(f"seed {seed}: {short.difference}\n{short.program()}", pytrace=False)


def test_a_wrong_value_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong sum in one library makes programs differ."""
    import tilegrad

    right = tilegrad.Tensor.sum
    wrong = lambda self, *args, **kw: right(self, *args, **kw) + 1
    monkeypatch.setattr(tilegrad.Tensor, "sum", wrong)
    assert any(" is " in run_program(seed).difference for seed in range(60))
