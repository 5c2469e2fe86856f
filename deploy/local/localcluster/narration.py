"""Progress messages on the terminal: one line per step, with its duration."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager


def say(text: str) -> None:
    """Print one progress message to stderr; stdout is for data."""
    print(text, file=sys.stderr, flush=True)


class Step:
    """A step, with a note on its outcome."""

    def __init__(self, title: str) -> None:
        """Start with a title and without a note."""
        self.title = title
        self.note = ""

    def says(self, note: str) -> None:
        """Set the note: the work that was done, or why there was none."""
        self.note = note


@contextmanager
def step(title: str) -> Iterator[Step]:
    """Print a step with its outcome and duration; errors propagate to the caller."""
    started = time.monotonic()
    current = Step(title)
    live = sys.stderr.isatty()
    if live:
        print(f"  … {title}", end="\r", file=sys.stderr, flush=True)
    try:
        yield current
    except BaseException:
        say(f"  ✗ {title} ({time.monotonic() - started:.1f} s)")
        raise
    note = f": {current.note}" if current.note else ""
    say(f"  ✓ {title}{note} ({time.monotonic() - started:.1f} s)")
