"""What fails leaves nothing behind: no cycle keeps tensors alive until the collector runs."""

from __future__ import annotations

import subprocess
import sys

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


def test_a_cycle_is_seen() -> None:
    """The test can fail: an error that is kept by the frame it comes from."""
    case = "def case():\n    x = leaf()\n    try:\n        fail()\n    except ValueError as e:\n        kept = e\n    raise kept"
    assert left({"cycle": case}) == {"cycle": "leaves 3"}
