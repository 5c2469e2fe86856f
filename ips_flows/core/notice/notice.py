"""The webhook notification of a task's end: its webhook, the record of its delivery, and when it is due.

`finish` sends the notification and records the delivery; the keeper starts later tries. Both read the annotations of
the Workflow or of its copy.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from pydantic import ValidationError

from ips_flows.core import clock
from ips_flows.core.constants import ANNOTATION_NOTICE, ANNOTATION_VERDICT, ANNOTATION_WEBHOOK
from ips_flows.core.counts import several
from ips_flows.core.errors import NewerFormatError
from ips_flows.core.request.choices import WebhookFormat
from ips_flows.core.results.records import Record, StoredRecord

if TYPE_CHECKING:
    from ips_flows.core.request.model import PrewarmRequest

RecordT = TypeVar("RecordT", bound=Record)
# delivered: the receiver returned 2xx · undelivered: tried again · gone: it returned 410 · refused: forbidden target
Outcome = Literal["delivered", "undelivered", "gone", "refused"]

WINDOW_SECONDS = 86_400.0  # how long after the end an undelivered notification is tried again
PAUSES = (60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0)  # seconds after each round; the last value repeats


class Webhook(Record):
    """The webhook of a request. `secret_name` is a Secret that has the URL, the key, or both."""

    url: str = ""
    secret_name: str = ""
    format: WebhookFormat = "json"

    @classmethod
    def of_request(cls, request: PrewarmRequest) -> Webhook | None:
        """Return the webhook of a request; None if it has none."""
        if not request.webhook_url and not request.webhook_secret_name:
            return None
        return cls(
            url=request.webhook_url, secret_name=request.webhook_secret_name, format=request.webhook_format
        )


class Notice(StoredRecord):
    """Delivery record of a notification. `id` is the same in every try, and in the verdict.

    `tries` counts the requests, `rounds` the runs of `finish` that sent them. `first` is the start of the first run,
    `last` the end of the last run. `target` has only scheme and host: the rest of the URL is often a secret.
    """

    id: str
    event: str
    outcome: Outcome
    status: int | None = None  # the receiver's last HTTP status
    reason: str = ""  # why it was not delivered
    target: str = ""
    tries: int = 0
    rounds: int = 1
    first: str
    last: str
    not_before: str = ""  # earliest time of the next request, as the receiver requires

    @property
    def final(self) -> bool:
        """Whether the notification is not tried again."""
        return self.outcome != "undelivered"

    @property
    def summary(self) -> str:
        """`undelivered to https://hooks.example after 4 tries`."""
        to = f" to {self.target}" if self.target else ""
        return f"{self.outcome}{to} after {several(self.tries, 'try', 'tries')}"


def event_name(status: str) -> str:
    """Return the event name for a status: `task.completed`, `task.failed` or `task.cancelled`."""
    return f"task.{status}"


def deletion_id(uid: str, created_at: str) -> str:
    """Return the ID of the notification of a task that was deleted before its verdict."""
    return f"{uid}-{created_at}-cancelled"


def recorded_webhook(annotations: Mapping[str, str]) -> Webhook | None:
    """Return the webhook in the metadata of a task; None if there is none or it can't be read."""
    return _read(Webhook, annotations.get(ANNOTATION_WEBHOOK))


def recorded_notice(annotations: Mapping[str, str]) -> Notice | None:
    """Return the recorded notification; None if there is none or it can't be read."""
    return _read(Notice, annotations.get(ANNOTATION_NOTICE))


def due_since(annotations: Mapping[str, str], deleted_at: str = "") -> str:
    """Return when a notification became due, as the verdict records; '' if none is due.

    For a task deleted (`deleted_at`) without a verdict, a notification is due if the metadata has a webhook.
    """
    if ANNOTATION_VERDICT in annotations:
        verdict = _object(annotations[ANNOTATION_VERDICT])
        owed = verdict.get("notify") is True and (not deleted_at or recorded_webhook(annotations) is not None)
        return str(verdict.get("at") or "") if owed else ""
    return deleted_at if deleted_at and recorded_webhook(annotations) else ""


def is_open(annotations: Mapping[str, str], now: datetime, deleted_at: str = "") -> bool:
    """Return whether a notification is due, not final and less than a day old. False for an unreadable record."""
    since = due_since(annotations, deleted_at)
    if not since or (now - clock.parse(since)).total_seconds() >= WINDOW_SECONDS:
        return False
    if ANNOTATION_NOTICE not in annotations:
        return True
    known = recorded_notice(annotations)
    return known is not None and not known.final


def retry_pause(rounds: int) -> float:
    """Return the seconds between round number `rounds` and the next round."""
    return PAUSES[min(max(rounds, 1), len(PAUSES)) - 1]


def next_try_at(notice: Notice) -> datetime:
    """Return when an undelivered notification is tried again."""
    at = clock.parse(notice.last) + timedelta(seconds=retry_pause(notice.rounds))
    return max(at, clock.parse(notice.not_before)) if notice.not_before else at


def _read(kind: type[RecordT], text: str | None) -> RecordT | None:
    if not text:
        return None
    try:
        return kind.from_json(text)
    except (ValidationError, NewerFormatError):  # written by another program, or by a newer version
        return None


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
