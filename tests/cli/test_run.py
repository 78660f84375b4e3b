"""``import torch`` served from tilegrad, in processes of their own."""

from __future__ import annotations

import operator
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tilegrad.drop_in import TorchVersion

SCRIPT = """
import sys

import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.backends.cudnn as cudnn
from torch import optim
from torch.nn.modules.linear import Linear
from torch.optim.lr_scheduler import StepLR
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.data.dataloader import default_collate

cudnn.benchmark = True
assert __name__ == "__main__" and sys.argv[1:] == ["--epochs", "2"] and nn.Linear is Linear
torch.manual_seed(0)
device = torch.device("cuda" if torch.cuda.is_available() and False else "cpu")
x = torch.randn(32, 4)
data = DataLoader(TensorDataset(x, x.sum(1, keepdim=True)), batch_size=8, shuffle=True)


class Net(nn.Module):
    def __init__(self):
        super(Net, self).__init__()
        self.fc = nn.Linear(4, 1)

    def forward(self, x):
        return self.fc(x)


net = Net().to(device)
optimizer = optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
scheduler = StepLR(optimizer, 1, 0.9)
for epoch in range(8):
    for a, b in data:
        optimizer.zero_grad()
        loss = F.mse_loss(net(a.to(device)), b)
        loss.backward()
        optimizer.step()
    scheduler.step()
print(torch.__name__, loss.item() < 0.5)
"""


def _python(*words: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(ROOT / ".dev"), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": path, "TILEGRAD_QUIET": "1"},
    )  # fmt: skip


def test_a_script_runs_unchanged(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("import beside\n" + SCRIPT)
    (tmp_path / "beside.py").write_text("import torch\nassert torch.__name__ == 'tilegrad'\n")
    shown = _python("-m", "tilegrad", "run", str(tmp_path / "train.py"), "--epochs", "2")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout.split() == ["tilegrad", "True"]


def test_a_script_that_is_not_there_or_fails(tmp_path: Path) -> None:
    shown = _python("-m", "tilegrad", "run", str(tmp_path / "none.py"))
    assert shown.returncode == 2 and "no such script" in shown.stderr
    (tmp_path / "wrong.py").write_text("from torch.nn import Liner\n")
    shown = _python("-m", "tilegrad", "run", str(tmp_path / "wrong.py"))
    assert shown.returncode == 1
    assert "ImportError: tilegrad has no torch.nn.Liner; nearest: Linear" in shown.stderr
    assert _python("-m", "tilegrad", "run").returncode == 2


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("torch.zerso(3)", "AttributeError: tilegrad has no torch.zerso; nearest: zeros"),
        ("torch.nn.functional.rleu", "AttributeError: tilegrad has no torch.nn.functional.rleu; nearest: relu"),
        ("from torch import zerso", "ImportError: tilegrad has no torch.zerso; nearest: zeros"),
        ("from torch.special import expti", "ImportError: tilegrad has no torch.special.expti; nearest: expit"),
        ("torch.special.expti", "AttributeError: tilegrad has no torch.special.expti; nearest: expit"),
        ("import torch.nn.modlues", "ModuleNotFoundError: tilegrad has no module torch.nn.modlues; nearest: modules"),
        ("import torch.multiprocessing", "ModuleNotFoundError: tilegrad has no module torch.multiprocessing: one process"),
        ("torch.multiprocessing", "AttributeError: tilegrad has no torch.multiprocessing: one process"),
        ("assert not hasattr(torch, 'export'); 1 / 0", "ZeroDivisionError"),
        ("import pickle; pickle.loads(pickle.dumps(torch.nn.Linear(2, 3))); tilegrad.as_torch(); 1 / 0", "ZeroDivisionError"),
    ],
)  # fmt: skip
def test_what_is_not_there(code: str, says: str) -> None:
    shown = _python("-c", f"import tilegrad; tilegrad.as_torch(); import torch; {code}")
    assert says in shown.stderr.splitlines()[-1]


def test_pytorch_itself_is_in_the_way() -> None:
    shown = _python(
        "-c", "import sys; sys.modules['torch'] = sys; import tilegrad; tilegrad.as_torch()"
    )
    assert "RuntimeError: as_torch: PyTorch is imported already" in shown.stderr


def test_libraries_find_the_version_of_pytorch() -> None:
    import torch as pytorch

    release = str(pytorch.__version__).partition("+")[0]
    code = (
        "import tilegrad; own = tilegrad.__version__; tilegrad.as_torch(); import torch, torch.version, torch.torch_version\n"
        "found = {torch.__version__, torch.version.__version__, torch.torch_version.__version__}\n"
        "print(*found, own, *tilegrad.frozen.loading.versions().values())"
    )
    done = _python("-c", code.replace("print", "import tilegrad.frozen.loading\nprint"))
    found, own, kept = done.stdout.split()[:3]
    assert (found, kept) == (f"{release}+tilegrad.{own}", own), done.stderr


@pytest.mark.parametrize(
    "mine", ["2.13.0+cpu", "2.13.0", "2.2.1a0", "1.0.dev3", "2.1rc2", "no version"]
)
def test_versions_compare_as_in_pytorch(mine: str) -> None:
    from torch.torch_version import TorchVersion as Theirs

    for other in (
        "2.13", "2.13.0", "2.13.0+cpu", "2.13.0+cpu.2", "2.2", "2.2.1", "2.2.1b1", "1.8", "1.0", "1.0.dev2", "1.0a1", "2.1",
        "x", (1, 8), (2, 13), (2, 13, 0), (3,), [2, 2], ("2", "1"), 2, None,
    ):  # fmt: skip
        for how in (operator.eq, operator.lt, operator.le, operator.gt, operator.ge):
            told = []
            for kind in (TorchVersion, Theirs):
                try:
                    told.append(how(kind(mine), other))
                except TypeError:
                    told.append(TypeError)
            assert told[0] == told[1], (mine, how, other)
    assert hash(TorchVersion(mine)) == hash(mine)
