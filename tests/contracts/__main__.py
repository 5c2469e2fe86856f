"""Write the record: `python -m tests.contracts`."""

from __future__ import annotations

import sys

from tests.contracts.record import write

if __name__ == "__main__":
    for name in write():
        sys.stdout.write(f"{name} changed\n")
