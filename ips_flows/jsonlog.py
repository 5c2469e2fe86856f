"""The server's log: one JSON object a line, on stderr."""

from __future__ import annotations

import json
import logging
import sys

from ips_flows.core import clock

_LOGGER = logging.getLogger("ips_flows.server")


class JsonLines(logging.Formatter):
    """A record as a JSON object; control characters are escaped, so that a line is one record."""

    def format(self, record: logging.LogRecord) -> str:
        """`{"time", "level", "message", …}` and the fields that were given."""
        document = {
            "time": clock.stamp(clock.now()),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            document["trace"] = self.formatException(record.exc_info)
        return json.dumps(document)


def start() -> None:
    """Send all that is logged in this process to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)


def info(message: str, **fields: object) -> None:
    """Something that happened."""
    _LOGGER.info(message, extra={"fields": fields})


def warning(message: str, **fields: object) -> None:
    """Something that went wrong and is tried again."""
    _LOGGER.warning(message, extra={"fields": fields})
