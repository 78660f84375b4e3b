"""The table of tuning numbers: one row moves products, convolutions and attention, and no result."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import ROOT
from tilegrad.kernels import dtypes
from tilegrad.kernels.cpu import tuning
from tilegrad.kernels.cpu.conv.micro_kernel import shape
from tilegrad.kernels.cpu.run.native import simd_bits

# a process of its own: what is compiled with this row is kept nowhere
_PROGRAM = """
import sys, numpy as np, tilegrad as tg
from tilegrad.kernels.cpu import tuning
from tilegrad.kernels.cpu.run.native import simd_bits
if sys.argv[1] == "fake":
    key = (simd_bits(), "float32")
    tuning.MICRO_KERNELS[key] = tuning.MICRO_KERNELS[key]._replace(
        mr=(5, 3, 2, 1), mr_min=3, unroll=2, col_major_mr=(3, 1), gemv_nr=4, gemv_col_nr=1, kc=48,
        mc_bytes=8 << 10, mc=20, conv_rest=(2, 1), conv_few=(2, 1), conv_one=4, conv_weight=(2, 1),
        conv_weight_columns=2, conv_weight_outputs=6, conv_outer=((3, 1), (3, 1)),
    )
F = tg.nn.functional
random = np.random.default_rng(0)
made = []
def check(call, *shapes):
    tensors = [tg.from_numpy(random.standard_normal(s).astype("f4")).requires_grad_() for s in shapes]
    out = call(*tensors)
    out.square().sum().backward()
    made.extend([out.detach().numpy(), *(x.grad.numpy() for x in tensors)])
product = lambda x, y: x @ y
check(product, (37, 100), (100, 45))
check(product, (1, 41), (41, 45))
check(lambda x, y: x @ y.T, (7, 41), (50, 41))
for channels, outputs in ((16, 20), (2, 1)):
    check(lambda x, w: F.conv2d(x, w, padding=1), (2, channels, 8, 8), (outputs, channels, 3, 3))
check(F.scaled_dot_product_attention, (3, 37, 16), (3, 41, 16), (3, 41, 20))
np.savez(sys.argv[2], *made)
"""


def _objects(row: str, cache: Path) -> dict[str, bytes]:
    """What a process compiles, by name, with the table's row or another."""
    environment = {"PYTHONPATH": str(ROOT / ".dev"), "TILEGRAD_CACHE_DIR": str(cache)}
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, row, f"{cache}.npz"], env={**os.environ, **environment},
        capture_output=True, text=True, check=False, cwd="/",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return {path.name.rsplit("-", 1)[0]: path.read_bytes() for path in cache.glob("*float32*.o")}


def test_another_row_moves_product_convolution_and_attention(tmp_path: Path) -> None:
    ours = _objects("table", tmp_path / "table")
    theirs = _objects("fake", tmp_path / "fake")
    for family in ("gemm_gemm", "conv_forward", "attention_forward", "attention_backward"):
        changed = [n for n in ours if n.startswith(family) and ours[n] != theirs.get(n)]
        assert changed, (family, sorted(ours))
    with np.load(tmp_path / "table.npz") as have, np.load(tmp_path / "fake.npz") as other:
        for name in have:  # K is cut elsewhere, so the last bits differ
            np.testing.assert_allclose(other[name], have[name], rtol=1e-4, atol=1e-4, err_msg=name)


@pytest.mark.parametrize("key", tuning.MICRO_KERNELS, ids=str)
def test_rows_are_whole(key: tuple[int, str]) -> None:
    """Any number of rows is a sum of tiles, the sums fit the registers, and it is said how."""
    row = tuning.MICRO_KERNELS[key]
    registers = 32 if key[0] == 512 else 16
    conv = (row.mr[0], *row.conv_rest)
    for tiles in (row.mr, row.col_major_mr, conv, row.conv_few, row.conv_weight, *row.conv_outer):
        assert tiles[-1] == 1 and list(tiles) == sorted(set(tiles), reverse=True)
    held = [
        row.mr[0] * tuning.NR_VECTORS, 4 * row.conv_few[0], row.gemv_nr, row.conv_one,
        row.conv_weight[0] * row.conv_weight_columns,
    ]  # fmt: skip
    assert max(held) < registers
    assert all(n & (n - 1) == 0 for n in row.conv_weight)
    assert row.mr_min in row.mr and "measured" in row.chosen


def test_every_float_has_a_row_and_others_are_refused() -> None:
    assert {dtype for _, dtype in tuning.MICRO_KERNELS} == set(dtypes.FLOATS)
    assert {bits for bits, _ in tuning.MICRO_KERNELS} == {128, 256, 512}
    with pytest.raises(NotImplementedError, match="micro-kernel: not implemented for 'float16'"):
        tuning.micro_kernel("float16")
    with pytest.raises(NotImplementedError, match="not implemented for 'int32'"):
        shape("int32", 8)
    assert shape("float32", 64).mr_tiles[0] == tuning.MICRO_KERNELS[simd_bits(), "float32"].mr[0]
