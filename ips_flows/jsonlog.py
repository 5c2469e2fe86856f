"""JSON-lines log on stderr: one JSON object per line."""

from __future__ import annotations

import json
import logging
import sys

from ips_flows.core import clock

_LOGGER = logging.getLogger("ips_flows.server")


class JsonLines(logging.Formatter):
    """Formats a record as a JSON object. Control characters are escaped, so that one line is one record."""

    def format(self, record: logging.LogRecord) -> str:
        """Return `{"time", "level", "message", …}` with the fields of the record."""
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
    """Write every log record of this process to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)


def info(message: str, **fields: object) -> None:
    """Log an event."""
    _LOGGER.info(message, extra={"fields": fields})


def warning(message: str, **fields: object) -> None:
    """Log a failure that is retried."""
    _LOGGER.warning(message, extra={"fields": fields})
