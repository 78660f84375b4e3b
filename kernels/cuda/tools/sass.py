"""Machine code of GPUs as text, by NVIDIA's disassembler.

Source: CUDA Binary Utilities for the instruction sets.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

from tilegrad.kernels.cuda.run import cubin
from tilegrad.kernels.cuda.run.backend import Arch
from tilegrad.kernels.cuda.run.driver import Unavailable

_LINE = re.compile(r"^\s*/\*([0-9a-f]{4,})\*/\s+(.*?)\s*;", re.M)


@lru_cache(maxsize=1)
def _disassembler() -> str:
    try:
        for file in files("nvidia-cuda-nvdisasm") or ():
            if file.name in ("nvdisasm", "nvdisasm.exe"):
                return str(Path(str(file.locate())).resolve())
    except PackageNotFoundError:
        pass
    found = shutil.which("nvdisasm")
    if found is None:
        raise Unavailable(
            "cuda: no disassembler (nvdisasm); install it with `pip install nvidia-cuda-nvdisasm`"
        )
    return found


def available() -> bool:
    """Whether there is a disassembler."""
    try:
        return bool(_disassembler())
    except Unavailable:
        return False


def disassemble(cubins: Sequence[bytes], arch: Arch) -> list[list[str]]:
    """The instructions of each kernel, in order; padding left out.

    Many at once cost little more than one, most of which is the disassembler's start.

    Raises:
        Unavailable: there is no disassembler.
    """
    codes = [cubin.code(made) for made in cubins]
    with tempfile.NamedTemporaryFile(suffix=".bin") as file:
        file.write(b"".join(codes))
        file.flush()
        command = [_disassembler(), "-c", "-ndf", "-b", f"SM{arch[0]}{arch[1]}", file.name]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"nvdisasm: {done.stderr.strip()}")
    ends, end = [], 0
    for code in codes:
        end += len(code)
        ends.append(end)
    listings: list[list[str]] = [[] for _ in codes]
    number = 0
    for place, text in _LINE.findall(done.stdout):
        while int(place, 16) >= ends[number]:
            number += 1
        if text != "NOP":
            listings[number].append(text)
    return listings
