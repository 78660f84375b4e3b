"""ONNX's own backend node tests (they come in its wheel), run on tilegrad.

``python -m tests.onnx.node_tests`` runs them all and writes docs/onnx_operators.md anew; ``-k NAME`` some, and says
what is wrong.
"""

from __future__ import annotations

import argparse
import collections
import sys
import warnings
from functools import lru_cache
from typing import Any

import numpy as np
import onnx

from tests.conftest import ROOT
from tilegrad.autograd.mode import no_grad
from tilegrad.autograd.tensor import Tensor
from tilegrad.onnx.loading import prepare

PAGE = ROOT / "docs/onnx_operators.md"
RANDOM = ("bernoulli", "random", "dropout_random", "training_dropout", "randomuniform")


@lru_cache(maxsize=1)
def cases() -> list[Any]:
    """All node tests, by name."""
    from onnx.backend.test.loader import load_model_tests

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        found = load_model_tests(kind="node")
    return sorted(found, key=lambda case: case.name)


def _array(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach().contiguous().numpy()
    if isinstance(value, list):
        return [_array(v) for v in value]
    return value


def _given(value: Any) -> Any:
    if isinstance(value, onnx.TensorProto):
        return onnx.numpy_helper.to_array(value)
    if isinstance(value, onnx.SequenceProto):
        return onnx.numpy_helper.to_list(value)
    if isinstance(value, onnx.OptionalProto):
        return onnx.numpy_helper.to_optional(value)
    return value


def _compare(found: Any, wanted: Any, case: Any, name: str) -> None:
    if isinstance(wanted, (list, tuple)):
        assert isinstance(found, list) and len(found) == len(wanted), "a sequence of another length"
        for a, b in zip(found, wanted, strict=True):
            _compare(a, b, case, name)
        return
    if wanted is None:
        assert found is None
        return
    wanted = np.asarray(wanted)
    assert found.dtype == wanted.dtype, f"dtype {found.dtype}, {wanted.dtype} expected"
    assert found.shape == wanted.shape, f"shape {found.shape}, {wanted.shape} expected"
    np.testing.assert_allclose(
        found, wanted, rtol=case.rtol, atol=max(case.atol, 1e-6), err_msg=name
    )


def run(case: Any) -> str:
    """What is wrong with a test on tilegrad; "" where it passes."""
    try:
        with no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = prepare(case.model)
            for inputs, outputs in case.data_sets:
                given = dict(
                    zip([i.name for i in case.model.graph.input], map(_given, inputs), strict=False)
                )
                made = model(**given)
                made = made if len(outputs) > 1 else (made,)
                for name, a, b in zip(model.output_names, made, outputs, strict=True):
                    _compare(_array(a), _given(b), case, name)
    except Exception as error:
        return " ".join(str(error).split())[:200] or type(error).__name__
    return ""


def reason(case: Any, said: str) -> str:
    """A line for the page: why a test does not pass."""
    if "element type" in said:
        return "element type " + said.split("element type ")[1].split()[0]
    if "does not hold" in said or "dtype must be one of" in said or "from_numpy" in said:
        return "an element type that tilegrad lacks"
    if any(word in case.name for word in RANDOM):
        return "draws random numbers: any are right, and ONNX's own runner compares none"
    for mark in ("is not supported", "is not known"):
        if mark in said:
            return said.removeprefix("load: ")
    return said.removeprefix("load: ")


def page(failed: dict[str, str], total: int) -> str:
    """The page of what does not pass, by reason."""
    by_reason = collections.defaultdict(list)
    for name, why in failed.items():
        by_reason[why].append(name.removeprefix("test_"))
    lines = [
        "# ONNX's node tests", "",
        "Made by `python -m tests.onnx.node_tests`; `tests/onnx/test_loading_nodes.py` holds it.", "",
        f"ONNX {onnx.__version__} has {total} backend node tests. {total - len(failed)} pass on tilegrad. The others, by what",
        "they lack here:", "", "| reason | tests |", "| --- | --- |",
    ]  # fmt: skip
    for why, names in sorted(by_reason.items(), key=lambda item: (-len(item[1]), item[0])):
        lines.append(f"| {why.replace('|', '/')} ({len(names)}) | {', '.join(sorted(names))} |")
    return "\n".join(lines) + "\n"


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.onnx.node_tests")
    parser.add_argument("-k", default="", help="tests whose name holds this")
    parser.add_argument("--write", action="store_true", help="write docs/onnx_operators.md")
    options = parser.parse_args(argv)
    chosen = [c for c in cases() if options.k in c.name]
    failed = {}
    for case in chosen:
        said = run(case)
        if said:
            failed[case.name] = reason(case, said)
            print(f"{case.name}: {said}")
    print(f"{len(chosen) - len(failed)} of {len(chosen)} pass")
    if options.write:
        PAGE.write_text(page(failed, len(chosen)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
