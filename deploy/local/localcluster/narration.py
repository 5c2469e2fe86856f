"""The conversation with the person at the terminal: one line a step, with how long it took."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager


def say(text: str) -> None:
    """Print one line of conversation to stderr; stdout is for data."""
    print(text, file=sys.stderr, flush=True)


class Step:
    """A step, with what there is to say about its outcome."""

    def __init__(self, title: str) -> None:
        """Begin with a title; nothing noted yet."""
        self.title = title
        self.note = ""

    def says(self, note: str) -> None:
        """Take a few words on what was done, or on why nothing was."""
        self.note = note


@contextmanager
def step(title: str) -> Iterator[Step]:
    """Time a step and print it with its outcome; a failure propagates to the one place that reports it."""
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
