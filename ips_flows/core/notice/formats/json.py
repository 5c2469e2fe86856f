"""Webhook format `json`: the event and the task as JSON."""

from __future__ import annotations

from ips_flows.core.k8s.objects import Json
from ips_flows.core.notice.event import Event, truncate_task
from ips_flows.core.notice.formats.format import Format, Payload, json_payload


def document(event: Event) -> Json:
    """Return the event as a JSON object, with a task of limited size."""
    return {
        "event": event.name,
        "timestamp": event.timestamp,
        "message": event.message,
        "task": truncate_task(event.task),
    }


def _render(event: Event) -> Payload:
    return json_payload(document(event))


JSON = Format("the document above", _render)
