"""Random programs in step with PyTorch; ``python -m tests.programs --seeds N`` runs any number."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.programs.run import Outcome, Pair, run_program, shortened, step


@pytest.mark.parametrize("start", range(0, 120, 30))
def test_programs_agree(start: int) -> None:
    """Values, dtypes, shapes, gradients and refusals after each statement."""
    for seed in range(start, start + 30):
        outcome = run_program(seed)
        if outcome.difference:
            short = shortened(outcome)
            pytest.fail(f"seed {seed}: {short.difference}\n{short.program()}", pytrace=False)


def test_programs_over_newer_names_agree() -> None:
    """Transforms, decompositions, special functions, complex numbers, lists, results in given tensors."""
    for seed in range(12):
        outcome = run_program(seed, newer=True)
        if outcome.difference:
            short = shortened(outcome)
            pytest.fail(f"seed {seed}: {short.difference}\n{short.program()}", pytrace=False)


FOUND = (Path(__file__).parent / "found.txt").read_text().splitlines()[1:]


@pytest.mark.parametrize("program", FOUND)
def test_programs_that_parted_once_agree(program: str) -> None:
    """Values, dtypes, gradients and the types of errors, after each statement."""
    outcome, pair = Outcome(), Pair()
    for line in program.split(";; "):
        step(pair, line, outcome, set(pair.theirs))
        assert not (outcome.difference or outcome.explained or outcome.missing), outcome


def test_a_wrong_value_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong sum in one library makes programs differ."""
    import tilegrad

    right = tilegrad.Tensor.sum
    wrong = lambda self, *args, **kw: right(self, *args, **kw) + 1
    monkeypatch.setattr(tilegrad.Tensor, "sum", wrong)
    assert any(" is " in run_program(seed).difference for seed in range(60))
