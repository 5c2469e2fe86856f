"""Webhook format `cloudevents`: CloudEvents 1.0, structured mode.

https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md
"""

from __future__ import annotations

from ips_flows.core.notice.event import Event
from ips_flows.core.notice.formats.format import Format, Payload, json_payload
from ips_flows.core.notice.formats.json import document


def _render(event: Event) -> Payload:
    """Return the document of format `json` in a CloudEvents envelope."""
    envelope = {
        "specversion": "1.0",
        "id": event.id,
        "source": f"/namespaces/{event.task.get('namespace', '')}/workflows/{event.task.get('taskId', '')}",
        "type": f"io.ips-flow.{event.name}",
        "subject": event.task.get("taskId", ""),
        "time": event.timestamp,
        "datacontenttype": "application/json",
        "data": document(event),
    }
    return json_payload(envelope, "application/cloudevents+json; charset=UTF-8")


CLOUDEVENTS = Format(
    "CloudEvents 1.0, structured mode: type `io.ips-flow.task.failed`, source `/namespaces/NAMESPACE/workflows/TASK`, the document above as `data`",
    _render,
)
