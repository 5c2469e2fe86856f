"""Webhook format `slack`: a message made of blocks."""

from __future__ import annotations

from ips_flows.core.k8s.objects import Json
from ips_flows.core.notice.event import Event
from ips_flows.core.notice.formats.format import Format, Payload, json_payload
from ips_flows.core.notice.formats.text import facts, failures, short, title


def _render(event: Event) -> Payload:
    """Return blocks of plain text, in which Slack interprets no markup, mention or emoji name."""
    lines = [short(event.message), *failures(event.task)]
    blocks: list[Json] = [
        {"type": "header", "text": _plain(title(event))},
        {"type": "section", "text": _plain("\n".join(line for line in lines if line) or "–")},
        {"type": "context", "elements": [_plain(facts(event.task))]},
    ]
    fallback = f"{title(event)}: {short(event.message)}"
    return json_payload({"text": _escaped(fallback), "blocks": blocks})


def _plain(text: str) -> Json:
    return {"type": "plain_text", "text": _escaped(text), "emoji": False}


def _escaped(text: str) -> str:
    """Escape the three characters that Slack uses for links, mentions and entities."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


SLACK = Format("a message for an incoming webhook: task, message, first ten failures", _render)
