"""What fails leaves nothing behind: no cycle keeps tensors alive until the collector runs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT

# a process of its own, its collector off; ``seen`` gets weak references to all that a case makes
BEGIN = """
import gc, weakref
gc.disable()
import tilegrad as t
seen = []
def keep(*tensors):
    seen.extend(weakref.ref(v) for v in tensors)
    return tensors[0]
def leaf():
    return keep(t.ones(64, 64, requires_grad=True))
class Bad(t.autograd.Function):
    raised = ValueError
    at = "backward"
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        if Bad.at == "forward":
            raise Bad.raised("forward")
        return x * 2
    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        raise Bad.raised("backward")
def fail(*args):
    raise ValueError("hook")
"""
END = """
for name, source in cases.items():
    seen.clear()
    Bad.raised, Bad.at = ValueError, "backward"
    exec(source, globals())
    for _ in range(3):
        try:
            case()
        except (ValueError, RuntimeError, IndexError, KeyboardInterrupt):
            pass
        else:
            print(name, "raised nothing")
    alive = sum(r() is not None for r in seen)
    print(name, "leaves", alive if seen else "no tensor at all")
"""
CASES = {
    "op": "def case():\n    y = keep(leaf().exp())\n    keep(y * 2) + t.ones(3)",
    "index": "def case():\n    y = keep(leaf().exp())\n    y[t.tensor([99])]",
    "inference": "with t.inference_mode():\n    x = t.ones(64, 64)\ndef case():\n    leaf() * x",
    "in_place": "def case():\n    leaf().add_(1)",
    "second_backward": "def case():\n    y = keep((leaf().exp() * 2).sum())\n    y.backward()\n    y.backward()",
    "modified": "def case():\n    y = keep(leaf().exp())\n    z = keep(y.sum())\n    y.add_(1)\n    z.backward()",
    "forward": "Bad.at = 'forward'\ndef case():\n    Bad.apply(keep(leaf() * 2))",
    "backward": "def case():\n    y = keep(Bad.apply(keep(leaf() * 2)))\n    keep(y.sum()).backward()",
    "interrupted": "Bad.raised = KeyboardInterrupt\ndef case():\n    keep(Bad.apply(leaf()).sum()).backward()",
    "create_graph": "def case():\n    x = leaf()\n    t.autograd.grad(keep(Bad.apply(keep(x * 2)).sum()), x, create_graph=True)",
    "tensor_hook": "def case():\n    y = keep(leaf() * 2)\n    y.register_hook(fail)\n    keep(y.sum()).backward()",
    "leaf_hook": "def case():\n    x = leaf()\n    x.register_hook(fail)\n    keep((x * 2).sum()).backward()",
    "node_hook": "def case():\n    y = keep(leaf() * 2)\n    y.grad_fn.register_hook(fail)\n    keep(y.sum()).backward()",
    "loader": (
        "class Data(t.data.Dataset):\n    def __len__(self):\n        return 4\n"
        "    def __getitem__(self, i):\n        if i == 2:\n            raise ValueError('item')\n"
        "        return keep(t.ones(8))\n"
        "def case():\n    for batch in t.data.DataLoader(Data(), batch_size=2):\n        keep(batch)"
    ),
}  # fmt: skip


def left(cases: dict[str, str]) -> dict[str, str]:
    """What each of the cases prints, run in a process of its own."""
    script = f"{BEGIN}\ncases = {cases!r}\n{END}"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return dict(line.split(" ", 1) for line in done.stdout.splitlines())


def test_nothing_outlives_an_error() -> None:
    """Every tensor dies with the last frame that names it."""
    assert left(CASES) == dict.fromkeys(CASES, "leaves 0")


NUMBERS = {
    "correction": "t.std(x, 0, correction=keep(t.tensor(1.0)))",
    "dim": "t.stack([x, x], keep(t.tensor(2)))",
    "dims": "x.permute(keep(t.tensor(1)), 0)",
    "size": "t.broadcast_to(x, (keep(t.tensor(2)), 4, 3))",
    "place": "x.select(0, keep(t.tensor(1)))",
    "repeats": "x.repeat(keep(t.tensor(2)), 1)",
    "shape": "x.reshape(keep(t.tensor(2)), 6)",
}


def test_no_plan_keeps_a_tensor_that_is_a_number() -> None:
    cases = {n: f"def case():\n    x = t.ones(4, 3)\n    {call}" for n, call in NUMBERS.items()}
    assert left(cases) == dict.fromkeys(cases, "leaves 0")


def test_a_cycle_is_seen() -> None:
    """The test can fail: an error that is kept by the frame it comes from."""
    case = "def case():\n    x = leaf()\n    try:\n        fail()\n    except ValueError as e:\n        kept = e\n    raise kept"
    assert left({"cycle": case}) == {"cycle": "leaves 3"}


WORKERS = """
import gc, os, signal, threading, time, weakref
gc.disable()
import tilegrad as t

class Data(t.data.Dataset):
    def __init__(self, end):
        self.end, self.parent = end, os.getpid()
    def __len__(self):
        return 64
    def __getitem__(self, i):
        if i == 40 and self.end == "error":
            raise ValueError("item")
        if i == 40 and self.end == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if i == 40 and self.end == "interrupted":
            os.kill(self.parent, signal.SIGINT)
            time.sleep(0.5)
        return t.full((1000,), float(i))

def children():
    parents = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            words = open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()
        except OSError:
            continue
        if words[0] != "Z":
            parents[int(pid)] = int(words[1])
    found = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found

def shared():
    return sum("memfd" in os.readlink(f"/proc/self/fd/{n}") for n in os.listdir("/proc/self/fd")
               if os.path.lexists(f"/proc/self/fd/{n}"))

seen = []
def case(end):
    for batch in t.data.DataLoader(Data(end), batch_size=4, num_workers=2):
        seen.append(weakref.ref(batch))
        if end == "break" and batch[0, 0].item() >= 40:
            raise ValueError("left")

def left(end):
    seen.clear()
    try:
        case(end)
    except (ValueError, RuntimeError, KeyboardInterrupt) as error:
        said = type(error).__name__
    end = time.time() + 20
    while children() - server and time.time() < end:
        time.sleep(0.05)
    return said, len(seen) > 0, sum(r() is not None for r in seen), len(children() - server)

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a parent in the background ignores it
    server = set()
    try:
        case("break")
    except ValueError:
        time.sleep(2)
        server = children()  # what is made once: a process that workers are forked from
    for end in ("error", "killed", "interrupted", "break"):
        before = shared(), threading.active_count()
        first, second = left(end), left(end)
        print(end, *second, shared() - before[0], threading.active_count() - before[1])
"""


def test_nothing_outlives_a_loader_with_workers(tmp_path: Path) -> None:
    """An error in a worker, one that is killed, Ctrl-C and a loop that is left: no batch, no process, no
    shared memory, no thread is left behind.
    """
    file = tmp_path / "workers.py"
    file.write_text(WORKERS)
    done = subprocess.run(
        [sys.executable, str(file)], capture_output=True, text=True, check=False, timeout=240,
        env={**os.environ, "PYTHONPATH": str(ROOT / ".dev")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    names = {
        "error": "ValueError",
        "killed": "RuntimeError",
        "interrupted": "KeyboardInterrupt",
        "break": "ValueError",
    }
    for end, said in names.items():
        kind, some, alive, processes, files, threads = lines[end].split()
        assert kind == said and some == "True", lines[end]
        assert (alive, processes, files, threads) == ("0", "0", "0", "0"), f"{end}: {lines[end]}"
