"""What LLVM holds: who frees it, and when."""

from __future__ import annotations

import subprocess
import sys

GARBAGE = """
import gc
from types import SimpleNamespace
from tilegrad.kernels.cpu.run import backend

gc.disable()
for number in range(100):
    text = f"define i64 @body{number}(i64 %x) {{\\n %y = add i64 %x, 1\\n ret i64 %y\\n}}"
    wrapper = "declare i64 @tilegrad_body(i64)\\ndefine i64 @entry(i64 %x) {\\n"
    wrapper += " %y = call i64 @tilegrad_body(i64 %x)\\n ret i64 %y\\n}"
    kernel = SimpleNamespace(texts=[text], symbol=f"body{number}", arithmetic=False)
    emit = backend.emitter(kernel, wrapper)
    if number % 2:
        assert emit()[1:4] == b"ELF"
    held = [emit]
    held.append(held)
    del emit, held
    if number % 10 == 9:
        gc.collect()
print("ended")
"""


def test_a_kernel_that_is_garbage_in_a_cycle() -> None:
    """As an error while it compiles leaves it: context and module may go in any order."""
    done = subprocess.run([sys.executable, "-c", GARBAGE], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "ended\n"), done.stderr
