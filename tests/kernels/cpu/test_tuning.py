"""The table of tuning numbers: one row moves products, convolutions and attention, and no result."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import ROOT
from tilegrad.kernels import dtypes
from tilegrad.kernels.cpu import (
    batch_norm,
    cross_entropy,
    index,
    matmul,
    norm,
    optim,
    pool,
    sort,
    tuning,
)
from tilegrad.kernels.cpu.conv.micro_kernel import shape
from tilegrad.kernels.cpu.run import splitting
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


def _objects(
    row: str, cache: Path, program: str = _PROGRAM, names: str = "*float32*"
) -> dict[str, bytes]:
    """What a process compiles, by name, with the table's row or another."""
    environment = {"PYTHONPATH": str(ROOT / ".dev"), "TILEGRAD_CACHE_DIR": str(cache)}
    done = subprocess.run(
        [sys.executable, "-c", program, row, f"{cache}.npz"], env={**os.environ, **environment},
        capture_output=True, text=True, check=False, cwd="/",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return {path.name.rsplit("-", 1)[0]: path.read_bytes() for path in cache.glob(f"{names}.o")}


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
    for dtype in dtypes.COMPLEX:  # two sums an element
        row, of_parts = tuning.micro_kernel(dtype), tuning.micro_kernel(dtypes.part_of(dtype))
        assert row.mr[-1] == 1 and row.mr_min in row.mr
        assert 2 * max(row.mr[0] * tuning.NR_VECTORS, row.gemv_nr) <= max(
            of_parts.mr[0] * tuning.NR_VECTORS, of_parts.gemv_nr
        )
    assert shape("float32", 64).mr_tiles[0] == tuning.MICRO_KERNELS[simd_bits(), "float32"].mr[0]


# ------------------------------------------------------------------------- families' rows

_FAMILIES = """
import sys, numpy as np, tilegrad as tg
from tilegrad.kernels.cpu import tuning as t
if sys.argv[1] == "fake":
    t.Softmax.columns, t.Softmax.flush = 32, 4
    t.Reduce.columns, t.Reduce.flush = 32, 8
    t.ArgReduce.columns, t.Scan.columns, t.BatchNorm.columns = 32, 32, 32
    t.Norm.together, t.Topk.block, t.Sort.run, t.CrossEntropy.group = 4, 8, 4, 32
    t.Index.piece, t.Movement.together, t.Tiles.rows = 16, 2, 32
F = tg.nn.functional
random = np.random.default_rng(0)
x = tg.from_numpy(random.standard_normal((40, 70)).astype("f4"))
made = [
    x.softmax(0), x.sum(0), x.argmax(0), x.cumsum(0), F.batch_norm(x, None, None, training=True),
    F.layer_norm(x, (70,)), *x.topk(3), *x[:, :20].sort(1), x.gather(1, x.argsort(1)), x.T.contiguous(),
    F.cross_entropy(x[:, :20], tg.arange(40) % 20), x[:, :40] + x[:, :40].T,
]
np.savez(sys.argv[2], *(y.numpy() for y in made))
"""

_FROZEN = (
    "softmax_softmax_columns", "reduce_columns", "arg_reduce_arg_columns", "scan_columns",
    "batch_norm_forward_columns", "norm_forward", "topk_top_rows", "sort_sort_rows_by_merging",
    "cross_entropy_forward", "index_gather_rows", "movement_copy_transposed", "transposed_map_tiles",
)  # fmt: skip


def test_another_row_of_a_family_is_another_kernel(tmp_path: Path) -> None:
    """What kernels hold of the table is what the table says; results are the same but for the last bits."""
    ours = _objects("table", tmp_path / "table", _FAMILIES, "*")
    theirs = _objects("fake", tmp_path / "fake", _FAMILIES, "*")
    assert ours.keys() == theirs.keys()
    for family in _FROZEN:
        names = [n for n in ours if n.startswith(family)]
        assert names and any(ours[n] != theirs[n] for n in names), (family, sorted(ours))
    with np.load(tmp_path / "table.npz") as have, np.load(tmp_path / "fake.npz") as other:
        for name in have:
            np.testing.assert_allclose(other[name], have[name], rtol=1e-5, atol=1e-5, err_msg=name)


def test_planners_share_by_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    ask = {
        "Sort": lambda: sort.split_rows(10, 2000), "Norm": lambda: norm.row_norm_parts("float32", 1000),
        "Optim": lambda: len(optim.cut([1 << 18])[1]), "Index": lambda: index.tasks_for(1 << 18),
        "BatchNorm": lambda: batch_norm._shared(64, 512, 49, True), "Pool": lambda: pool._share(64, 900, 225),
        "CrossEntropy": lambda: cross_entropy._shared(60, 1000),
        "Gemm": lambda: matmul._choose(matmul._Problem("float32", 20, 64, 64, (), ((64, 1), (1, 64), (64, 1)), False)),
    }  # fmt: skip
    changed = {"Norm": "chunk", "Gemm": "col_major_b_rows"}
    for family, answer in ask.items():
        before = answer()
        row = getattr(tuning, family)
        name = changed.get(family, "grain")
        monkeypatch.setattr(row, name, getattr(row, name) // 2)
        assert answer() != before, family


def test_share() -> None:
    assert splitting.share(100, 10, 1000) == (100, 1)
    assert splitting.share(101, 10, 1000) == (100, 2)
    assert splitting.share(1000, 1, 10, 4) == (250, 4)
    assert splitting.share(5, 300, 1000) == (3, 2)
    assert splitting.share(5, 300, 1000, at_least=True) == (4, 2)
    assert splitting.share(0, 0, 7) == (7, 0)


# what is no choice: of the runtime, or given by the code around it
_NO_CHOICES = {
    "conv/padded_input.py": "where what stands in the parameter block",
    "parts/pool_rows.py": "likewise",
    "pool.py": "likewise",
    "parts/seeding.py": "the Mersenne Twister's",
    "simd/checked.py": "where what stands in the report",
    "user.py": "the allocator's alignment",
    "ctc.py": "bytes of a label",
    "sort.py": "what 32 bits hold; bytes of a histogram",
}


def test_numbers_that_were_chosen_stand_in_the_table() -> None:
    """No other module of families or parts gives a name to a number, but those that had no choice."""
    found = set()
    for path in sorted((ROOT / "kernels/cpu").rglob("*.py")):
        where = path.relative_to(ROOT / "kernels/cpu").as_posix()
        if where == "tuning.py" or where.startswith("run/"):
            continue
        for node in ast.parse(path.read_text()).body:
            value = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
            if value is not None and _is_number(value):
                found.add(where)
    assert found == _NO_CHOICES.keys()


def _is_number(value: ast.expr) -> bool:
    parts = (ast.BinOp, ast.UnaryOp, ast.Tuple, ast.operator, ast.unaryop, ast.expr_context)
    return all(
        isinstance(node.value, int | float) if isinstance(node, ast.Constant) else isinstance(node, parts)
        for node in ast.walk(value)
    )  # fmt: skip


def test_each_row_says_how_it_was_chosen() -> None:
    rows = [
        row for row in vars(tuning).values() if isinstance(row, type) and hasattr(row, "chosen")
    ]
    assert len(rows) > 20
    for row in rows:
        if row not in (tuning.MicroKernel, tuning.Sharing):
            assert re.search(r"\b[0-9a-f]{7}\b", row.chosen) and row.__doc__, row
            assert getattr(row, "columns", 0) % 16 == 0 == getattr(row, "group", 0) % 16, row
