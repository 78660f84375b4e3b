"""``python -m bench`` in a clone: `tilegrad bench`."""

from __future__ import annotations

import sys

from tilegrad.__main__ import main

if __name__ == "__main__":
    sys.exit(main(["bench", *sys.argv[1:]]))
