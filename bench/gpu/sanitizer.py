"""A small pass over all kinds of kernels under compute-sanitizer: memcheck, racecheck, initcheck at
once.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tilegrad.bench.gpu.pool import Writer, quick

TOOLS = ("memcheck", "racecheck", "initcheck")
PRINTED = 1000  # reports of a tool that it prints

# calls of the driver that fail by design: the bindings ask for functions that the driver may lack
FOREIGN = ("cuGetProcAddress",)
_HEAD = re.compile(r"^========= (?! )(.+)$")
_NO_REPORT = (
    "COMPUTE-SANITIZER",
    "ERROR SUMMARY",
    "RACECHECK SUMMARY",
    "LEAK SUMMARY",
    "Target app",
)


def small_pass() -> None:
    """One call of each family and its gradient, at awkward sizes."""
    import numpy as np

    import tilegrad
    import tilegrad.nn.functional as F

    rng = np.random.default_rng(0)

    def tensor(*shape: int) -> Any:
        values = rng.standard_normal(shape).astype("f4")
        return tilegrad.from_numpy(values).to("cuda").requires_grad_()

    classes, (rows, columns) = 33, (31, 33)
    labels = tilegrad.from_numpy(rng.integers(0, classes, rows)).to("cuda")
    x, image = tensor(rows, columns), tensor(2, 3, 13, 11)
    results = [
        (x * x.sigmoid()).sum(0), x @ tensor(columns, 130), F.softmax(x, 1),
        F.layer_norm(x, (columns,)), F.cross_entropy(x, labels), x.cumsum(1),
        tilegrad.sort(x, 1).values, x.t().contiguous(), tilegrad.topk(x, 5).values,
        tilegrad.topk(tensor(3, 4096), 16).values, F.embedding(labels, tensor(classes, 7)),
        F.dropout(x), F.conv2d(image, tensor(5, 3, 3, 3), tensor(5), padding=1),
        F.max_pool2d(image, 2), F.avg_pool2d(image, 3, 2),
        F.conv2d(image, tensor(3, 1, 3, 3), groups=3),
        F.batch_norm(image, None, None, training=True),
    ]  # fmt: skip
    total = results[0].sum()
    for result in results[1:]:
        total = total + (result * result).sum()
    total.backward()
    optimizer = tilegrad.optim.Adam([x, image])
    optimizer.step()
    tilegrad.cuda.synchronize()


@dataclass
class Reading:
    """What a tool's output says.

    Attributes:
        summary: its last line, or why there is none.
        ours: reports in all, less the foreign ones, by name.
        lines: of our reports, the first ones.
    """

    summary: str
    ours: int
    foreign: dict[str, int] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)


def read(text: str, status: int) -> Reading:
    """The reading of a tool's output."""
    summary = re.findall(r"(?:ERROR SUMMARY|RACECHECK SUMMARY): (.*)", text)
    made = Reading(summary[-1] if summary else f"no summary, exit status {status}", 0)
    counted = re.match(r"(\d+)", made.summary)
    ours = False
    for line in text.splitlines():
        head = _HEAD.match(line)
        if head and not head[1].startswith(_NO_REPORT):
            name = next((name for name in FOREIGN if name in head[1]), None)
            ours = name is None
            if name:
                made.foreign[name] = made.foreign.get(name, 0) + 1
        if ours and line.startswith("=========") and len(made.lines) < 40:
            made.lines.append(line)
    made.ours = (int(counted[1]) if counted else 1) - sum(made.foreign.values())
    if status and made.ours <= 0:
        made.ours, made.summary = 1, f"{made.summary}; exit status {status}"
    return made


def _watched(program: str, tool: str, seconds: float) -> Reading:
    command = [program, "--tool", tool, "--print-limit", str(PRINTED), sys.executable]
    command += ["-m", "tilegrad.bench.gpu.sanitizer", "pass"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        return Reading(f"not done after {seconds:.0f} s", 1)
    print(done.stdout, done.stderr, flush=True)
    return read(done.stdout + done.stderr, done.returncode)


def main() -> None:
    """Run the pass under every tool."""
    if sys.argv[1] == "pass":
        small_pass()
        return
    deadline = time.perf_counter() + float(sys.argv[2]) - 2
    write, failed = Writer(Path(sys.argv[1])), list[str]()
    program = shutil.which("compute-sanitizer") or next(
        iter(sorted(map(str, Path("/usr/local").glob("cuda*/bin/compute-sanitizer")))), None
    )
    result: dict[str, Any] = {"program": program, "tools": {}, "foreign": {}, "failed": failed}
    small_pass()  # so that every kernel comes from the disk when the tools watch
    tools = TOOLS[:1] if quick() else TOOLS
    if program is None:
        result["note"] = "compute-sanitizer is not installed here"
        write(result, now=True)
        return
    with ThreadPoolExecutor(len(tools)) as threads:
        waiting = {
            tool: threads.submit(_watched, program, tool, deadline - time.perf_counter())
            for tool in tools
        }
        for tool, coming in waiting.items():
            found = coming.result()
            result["tools"][tool] = found.summary
            result["foreign"][tool] = found.foreign
            if found.ours:
                failed.append(f"{tool}: {found.ours} of ours: {found.summary}")
                result.setdefault("details", {})[tool] = found.lines
            write(result, now=True)


if __name__ == "__main__":
    main()
