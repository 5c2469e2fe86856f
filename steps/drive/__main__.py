"""Entry point: `python -m steps.drive`."""

from steps.context import start
from steps.drive.driver import run

if __name__ == "__main__":
    start(run, ("wave", "attempt"))
