"""Files that are not to be trusted: a bounded number of each kind, and those that were made to harm.

More of them: ``python -m tests.fuzzing``.
"""

from __future__ import annotations

import random

import pytest

from tests.fuzzing.__main__ import read
from tests.fuzzing.mutations import mutated
from tests.fuzzing.targets import TARGETS

COUNT = 250  # files of each kind


@pytest.mark.parametrize("name", TARGETS)
def test_spoiled_files_are_refused_or_read(name: str) -> None:
    made = read(name, 0, COUNT, 60)
    assert made["findings"] == []
    assert made["read"] > 50 and made["refused"] > 20  # they are spoiled, and not all of them


def test_hands_are_tied() -> None:
    """What no file may do is noticed: a reader that opens other files, runs something, takes memory, or is slow."""
    made = read("bad reader", 0, 4, 60)
    said = " ".join(f["said"] for f in made["findings"])
    assert len(made["findings"]) == 4
    for word in ("opened /", "subprocess.Popen", "MemoryError", "ValueError: not documented"):
        assert word in said


def test_mutations_spoil() -> None:
    data = bytes(range(256)) * 4
    made = {mutated(data, random.Random(k)) for k in range(200)}
    assert len(made) > 190
