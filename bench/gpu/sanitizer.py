"""A small pass over all kinds of kernels under compute-sanitizer: memcheck, racecheck, initcheck."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

TOOLS = ("memcheck", "racecheck", "initcheck")
SECONDS = 22


def small_pass() -> None:
    """One call of each family and its gradient, at awkward sizes."""
    import numpy as np

    import tilegrad
    import tilegrad.nn.functional as F

    rng = np.random.default_rng(0)

    def tensor(*shape: int) -> Any:
        values = rng.standard_normal(shape).astype("f4")
        return tilegrad.from_numpy(values).to("cuda").requires_grad_()

    labels = tilegrad.from_numpy(rng.integers(0, 33, 31)).to("cuda")
    x, image = tensor(31, 33), tensor(2, 3, 13, 11)
    results = [
        (x * x.sigmoid()).sum(0), x @ tensor(33, 130), F.softmax(x, 1), F.layer_norm(x, (33,)),
        F.cross_entropy(x, labels), x.cumsum(1), tilegrad.sort(x, 1).values, x.t().contiguous(),
        tilegrad.topk(x, 5).values, F.embedding(labels, x), F.dropout(x),
        F.conv2d(image, tensor(5, 3, 3, 3), tensor(5), padding=1), F.max_pool2d(image, 2),
        F.avg_pool2d(image, 3, 2), F.conv2d(image, tensor(3, 1, 3, 3), groups=3),
        F.batch_norm(image, None, None, training=True),
    ]  # fmt: skip
    total = results[0].sum()
    for result in results[1:]:
        total = total + (result * result).sum()
    total.backward()
    optimizer = tilegrad.optim.Adam([x, image])
    optimizer.step()
    tilegrad.cuda.synchronize()


def main() -> None:
    """Run the pass under every tool."""
    if sys.argv[1] == "pass":
        small_pass()
        return
    small_pass()  # so that every kernel comes from the disk when the tools watch
    program = shutil.which("compute-sanitizer") or next(
        iter(sorted(map(str, Path("/usr/local").glob("cuda*/bin/compute-sanitizer")))), None
    )
    result: dict[str, Any] = {"program": program, "tools": {}}
    failed = []
    for tool in TOOLS if program else ():
        command = [
            str(program),
            "--tool",
            tool,
            sys.executable,
            "-m",
            "bench.gpu.sanitizer",
            "pass",
        ]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=SECONDS, check=False
            )
            text = done.stdout + done.stderr
            summary = re.findall(r"(?:ERROR SUMMARY|RACECHECK SUMMARY): (.*)", text)
            found = summary[-1] if summary else f"no summary, exit status {done.returncode}"
            lines = [line for line in text.splitlines() if line.startswith("=========")][:40]
        except subprocess.TimeoutExpired:
            found, lines = f"not done after {SECONDS} s", []
        result["tools"][tool] = found
        if not re.match(r"0 (errors|hazards)", found):
            failed.append(f"{tool}: {found}")
            result.setdefault("details", {})[tool] = lines
    if program is None:
        result["note"] = "compute-sanitizer is not installed here"
    result["failed"] = failed
    Path(sys.argv[1]).write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
