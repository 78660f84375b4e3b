"""The documentation's site: its list of kernels is true, its links lead somewhere. CI builds it."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.conftest import ROOT

SITE = ROOT / "docs" / "site"
LISTED = json.loads((SITE / "kernels.json").read_text())


def _script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"site_{name}", SITE / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


build, record = _script("build"), _script("record")
REMEDY = "PYTHONPATH=.dev:. python docs/site/record.py writes docs/site/kernels.json anew"


def test_listed_kernels_exist() -> None:
    places = {p for row in LISTED.values() for side in row.values()
              for way in ("forward", "backward") for p in side.get(way, [])}  # fmt: skip
    lambdas = {p for p in places if "<" in p}
    gone = sorted(p for p in places - lambdas if not build.known(p))
    assert len(places) > 100
    assert gone == [], REMEDY


@pytest.mark.parametrize("side", record.SIDES)
@pytest.mark.parametrize(
    "given", [["nn.functional.log_softmax", "--table"], ["linalg.multi_dot"]], ids=lambda g: g[0]
)
def test_the_list_is_what_is_launched(side: str, given: list[str]) -> None:
    """A process of its own: a GPU on paper stays one."""
    done = subprocess.run(
        [sys.executable, SITE / "record.py", side, *given],
        capture_output=True, text=True, check=True, cwd=ROOT,
        env={"PYTHONPATH": f"{ROOT / '.dev'}:{ROOT}", "PATH": "/usr/bin:/bin", "HOME": str(Path.home())},
    )  # fmt: skip
    found = json.loads(done.stdout)
    assert found and all(LISTED[name][side] == row for name, row in found.items()), REMEDY


def test_pages_of_functions_and_kernels(tmp_path: Path) -> None:
    build.gather(tmp_path, "softmax")
    page = (tmp_path / "reference/nn.functional/softmax.md").read_text()
    for side in ("cpu", "cuda"):
        for place in LISTED["nn.functional.softmax"][side]["forward"]:
            if build.known(place):
                assert f"(#{build.anchor_of(place)})" in page
                source = (tmp_path / f"{build.section_of(place.split(':')[0])}.md").read_text()
                assert f"({build.anchor_of(place)})=" in source
    assert "softmax_rows" in page
    for fact in ("| shapes tried | `(", "| dtypes | float32, float64", "| devices | CPU, CUDA |", "| gradient | of operand 1, as ",
                 "| determinism | the same bits for one thread and for three", "| accuracy | held to ", "| tests | `tests/cases/"):  # fmt: skip
        assert fact in page
    index = (tmp_path / "index.md").read_text()
    assert "[reference](/reference.md)" in index and "[Benchmarks](/benchmarks.md)" in index


def test_links_out_of_the_tree() -> None:
    pages = {"cuda.md", "design/README.md"}
    text = "[a](cuda.md#x) [b](../design/README.md) [c](../engine/array.py) [d](../kernels/plans.py) [e](https://f)"
    made = build.rewritten(text, "docs", pages)
    assert (
        made
        == "[a](/cuda.md#x) [b](/design/README.md) c [d](/source/kernels/plans.md) [e](https://f)"
    )
