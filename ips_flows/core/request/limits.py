"""The limits of a request. No third-party import, because help pages and steps load this module."""

from __future__ import annotations

from typing import NamedTuple


class Range(NamedTuple):
    """The lowest and the highest value that a field may have."""

    low: int
    high: int

    def __str__(self) -> str:
        return f"{self.low} to {self.high}"

    @property
    def short(self) -> str:
        """The range as flags and forms show it: `1-10`."""
        return f"{self.low}-{self.high}"


MAX_BYTES = 1024 * 1024  # of the text of a request
# Argo stores a Workflow's arguments twice, in an object that must be smaller than 1 MiB.
MAX_STORED_BYTES = 448 * 1024

IMAGES = Range(1, 50)  # of a task
BATCH_SIZE = Range(1, 1000)  # nodes
PRIORITY = Range(1, 10)
DEFAULT_PRIORITY = 5
RETRIES = Range(0, 5)
RETRY_DELAY = Range(1, 300)  # seconds before the first retry
LONGEST_RETRY_DELAY = (
    600  # seconds; the cap of a delay that doubles. The template's back-off has the same cap.
)

MAX_NAME_LENGTH = 52  # of a task; Argo derives pod names from it
MAX_NODES = 10_000  # in `nodes` and in `excludeNodes`
MAX_LABELS = 100
MAX_SECRETS = 100
MAX_TOLERATIONS = 100
MAX_WAVES = 20
MAX_URL_LENGTH = 2048

NODE_TIMEOUT = ("10s", "24h")
TASK_TIMEOUT = ("30s", "7d")
