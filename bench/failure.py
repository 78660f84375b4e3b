"""What the user can put right: one line on stderr and exit status 2."""

from __future__ import annotations


class Failure(Exception):  # noqa: N818 - not a fault of the program
    """A wrong argument, file or environment; the message is one line."""
