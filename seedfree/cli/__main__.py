"""`python -m seedfree.cli`, where the command `seedfree` is not on the path."""

from __future__ import annotations

import sys

from seedfree.cli import main

__all__: list[str] = []

if __name__ == "__main__":
    sys.exit(main())
