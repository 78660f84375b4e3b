"""Compile every kernel that the other stages need, in as many processes as there are processors.

Each process plans a share of the calls on paper, with no GPU, and compiles what they ask for and no
other has taken. What is planned: the tests' table of ops, the large calls, the sanitizer's pass, the
calls and training steps that are timed. The other stages find the kernels on disk.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from tests.emulator.families import FAMILIES, Operand
from tilegrad.bench.gpu.pool import Writer, chosen, processes, quick

MINOR_SHARE = {"cases": 8, "families": 5}  # of a short run; as the stages choose


def _empty(operand: Operand) -> Any:
    import tilegrad

    dtypes = {"f": tilegrad.float32, "i": tilegrad.int64, "b": tilegrad.bool}
    return tilegrad.empty(operand.shape, dtype=dtypes[operand.kind], device="cuda")


def _family(call: Any, operands: tuple[Operand, ...], grad: bool) -> None:
    import tilegrad

    given = [_empty(operand) for operand in operands]
    for x in given if grad else []:
        if x.is_floating_point():
            x.requires_grad_()
    outs = call(tilegrad, *given)
    first = outs[0] if isinstance(outs, tuple) else outs
    if grad:
        first.backward(tilegrad.empty_like(first))


def _timed() -> Iterator[tuple[str, Any]]:
    """The calls of the speed stage, and the sanitizer's pass."""
    from tilegrad.bench import steps
    from tilegrad.bench.gpu import sanitizer, speed

    yield "sanitizer", sanitizer.small_pass
    for name, function, shapes, grad in speed.calls():
        operands = tuple(Operand(shape) for shape in shapes)
        yield name, partial(_family, function, operands, grad)
    for name, step in steps.STEPS.items():
        yield name, lambda step=step: step.prepare("tilegrad", device="cuda").call()


def plans() -> list[tuple[str, Any]]:
    """(name, what plans it on a survey) of all there is, in the order of the stages."""
    from tests.assembly.assembler import Survey, plans as rows

    found = [row for row in rows() if chosen(row[0], MINOR_SHARE["cases"])]
    for f in FAMILIES:
        if chosen(f.name, MINOR_SHARE["families"]) and f.large:
            call = partial(_family, f.call, f.large, f.grad)
            found.append((f.name, partial(Survey.run, name=f.name, call=call)))
    for name, call in _timed() if not quick() else []:
        found.append((name, partial(Survey.run, name=name, call=call)))
    return found


def share(part: int, parts: int, arch: tuple[int, int], claims: Path) -> None:
    """Plan every ``parts``-th call and compile what is asked for; a line of JSON for each kernel.

    ``claims`` is a folder that all processes share: who makes a kernel's file there, makes it.
    """
    from tests.assembly.assembler import Survey
    from tilegrad.kernels.cuda.run import jit

    survey = Survey()
    for _, plan in plans()[part::parts]:
        known = len(jit.kernels_built)
        plan(survey)
        for factory, variant in jit.kernels_built[known:]:
            try:
                (claims / factory.kept_as(variant, arch)).touch(exist_ok=False)
            except FileExistsError:
                continue
            fault = None
            try:
                factory.keep(variant, arch)
            except Exception as error:
                fault = f"{factory.name(variant)}: {type(error).__name__}: {str(error)[:200]}"
            print(json.dumps({"fault": fault}), flush=True)
    print(json.dumps({"done": True}), flush=True)


def shared_out(arch: tuple[int, int], parts: int, deadline: float, write: Any) -> dict[str, Any]:
    """Run the shares and collect what they say, until all are done or time is up."""
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-W", "ignore", "-m", "tilegrad.bench.gpu.build", "share"]
        logs = [Path(folder) / f"{k}.jsonl" for k in range(parts)]
        (Path(folder) / "claims").mkdir()
        running = []
        for k, log in enumerate(logs):
            rest = [str(k), str(parts), *map(str, arch), str(Path(folder) / "claims")]
            with log.open("w") as file:
                running.append(subprocess.Popen([*command, *rest], stdout=file))
        while True:
            alive = [process for process in running if process.poll() is None]
            if time.perf_counter() > deadline:
                for process in alive:
                    process.kill()
                    process.wait()
                alive = []
            said = [_lines(log) for log in logs]
            failed = [s["fault"] for lines in said for s in lines if s.get("fault")]
            if not alive:
                late = [k for k, lines in enumerate(said) if not any("done" in s for s in lines)]
                failed += [
                    f"share {k}: not done, exit status {running[k].returncode}" for k in late
                ]
            result = {
                "kernels": sum("fault" in s for lines in said for s in lines),
                "failed": failed,
                "processes": parts,
                "wall_seconds": round(time.perf_counter() - start, 1),
            }
            write(result, now=not alive)
            if not alive:
                return result
            time.sleep(0.2)


def _lines(log: Path) -> list[dict[str, Any]]:
    """The whole lines of a share's output so far."""
    return [json.loads(line) for line in log.read_text().split("\n")[:-1]]


def main() -> None:
    """The stage, or one share of it."""
    if sys.argv[1] == "share":
        part, parts, major, minor = map(int, sys.argv[2:6])
        share(part, parts, (major, minor), Path(sys.argv[6]))
        return
    import tilegrad

    arch = tilegrad.cuda.get_device_capability()
    deadline = time.perf_counter() + float(sys.argv[2]) - 2
    shared_out(arch, processes(), deadline, Writer(Path(sys.argv[1])))


if __name__ == "__main__":
    main()
