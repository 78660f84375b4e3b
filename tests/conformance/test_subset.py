"""Rows of PyTorch's sample database that agreed in everything still do: function, gradients, method, method in
place and ``out=``, in values, shapes and dtypes.
"""

import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT

PARTS = 2


@pytest.mark.parametrize("part", range(PARTS))
def test_no_row_falls(part):
    """In processes of their own: importing the database changes PyTorch's settings."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.conformance.subset", "--part", str(part), str(PARTS)],
        cwd=ROOT, capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": f"{ROOT / '.dev'}:{ROOT}"},
    )  # fmt: skip
    assert done.returncode == 0, (done.stdout[-4000:], done.stderr[-2000:])


def test_the_list_is_long_and_sorted():
    titles = (ROOT / "tests/conformance/whole.txt").read_text().splitlines()
    assert titles == sorted(set(titles))
    assert len(titles) >= LEAST


LEAST = 570  # raised with the list: what was reached is not given back
