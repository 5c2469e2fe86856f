"""The response to `GET /api/v1/tasks`: a page of tasks from memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qsl

from ips_flows.core.rest.responses import HttpError
from ips_flows.core.rest.task_store import Snapshot
from ips_flows.core.task.workflow_status import STATUSES

DEFAULT_LIMIT, LARGEST_LIMIT = 10, 100
_LARGEST_OFFSET = 1_000_000_000
LONGEST_SEARCH = 1000
_MOST_KEPT = 200  # stored pages of one snapshot


class TaskPages:
    """Pages of the latest snapshot, stored as bytes until the snapshot changes."""

    def __init__(self) -> None:
        self._view: Snapshot | None = None
        self._pages: dict[bytes, bytes] = {}

    def page(self, snapshot: Snapshot, query: bytes) -> bytes:
        """Return the JSON of the page for a query string. Raises HttpError if the query is invalid."""
        if snapshot is not self._view:
            self._view, self._pages = snapshot, {}
        found = self._pages.get(query)
        if found is None:
            found = _page(snapshot, *parse_query(query))
            if len(self._pages) < _MOST_KEPT:
                self._pages[query] = found
        return found


def parse_query(query: bytes) -> tuple[str, str, int, int]:
    """Return status and search (or ''), limit and offset of a query string. Other parameters are ignored."""
    try:
        given = dict(parse_qsl(query.decode("ascii"), keep_blank_values=True, max_num_fields=100))
    except ValueError as error:
        raise HttpError(400, "the query string is invalid") from error
    problems: list[dict[str, Any]] = []
    status = given.get("status", "")
    if status and status not in STATUSES:
        allowed = f"{', '.join(STATUSES[:-1])} or {STATUSES[-1]}"
        problems.append({"field": "status", "message": f"got {status[:100]!r}; allowed: {allowed}"})
    search = given.get("search", "").strip()
    if len(search) > LONGEST_SEARCH:
        message = f"got {len(search)} characters; allowed: at most {LONGEST_SEARCH}"
        problems.append({"field": "search", "message": message})
    limit = _number(given, "limit", DEFAULT_LIMIT, (1, LARGEST_LIMIT), problems)
    offset = _number(given, "offset", 0, (0, _LARGEST_OFFSET), problems)
    if problems:
        message = "\n".join(f"{one['field']}: {one['message']}" for one in problems)
        raise HttpError(400, message, details=problems)
    return status, search, limit, offset


def _number(
    given: dict[str, str], name: str, default: int, bounds: tuple[int, int], problems: list[dict[str, Any]]
) -> int:
    least, most = bounds
    text = given.get(name, "")
    if not text:
        return default
    number = int(text) if text.isascii() and text.isdecimal() and len(text) <= 12 else -1
    if not least <= number <= most:
        allowed = f"a number from {least} to {most}"
        problems.append({"field": name, "message": f"got {text[:100]!r}; allowed: {allowed}"})
    return number


def _page(snapshot: Snapshot, status: str, search: str, limit: int, offset: int) -> bytes:
    rows: Sequence[Any] = snapshot.found(status, search)
    bodies = b",".join(row.body() for row in rows[offset : offset + limit])
    return b'{"tasks":[%s],"total":%d,"limit":%d,"offset":%d}' % (bodies, len(rows), limit, offset)
