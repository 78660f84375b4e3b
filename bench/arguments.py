"""The commands of `tilegrad bench`, and how each begins and ends."""

from __future__ import annotations

import argparse
import importlib
import sys
from typing import NoReturn

from tilegrad.bench.failure import Failure

PROGRAM = "tilegrad bench"

# command -> (its module, what it says)
COMMANDS = {
    "list": ("listing", "the ops, areas and trainings that can be measured"),
    "run": ("running", "chosen areas or ops, at chosen sizes"),
    "compare": ("comparing", "two runs: what is slower, beyond the noise?"),
    "user": ("user", "an op of your own, MODULE:OP"),
    "table": ("table", "each area's rows against PyTorch and NumPy, and against the area's marks"),
    "against": ("against", "this tree against another revision: is anything slower?"),
    "scaling": ("scaling", "what more threads bring"),
    "memory": ("memory", "peak memory of training steps"),
    "compile": ("compiling", "seconds to compile and to load each kernel, and first ops"),
    "blas": ("blas", "matrix products against NumPy's BLAS"),
    "roofline": ("roofline", "how fast this machine copies and multiplies; or kernels on paper"),
    "report": ("report", "report.html of a run, or results as Markdown"),
}
DEFAULT = "headline"


class Parser(argparse.ArgumentParser):
    """Errors are one line, without the usage."""

    def error(self, message: str) -> NoReturn:
        """Exit status 2."""
        print(f"{self.prog}: error: {message}", file=sys.stderr)
        sys.exit(2)


def main(words: list[str]) -> int:
    """Run the command that is named first, else the default one, with the words after it.

    Returns:
        The exit status: the command's own, or 2 after one line on stderr about what the user can put right.
    """
    if words[:1] in (["-h"], ["--help"]):
        print(_overview())
    name = words[0] if words and not words[0].startswith("-") else ""
    if name and name not in COMMANDS:
        there = ", ".join(COMMANDS)
        print(f"{PROGRAM}: error: no command {name!r}; there are {there}", file=sys.stderr)
        return 2
    program = f"{PROGRAM} {name}".strip()
    try:
        return _run(name or DEFAULT, program, words[bool(name) :])
    except Failure as failure:
        print(f"{program}: error: {failure}", file=sys.stderr)
        return 2


def _run(name: str, program: str, words: list[str]) -> int:
    try:
        module = importlib.import_module(f"tilegrad.bench.{COMMANDS.get(name, (name,))[0]}")
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in ("", "tilegrad"):
            raise
        raise Failure(f"{package} is not installed; pip install 'tilegrad[bench]'") from None
    parser = Parser(
        prog=program,
        description=module.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    module.add_arguments(parser)
    status: int = module.run(parser.parse_args(words))
    return status


def _overview() -> str:
    lines = [
        f"usage: {PROGRAM} [COMMAND] [OPTION…]",
        "",
        f"{PROGRAM} COMMAND --help has the options of:",
    ]
    lines += [f"  {name:10}{says}" for name, (_, says) in COMMANDS.items()]
    return "\n".join(
        [
            *lines,
            "",
            f"without a command: CPU against GPU, per op and per training; {PROGRAM} --quick takes two minutes",
        ]
    )
