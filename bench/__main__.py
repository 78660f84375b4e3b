"""``python -m bench``: the table; against, scaling, memory, compile, blas and report are its other commands."""

from __future__ import annotations

import argparse
import importlib
import sys

COMMANDS = {
    "table": "bench.table",
    "against": "bench.against",
    "scaling": "bench.scaling",
    "memory": "bench.memory",
    "compile": "bench.compiling",
    "blas": "bench.blas",
    "report": "bench.report",
}


def main(arguments: list[str]) -> int:
    """Run the command that is named first, else the table."""
    name = arguments.pop(0) if arguments and arguments[0] in COMMANDS else "table"
    module = importlib.import_module(COMMANDS[name])
    program = "python -m bench" + (f" {name}" if name != "table" else "")
    parser = argparse.ArgumentParser(
        prog=program,
        description=module.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    module.add_arguments(parser)
    status: int = module.run(parser.parse_args(arguments))
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
