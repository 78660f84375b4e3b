"""A `tilegrad serve` of its own on loopback, and models to serve."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

import tilegrad
from tests.conftest import ROOT
from tilegrad.cli.model import Classifier, Shape
from tilegrad.data.serialization import save

COMMAND = [sys.executable, "-W", "error", "-m", "tilegrad", "serve"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT / ".dev")}


def write_classifier(folder: Path, channels: tuple[int, int] = (4, 8)) -> Path:
    """A file as `tilegrad train` writes it, of a network for 8x8 images that has learnt nothing."""
    tilegrad.manual_seed(0)
    model = Classifier(Shape(8, 8, 10, channels)).eval()
    path = folder / "model.safetensors"
    save(model.state_dict(), path, metadata=model.metadata())
    return path


def examples(count: int) -> np.ndarray:
    """(count, 1, 8, 8) float32 from 0 to 1."""
    return np.random.default_rng(1).random((count, 1, 8, 8), np.float32)


@contextmanager
def serving(
    model: Path | str, *options: str, folder: Path = ROOT
) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """(process, port) of a server that listens; stopped at the end if it still runs."""
    process = subprocess.Popen(
        [*COMMAND, str(model), "--port", "0", *options], env=ENVIRONMENT, text=True, cwd=folder,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        said = process.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:(\d+)/", said)
        assert found, said + (process.stderr.read() if process.stderr else "")
        yield process, int(found[1])
    finally:
        if process.poll() is None:
            process.terminate()
        process.communicate(timeout=60)
