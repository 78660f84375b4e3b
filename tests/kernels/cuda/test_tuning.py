"""The CUDA tables of tuning numbers: a row for every dtype, which launchers look up, and no other place."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import tilegrad
from tests.conftest import ROOT, every_object
from tests.cuda.simulated import only_simulated
from tilegrad.autograd.rules.recurrent import gru_cell
from tilegrad.engine import dispatch
from tilegrad.kernels import dtypes
from tilegrad.kernels.cuda import clip, matmul, optim, tuning
from tilegrad.kernels.cuda.device.shapes import AttentionTile, Bounds, Tile
from tilegrad.kernels.cuda.run import jit

BY_FLOAT = (
    "products",
    "depthwise",
    "attention",
    "rows",
    "chunks",
    "recurrent",
    "distance",
    "ctc",
    "linalg",
    "batch_norm",
)
HERE = (9, 0)  # the simulated device

# numbers that the text of a kernel is written for: another one is another text
WRITTEN = {
    "AHEAD": "loads that are written out before the first store",
    "ALIGNMENT": "of parts of scratch memory",
    "sort/radix.py BITS": "of the radix sort's digit, of which each of its 256 threads has one",
    "BYTES": "of a vector access",
    "ctc.py WORD": "bytes of a label",
    "sort/radix.py DIGITS": "as its BITS",
    "EACH": "neighbours of a thread that are written out",
    "FIXED": "parameters of the tiled product",
    "FOUR": "elements of a scan's thread that are written out",
    **dict.fromkeys(
        (f"distance.py {name}" for name in ("LINES", "THREADS")),
        "rows of a square that are written out",
    ),
    "JOINED": "operands of a joined copy, which this device has no kernel for",
    "BLOCK_ROWS": "rows of a transposed tile that are written out",
    "LOW": "a mask of 32 bits",
    "NARROW": "the limit of 32-bit indices",
    "pool.py ONE": "dilation of a window without gaps, which is of three dimensions",
    "PAD": "bank conflicts of the tiled product's stores",
    "PART": "bytes of a sum",
    "fft/plan.py RADICES": "those of a codelet",
    "fft/plan.py STAGE": "words of a stage",
    "fft/batch.py STAGE": "words of a stage",
    **dict.fromkeys(
        (f"linalg/triangles.py {name}" for name in ("LEAF", "SIDE", "SIDES")),
        "what shared memory holds",
    ),
    "PER_AXIS": "index params of a dimension",
    "sort/radix.py THREADS": "as its BITS",
    **dict.fromkeys(
        (f"user.py {name}" for name in ("ALIGNED", "BLOCK", "GRID", "THREADS")), "CUDA's limits"
    ),
    "TILE": "lanes of a warp",
    "TILE_DIM": "lanes of a warp",
    "_COUNT": "parameters of a window",
}


def disordered() -> list[str]:
    """Numbers of ``tuning.ORDER`` in which rows of a dtype differ, as ``table.number``."""
    return [
        f"{name}.{number}"
        for name, numbers in tuning.ORDER.items()
        for number in numbers
        for dtype in {dtype for _, dtype in tuning.TABLES[name]}
        if len({getattr(r, number) for (_, d), r in tuning.TABLES[name].items() if d == dtype}) > 1
    ]


def test_every_table_has_another_row_to_move_it() -> None:
    assert FAKES.keys() == tuning.TABLES.keys()


def test_every_dtype_has_its_rows_and_each_says_how_it_was_chosen() -> None:
    assert len(tuning.TABLES) == 10 + len(tuning.GRIDS)  # no name stands twice
    for name, table in tuning.TABLES.items():
        here = {dtype for _, dtype in table}
        if name in BY_FLOAT:
            assert here >= set(dtypes.FLOATS), name
        else:
            assert here == {tuning.ANY} or here >= set(dtypes.TABLE), name
        assert all(row.chosen for row in table.values()), name
        assert min(arch for arch, _ in table) == tuning.FIRST, name


def test_no_architecture_orders_sums_in_its_own_way(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not disordered()
    mine = tuning.ROWS[tuning.FIRST, "float32"]._replace(threads=128)
    monkeypatch.setitem(tuning.ROWS, ((10, 0), "float32"), mine)
    assert disordered() == ["rows.threads"]


def test_a_dtype_without_a_row_is_refused() -> None:
    for choose in (
        lambda: tuning.products("float16"),
        lambda: tuning.row(tuning.ATTENTION, "float16", "attention"),
        lambda: tuning.grid("elementwise", "float16"),
        lambda: tuning.row(tuning.ROWS, "float16", "softmax"),
    ):
        with pytest.raises(NotImplementedError, match="^[a-z]+: not implemented for 'float16'"):
            choose()


def test_the_latest_architecture_that_is_not_newer_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    row = tuning.PRODUCTS[tuning.FIRST, "float32"]
    for arch, split in (((8, 0), 1), (HERE, 2), ((10, 0), 3)):
        monkeypatch.setitem(tuning.PRODUCTS, (arch, "float32"), row._replace(split=split))
    assert tuning.products("float32").split == 2
    monkeypatch.delitem(tuning.PRODUCTS, (HERE, "float32"))
    assert tuning.products("float32").split == 1
    assert tuning.products("float64").split == row.split


# ------------------------------------------------------------------------- another row, another launch

_F = tilegrad.nn.functional


def _integers(*shape: int) -> Any:
    return tilegrad.arange(int(np.prod(shape)), device="cuda").reshape(shape) % 7


def _reals(*shape: int) -> Any:
    count = int(np.prod(shape))
    values = np.random.default_rng(count).standard_normal(shape, "f4")
    return tilegrad.from_numpy(values).to("cuda")


def _distances() -> Any:
    x = _reals(5, 3).requires_grad_()
    tilegrad.cdist(x, _reals(4, 3), 1.0).sum().backward()
    return x.grad


def _stepped() -> Any:
    weight = tilegrad.nn.Parameter(_reals(40))
    weight.grad = _reals(40)
    tilegrad.nn.utils.clip_grad_norm_([weight], 0.5)
    tilegrad.optim.Adam([weight], lr=0.1).step()
    return weight.detach()


# the table, numbers of a row that are not those of the simulated device, calls whose launches follow
FAKES: dict[str, tuple[dict[str, Any], list[Callable[[], Any]]]] = {
    "products": (
        {"rest": Tile(16, 32, 8, 4, 4, 4, 8, 8), "gemv_threads": 64, "threads": 128},
        [
            lambda: _reals(37, 45) @ _reals(45, 33),
            lambda: _reals(9, 40) @ _reals(40, 1),
            lambda: _F.conv2d(_reals(2, 3, 6, 6), _reals(5, 3, 3, 3)),
        ],
    ),
    "depthwise": ({"threads": 64}, [lambda: _F.conv2d(_reals(2, 3, 6, 6), _reals(3, 1, 3, 3), groups=3)]),
    "attention": (
        {"forward": (AttentionTile(32, 32, 4, 4, 4, 32),)},
        [lambda: _F.scaled_dot_product_attention(*(_reals(2, 40, 16) for _ in range(3)))],
    ),
    "rows": (
        {"threads": 128, "least": 2},
        [
            lambda: _reals(5, 70).softmax(1),
            lambda: _F.layer_norm(_reals(5, 70), (70,)),
            lambda: _F.cross_entropy(_reals(20, 9), _integers(20)),
        ],
    ),
    "reduction": ({"bounds": Bounds(128, 4)}, [lambda: _reals(5, 70).sum(1), lambda: _reals(5, 70).sum(0)]),
    "scan": ({"threads": 128}, [lambda: _reals(3, 70).cumsum(1)]),
    "sort": ({"threads": 64, "short": 64}, [lambda: _reals(3, 20).sort().values, lambda: _reals(100).sort().values]),
    "prefix": ({"threads": 128}, [lambda: _reals(100)[_integers(100) > 3]]),
    "scatter": ({"short": 2}, [lambda: _reals(2, 3).index_add(0, _integers(20) % 2, _reals(20, 3))]),
    "chunks": ({"bounds": Bounds(128, 4), "clip": Bounds(128, 4)}, [_stepped]),
    **{
        name: ({"bounds": Bounds(128, 2)}, [call])
        for name, call in {
            "elementwise": lambda: _reals(300).exp(),
            "create": lambda: tilegrad.arange(300, device="cuda"),
            "random": lambda: tilegrad.ones(300, device="cuda").bernoulli(),
            "index": lambda: _reals(6, 5)[_integers(3), _integers(3) % 5],
            "gather": lambda: _reals(9, 5).index_select(0, _integers(7)),
            "put": lambda: _reals(9, 5).index_fill(0, _integers(3), 1.0),
            "movement": lambda: _reals(6, 8)[:, ::2].contiguous(),
            "masked": lambda: (_reals(6, 8) > 0).nonzero(),
            "triangle": lambda: _reals(6, 8).tril(),
            "repeat": lambda: _reals(6).repeat_interleave(_integers(6)),
            "search": lambda: tilegrad.searchsorted(_integers(6), _integers(5)),
            "rank": lambda: _reals(2, 3).index_add(0, _integers(40) % 2, _reals(40, 3)),
            "fill": lambda: _reals(20000).argmax(),
            "recurrent": lambda: gru_cell(_reals(3, 4), _reals(3, 5), _reals(15, 4), _reals(15, 5)),
            "pool": lambda: _F.max_pool2d(_reals(1, 2, 6, 6), 2),
            "resample": lambda: _F.interpolate(_reals(1, 2, 4, 6), size=(3, 5), mode="bilinear"),
            "sample": lambda: _F.grid_sample(
                _reals(1, 2, 4, 6), _reals(1, 3, 5, 2), align_corners=False),
            "distance": _distances,
            "ctc": lambda: _F.ctc_loss(
                _reals(4, 2, 3), tilegrad.ones(2, 1, dtype=tilegrad.int64, device="cuda"), [4, 3], [1, 1]),
            "linalg": lambda: tilegrad.linalg.solve_triangular(
                tilegrad.eye(5, device="cuda") + _reals(5, 5).tril(), _reals(5, 3), upper=False),
            "batch_norm": lambda: _F.batch_norm(_reals(4, 3, 2), _reals(3), _reals(3).abs()),
        }.items()
    },
}  # fmt: skip


def _forget() -> None:
    """No op remembers how it was launched."""
    for op in every_object():
        if issubclass(type(op), dispatch.Op):
            op.plans.clear()
    for kept in (optim.optim_step, clip._tables, clip.total_norm, clip.shrink_to):
        kept.cache_clear()


@pytest.fixture
def no_plans() -> Iterator[None]:
    _forget()
    yield
    _forget()


def _launched(calls: list[Callable[[], Any]]) -> tuple[list[Any], list[np.ndarray]]:
    """(kernels with their variants and grids, results)."""
    with jit.recording() as launches:
        made = [call().cpu().numpy() for call in calls]
    return [(m.factory.name(m.variant), m.variant, m.grid) for m in launches], made


@only_simulated
@pytest.mark.parametrize("name", FAKES)
def test_another_row_moves_its_families(
    name: str, no_plans: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers, calls = FAKES[name]
    before, right = _launched(calls)
    table = tuning.TABLES[name]
    for dtype in {dtype for _, dtype in table}:
        other = tuning.row(table, dtype, name)._replace(**numbers)
        monkeypatch.setitem(table, (HERE, dtype), other)
    _forget()
    after, have = _launched(calls)
    assert before != after
    for one, other in zip(have, right, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


def test_no_number_stands_elsewhere() -> None:
    """What a family or part names at its top is a table's, or its text is written for it."""
    found = []
    for path in sorted((ROOT / "kernels/cuda").rglob("*.py")):
        room = path.relative_to(ROOT / "kernels/cuda").parts[0]
        if room in ("run", "device", "tools", "tuning.py"):
            continue
        for node in ast.parse(path.read_text()).body:
            if not isinstance(node, (ast.Assign, ast.AnnAssign)):
                continue
            inside = [*ast.walk(node.value or node)]
            if any(isinstance(n, (ast.Call, ast.Dict)) for n in inside):
                continue
            numbers = [n for n in inside if isinstance(n, ast.Constant) and type(n.value) is int]
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = {n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)}
            at = path.relative_to(ROOT / "kernels/cuda")
            names = {n for n in names if not {n, f"{at} {n}"} & set(WRITTEN)}
            if numbers and names:
                found.append(f"{at}: {sorted(names)}")
    assert not found


def test_plans_of_products_and_convolutions_share_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    large = (2048, 2048, 1)
    assert matmul._tile(tuning.products("float32"), *large) == tuning.LARGE
    row = tuning.products("float32")._replace(large=((tuning.MEDIUM, 32),))
    monkeypatch.setitem(tuning.PRODUCTS, (HERE, "float32"), row)
    assert matmul._tile(tuning.products("float32"), *large) == tuning.MEDIUM
