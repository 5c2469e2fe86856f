"""Webhook format `dingtalk`: a Markdown message of a robot (https://open.dingtalk.com)."""

from __future__ import annotations

import json
import re
from datetime import datetime

from ips_flows.core.escape import escape
from ips_flows.core.notice import signature
from ips_flows.core.notice.event import Event
from ips_flows.core.notice.formats.format import Format, Payload, Signed, json_payload
from ips_flows.core.notice.formats.text import LINE_LIMIT, facts, failures, short, title

_MARKDOWN = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|~])")


def _render(event: Event) -> Payload:
    """Return a Markdown message in which every character that could be markup is escaped."""
    head = title(event)
    parts = [f"#### {_escaped(head)}", _escaped(short(event.message))]
    parts += [f"- {_escaped(line)}" for line in failures(event.task)]
    parts.append(_escaped(facts(event.task)))
    text = "\n\n".join(part for part in parts if part)
    return json_payload({"msgtype": "markdown", "markdown": {"title": head, "text": text}})


def _sign(url: str, body: bytes, *, message_id: str, at: datetime, secret: str) -> Signed:
    """Sign in the query of the URL, as DingTalk requires. The headers have only ID and time."""
    signed_url = signature.dingtalk_url(url, at=at, secret=secret) if secret else url
    return Signed(signed_url, signature.headers(body, message_id=message_id, at=at, key=None))


def _rejection(status: int, body: bytes) -> str | None:
    """Return why a 2xx response is a refusal, which DingTalk reports in the body; None if it is not."""
    try:
        answer = json.loads(body)
    except ValueError:
        return f"HTTP {status} without a JSON body, which DingTalk always sends"
    code = answer.get("errcode") if isinstance(answer, dict) else None
    return None if code == 0 else f"DingTalk refused the message: errcode {escape(str(code))[:LINE_LIMIT]}"


def _escaped(text: str) -> str:
    return _MARKDOWN.sub(r"\\\1", text)


DINGTALK = Format(
    "the same message as Markdown, for a custom robot; the response must have `errcode` 0",
    _render,
    _sign,
    _rejection,
)
