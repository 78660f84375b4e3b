"""The ops of :mod:`tests.conformance.ops` that take complex numbers, on samples of complex64."""

from __future__ import annotations

from typing import Any

import torch

from tests.conformance import ops
from tests.conformance.ops import Outcome, title as title

KINDS = (torch.complex64,)


def entries() -> list[Any]:
    """The public rows of the database that have complex64."""
    return [op for op in ops.entries() if torch.complex64 in op.supported_dtypes("cpu")]


def check(op: Any, most: int = ops.SAMPLES) -> Outcome:
    """Run a row in all its forms."""
    return ops.check(op, most, KINDS)
