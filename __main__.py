"""The `tilegrad` command line."""

from __future__ import annotations

import sys

from tilegrad.cli.arguments import parse
from tilegrad.cli.failure import Failure
from tilegrad.kernels.faults import SettingError


def main(argv: list[str] | None = None) -> int:
    """Run the command that ``argv`` (default: the process's arguments) names.

    Returns:
        The exit status: the command's own, else 0, or 2 after one line on stderr about what the user can put right.
    """
    arguments = parse(argv)
    try:
        status = arguments.run(arguments)
    except Failure as failure:
        print(f"tilegrad {arguments.command}: error: {failure}", file=sys.stderr)
        return 2
    except SettingError as error:
        print(f"tilegrad: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"\ntilegrad {arguments.command}: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output has gone
        sys.stderr.close()
        return 1
    return status or 0


if __name__ == "__main__":
    sys.exit(main())
