"""What a webhook is told: one event in the shape of each format, as bytes with their content type."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ips_flows.core.escape import escape
from ips_flows.core.k8s.objects import Json
from ips_flows.core.notice.notice import Format

LARGEST_TASK = 256 * 1024  # bytes of the task as JSON
_FAILURES_SHOWN = 10  # in a chat, where people read
_SHORTEST_TEXT = 200  # characters that a chat shows of a single text
_LONGEST_TEXT = 2000
_CUT_LAST = ("drift", "retryHistory", "skippedNodes", "nodeSelector", "images")
_MARKDOWN = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|~])")
_SIGNS = {"task.completed": "✅", "task.failed": "❌", "task.cancelled": "⏹"}


@dataclass(frozen=True, slots=True)
class Event:
    """The end of a task. `name` is `task.completed`, `task.failed` or `task.cancelled`.

    `id` is the same in every notice of it, `timestamp` (RFC 3339 UTC) is that of the end, `task` the task as
    `as_json.task_json` makes it, whole.
    """

    id: str
    name: str
    timestamp: str
    message: str
    task: Json


@dataclass(frozen=True, slots=True)
class Payload:
    """A body and what it is."""

    body: bytes
    content_type: str


def render(event: Event, form: Format) -> Payload:
    """An event in one of the formats."""
    return _RENDERERS[form](event)


def rejection(form: Format, status: int, body: bytes) -> str:
    """Why a receiver that answered 2xx did not take the message; '' where it did. DingTalk says so in the body."""
    if form != "dingtalk":
        return ""
    try:
        said = json.loads(body)
    except ValueError:
        return f"HTTP {status}, and no JSON as DingTalk sends it"
    code = said.get("errcode") if isinstance(said, dict) else None
    return "" if code == 0 else f"DingTalk refused it: errcode {escape(str(code))[:_SHORTEST_TEXT]}"


def truncate_task(task: Json, largest: int = LARGEST_TASK) -> Json:
    """A task that has at most so many bytes as JSON, with `"truncated": true` where something was left out.

    First `nodeStatuses` goes, then as many of the last `failedNodeDetails` as need be, then what else may be long.
    """
    if _size(task) <= largest:
        return task
    short = task | {"truncated": True, "nodeStatuses": {}}
    if _size(short) <= largest:
        return short
    lines = list(short.get("failedNodeDetails") or ())
    bare = short | {"failedNodeDetails": []}
    for field in _CUT_LAST:
        if _size(bare) <= largest:
            break
        if bare.get(field):
            bare[field] = type(bare[field])()
    room = largest - _size(bare)
    kept: list[Any] = []
    for line in lines:
        room -= _size(line) + 1
        if room < 0:
            break
        kept.append(line)
    return bare | {"failedNodeDetails": kept}


def _document(event: Event) -> Json:
    return {
        "event": event.name,
        "timestamp": event.timestamp,
        "message": event.message,
        "task": truncate_task(event.task),
    }


def _json(event: Event) -> Payload:
    return Payload(_bytes(_document(event)), "application/json")


def _cloudevent(event: Event) -> Payload:
    """CloudEvents 1.0, structured: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md"""
    envelope = {
        "specversion": "1.0",
        "id": event.id,
        "source": f"/namespaces/{event.task.get('namespace', '')}/workflows/{event.task.get('taskId', '')}",
        "type": f"io.ips-flow.{event.name}",
        "subject": event.task.get("taskId", ""),
        "time": event.timestamp,
        "datacontenttype": "application/json",
        "data": _document(event),
    }
    return Payload(_bytes(envelope), "application/cloudevents+json; charset=UTF-8")


def _slack(event: Event) -> Payload:
    """Blocks of plain text, in which Slack reads no markup, no mention and no emoji name."""
    lines = [_short(event.message, _LONGEST_TEXT), *_failures(event.task)]
    blocks: list[Json] = [
        {"type": "header", "text": _plain(_title(event))},
        {"type": "section", "text": _plain("\n".join(line for line in lines if line) or "–")},
        {"type": "context", "elements": [_plain(_facts(event.task))]},
    ]
    told = f"{_title(event)}: {_short(event.message, _LONGEST_TEXT)}"
    return Payload(_bytes({"text": _slack_text(told), "blocks": blocks}), "application/json")


def _dingtalk(event: Event) -> Payload:
    """A robot's Markdown message, in which every character of a text that could be markup is escaped."""
    title = _title(event)
    parts = [f"#### {_markdown(title)}", _markdown(_short(event.message, _LONGEST_TEXT))]
    parts += [f"- {_markdown(line)}" for line in _failures(event.task)]
    parts.append(_markdown(_facts(event.task)))
    text = "\n\n".join(part for part in parts if part)
    document = {"msgtype": "markdown", "markdown": {"title": title, "text": text}}
    return Payload(_bytes(document), "application/json")


_RENDERERS: dict[Format, Callable[[Event], Payload]] = {
    "json": _json,
    "cloudevents": _cloudevent,
    "slack": _slack,
    "dingtalk": _dingtalk,
}


def _title(event: Event) -> str:
    """`✅ nightly: completed`; a name has at most 63 characters, so this fits a Slack header."""
    status = event.name.removeprefix("task.")
    return f"{_SIGNS.get(event.name, '')} {_short(str(event.task.get('taskId', '')), 100)}: {status}".strip()


def _facts(task: Json) -> str:
    progress = task.get("progress") or {}
    nodes = f"{progress.get('completedNodes', 0)} of {progress.get('totalNodes', 0)} nodes have every image"
    return f"{nodes} · namespace {_short(str(task.get('namespace', '')), 100)}"


def _failures(task: Json) -> list[str]:
    """The first failures, one a line."""
    details = list(task.get("failedNodeDetails") or ())
    lines = [
        _short(f"{one['nodeName']}: {one['image']}: {one['reason']}", _SHORTEST_TEXT)
        for one in details[:_FAILURES_SHOWN]
    ]
    more = len(details) - len(lines)
    return [*lines, f"and {more} more"] if more else lines


def _plain(text: str) -> Json:
    return {"type": "plain_text", "text": _slack_text(text), "emoji": False}


def _slack_text(text: str) -> str:
    """The three characters by which Slack begins links, mentions and entities."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _markdown(text: str) -> str:
    return _MARKDOWN.sub(r"\\\1", text)


def _short(text: str, width: int) -> str:
    """A text in one line of at most so many characters, without any that can't be seen."""
    line = escape(" ".join(text.split()))
    return line if len(line) <= width else line[: width - 1] + "…"


def _bytes(document: Any) -> bytes:
    """ASCII: half a surrogate pair in a registry's text must not keep the notice back."""
    return json.dumps(document, separators=(",", ":")).encode("ascii")


def _size(document: Any) -> int:
    return len(_bytes(document))
