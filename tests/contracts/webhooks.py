"""Webhooks: the request of each event in each format, and the signature of a message."""

from __future__ import annotations

import functools
import json
import re
from typing import Any, get_args
from urllib.parse import parse_qs, urlsplit

import requests

from ips_flows.core.notice import signature
from ips_flows.core.notice.event import Event, truncate_task
from ips_flows.core.notice.formats import FORMATS as BY_NAME
from ips_flows.core.notice.notice import Outcome, deletion_id, event_name
from ips_flows.core.notice.targets import Rules
from ips_flows.core.request.choices import WebhookFormat
from ips_flows.core.results.records import FinalStatus
from ips_flows.core.task.as_json import task_json
from ips_flows.webhook.delivery import Message, deliver
from tests.contracts.examples import AT, NOW, UID, ended_task, later
from tests.contracts.posting import hooked
from tests.contracts.wording import without_text

Json = dict[str, Any]

FORMATS: tuple[WebhookFormat, ...] = get_args(WebhookFormat)
_STATUSES: tuple[FinalStatus, ...] = get_args(FinalStatus)
_SECRET = "whsec_c2VjcmV0"  # noqa: S105  (an example)
_URL = "https://hooks.example.com/in?key=1"


def payloads(form: WebhookFormat) -> Json:
    """Return the document of one format: event → request. Signatures depend on the text, so they are masked."""
    return {event_name(status): _request(_event(status), form) for status in _STATUSES}


def signing() -> Json:
    """Return the document for all formats: ids, outcomes, a signature of a fixed body, and a truncated task."""
    task = task_json(ended_task("failed"), NOW)
    return {
        "outcomes": list(get_args(Outcome)),
        "ids": {
            "of a verdict": _event("failed").id,
            "of a task deleted before its verdict": deletion_id(UID, AT),
        },
        "headers of the body {}": signature.headers(
            b"{}", message_id="an-id", at=NOW, key=signature.signing_key(_SECRET)
        ),
        "headers of the body {} without a key": signature.headers(
            b"{}", message_id="an-id", at=NOW, key=None
        ),
        "key of a plain secret": signature.signing_key("plain").decode(),
        "URL of DingTalk": signature.dingtalk_url(_URL, at=NOW, secret="secret"),  # noqa: S106  (an example)
        "a task cut short": without_text(truncate_task(task, 200)),
    }


@functools.cache
def _event(status: FinalStatus) -> Event:
    task = ended_task(status)
    assert task.verdict
    return Event(task.verdict.event_id, event_name(status), AT, task.message, task_json(task, later(60)))


def _request(event: Event, form: WebhookFormat) -> Json:
    answer = b'{"errcode":0}' if form == "dingtalk" else b"ok"
    with hooked(answer) as posted:
        message = Message(_URL, BY_NAME[form].render(event), event.id, form, _SECRET)
        came = deliver(message, Rules(), posted.io)
    assert came.outcome == "delivered", came
    (sent,) = posted.requests
    return {
        "call": f"{sent.method} {urlsplit(str(sent.url)).path}",
        "query": _query(sent),
        "headers": {name: _masked(name, value) for name, value in sorted(sent.headers.items())},
        "sends": _body(sent),
    }


def _query(sent: requests.PreparedRequest) -> Json:
    return {
        name: "<signature>" if name == "sign" else values[0]
        for name, values in parse_qs(urlsplit(str(sent.url)).query).items()
    }


def _masked(name: str, value: str | bytes) -> str:
    text = value.decode() if isinstance(value, bytes) else value
    if name == "webhook-signature":
        return re.sub(r"^(v\d+),.*", r"\1,<signature>", text)
    return "<length>" if name == "Content-Length" else text


def _body(sent: requests.PreparedRequest) -> Any:
    assert isinstance(sent.body, bytes)
    document = json.loads(sent.body)
    return without_text(document)
