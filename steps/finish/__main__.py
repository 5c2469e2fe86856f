"""Entry point: `python -m steps.finish`."""

from steps.context import start
from steps.finish.finish import run

if __name__ == "__main__":
    start(run)
