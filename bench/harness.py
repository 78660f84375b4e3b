"""The package's timing (``engine/timing.py``) of this tree: a process that measures another revision's
library still measures with this tree's harness, so the file is loaded and not the package.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tilegrad.engine.timing import (
        BUDGET as BUDGET,
        LEAST as LEAST,
        OPENBLAS_SPINS as OPENBLAS_SPINS,
        SETTLE as SETTLE,
        Call as Call,
        compare as compare,
        repeat_count as repeat_count,
        sample as sample,
    )

_spec = importlib.util.spec_from_file_location(
    __name__, Path(__file__).resolve().parent.parent / "engine" / "timing.py"
)
assert _spec is not None and _spec.loader is not None
_spec.loader.exec_module(sys.modules[__name__])  # the names are this module's from here on
