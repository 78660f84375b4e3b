"""Scripts of which the imports alone were changed: with PyTorch's imports they learn the same, loss by loss."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from tests.conftest import ROOT

FOLDER = ROOT / "examples" / "ported"
IMPORT = re.compile(r"^(?:import|from) tilegrad\b.*$", re.M)

# script, its model, options of a short run, how many losses it has at least
SCRIPTS = (
    ("convnet", "Net", ["--epochs", "1"], 23),
    ("vae", "VAE", ["--epochs", "2"], 30),
    ("actor_critic", "Policy", ["--episodes", "6"], 6),
)  # fmt: skip


def as_written_for_torch(text: str) -> str:
    """The script with PyTorch's imports."""

    def line(found: re.Match[str]) -> str:
        return (
            found[0]
            .replace("import tilegrad as torch", "import torch")
            .replace("tilegrad", "torch")
        )

    return IMPORT.sub(line, text)


def loaded(text: str, name: str) -> ModuleType:
    module = ModuleType(name)
    exec(compile(text, name, "exec"), module.__dict__)
    return module


class Numbers:
    """One stream of random numbers, in place of either library's own."""

    def __init__(self, library: Any):
        self.library, self.rng = library, np.random.default_rng(0)

    def array(self, values: Any, dtype: str) -> Any:
        return self.library.from_numpy(np.ascontiguousarray(values, dtype))

    def patch(self, patch: pytest.MonkeyPatch, module: ModuleType, model: str) -> None:
        """Parameters, shuffles, noise, dropout and actions."""
        rng, library = self.rng, self.library
        made = getattr(module, model)
        first = made.__init__

        def begin(this: Any) -> None:
            first(this)
            with library.no_grad():
                for p in this.parameters():
                    bound = 1 / max(np.prod(p.shape[1:]), 1) ** 0.5
                    p.copy_(self.array(rng.uniform(-bound, bound, p.shape), "f4"))

        def drop(this: Any, x: Any) -> Any:
            kept = (rng.random(tuple(x.shape)) >= this.p) / (1 - this.p)
            return x * self.array(kept, "f4") if this.training else x

        def shuffled(this: Any) -> Iterator[int]:
            return iter(rng.permutation(len(this.data_source)).tolist())

        def action(this: Any) -> Any:
            above = rng.random() < this.probs.detach().numpy().cumsum()
            return self.array(above.argmax(), "i8")

        patch.setattr(made, "__init__", begin)
        patch.setattr(library.cuda, "is_available", lambda: False)  # a simulated GPU is slow
        patch.setattr(library.nn.Dropout, "forward", drop)
        patch.setattr(library.utils.data.RandomSampler, "__iter__", shuffled)
        patch.setattr(library.distributions.Categorical, "sample", action)
        patch.setattr(library, "randn_like", lambda x: self.array(rng.normal(size=x.shape), "f4"))


def run(library: Any, text: str, model: str, options: list[str]) -> list[float]:
    with pytest.MonkeyPatch.context() as patch:
        module = loaded(text, f"{model}_{library.__name__}")
        Numbers(library).patch(patch, module, model)
        found: list[float] = module.main(options)
        return found


@pytest.mark.parametrize(("script", "model", "options", "count"), SCRIPTS, ids=lambda v: str(v))
def test_losses_are_pytorchs(
    script: str, model: str, options: list[str], count: int, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    import torch

    import tilegrad

    monkeypatch.chdir(tmp_path)
    ours = (FOLDER / f"{script}.py").read_text()
    theirs = as_written_for_torch(ours)
    pairs = zip(ours.splitlines(), theirs.splitlines(), strict=True)
    changed = [(a, b) for a, b in pairs if a != b]
    assert changed and all(a.startswith(("import ", "from ")) for a, _ in changed)
    assert "tilegrad" not in theirs
    found, wanted = run(tilegrad, ours, model, options), run(torch, theirs, model, options)
    assert len(found) == len(wanted) >= count
    # float32 sums in another order, and optimizers that divide by small roots, part them slowly
    np.testing.assert_allclose(found, wanted, rtol=2e-3, atol=2e-3)
    np.testing.assert_allclose(found[:5], wanted[:5], rtol=1e-5, atol=1e-5)


def test_every_script_is_compared() -> None:
    scripts = {path.stem for path in FOLDER.glob("[!_]*.py")}
    assert scripts == {name for name, *_ in SCRIPTS}
