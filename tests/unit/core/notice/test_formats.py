"""The body of a notification in each format."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, get_args

import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_http_event
from cloudevents.core.formats.json import JSONFormat

from ips_flows.core.notice.formats import FORMATS
from ips_flows.core.request.choices import WebhookFormat
from tests.support.webhook_events import event, task

NASTY = "<!channel> <https://evil|click> *bold* _it_ [x](http://evil) `code`\n# head & co :fire:"


def test_every_format_of_a_request_has_its_module() -> None:
    """Without this check, a format without a module would fail only when a task ends."""
    assert list(FORMATS) == list(get_args(WebhookFormat))


def body(form: WebhookFormat, **changes: Any) -> Any:
    return json.loads(FORMATS[form].render(event(**changes)).body)


def test_json() -> None:
    """The body has event, time, message and the complete task."""
    made = FORMATS["json"].render(event())
    assert made.content_type == "application/json"
    assert json.loads(made.body) == {
        "event": "task.failed",
        "timestamp": "2026-01-31T12:01:00Z",
        "message": "1 of 3 nodes lack images",
        "task": task(),
    }


def test_cloudevents() -> None:
    """An independent library reads a valid event of version 1.0 in structured mode."""
    made = FORMATS["cloudevents"].render(event())
    message = HTTPMessage({"Content-Type": made.content_type}, made.body)
    read = from_http_event(message, JSONFormat())
    assert (read.get_id(), read.get_type()) == ("u-2026-01-31T12:00:00Z-failed", "io.ips-flow.task.failed")
    assert (read.get_source(), read.get_subject()) == ("/namespaces/warm/workflows/nightly", "nightly")
    assert read.get_time() == datetime(2026, 1, 31, 12, 1, tzinfo=UTC)
    assert read.get_specversion() == "1.0"
    assert read.get_data() == body("json")


def test_slack() -> None:
    """All texts are plain, and the three characters of links and mentions are escaped."""
    made = body("slack", message=NASTY)
    assert made["text"] == (
        "❌ nightly: failed: &lt;!channel&gt; &lt;https://evil|click&gt; *bold* _it_ [x](http://evil) `code` # head"
        " &amp; co :fire:"
    )
    texts = [made["blocks"][0]["text"], made["blocks"][1]["text"], *made["blocks"][2]["elements"]]
    assert [one["type"] for one in texts] == ["plain_text"] * 3
    assert not any(one["emoji"] for one in texts)
    assert texts[0]["text"] == "❌ nightly: failed"
    assert texts[1]["text"].endswith("\nn0: busybox:1: NotFound")
    assert texts[2]["text"] == "2 of 3 nodes have every image · namespace warm"
    assert not any("<" in one["text"] or ">" in one["text"] for one in texts)


def test_dingtalk() -> None:
    """Every character that Markdown could interpret is escaped; each text is one line."""
    made = body("dingtalk", message=NASTY)
    assert made["msgtype"] == "markdown"
    assert made["markdown"]["title"] == "❌ nightly: failed"
    head, text, failure, facts = made["markdown"]["text"].split("\n\n")
    assert head == "#### ❌ nightly: failed"
    assert text == (
        r"\<\!channel\> \<https://evil\|click\> \*bold\* \_it\_ \[x\]\(http://evil\) \`code\` \# head & co :fire:"
    )
    assert failure == r"- n0: busybox:1: NotFound"
    assert facts == "2 of 3 nodes have every image · namespace warm"


@pytest.mark.parametrize("form", [form for form in FORMATS if form not in ("json", "cloudevents")])
def test_chat_messages_are_short(form: WebhookFormat) -> None:
    """A message has ten failures and the number of others. Long texts are cut, invisible characters escaped."""
    made = FORMATS[form].render(event(task=task(failures=500), message="x" * 10_000 + "\x1b[2J"))
    assert len(made.body) < 10_000
    assert b"and 490 more" in made.body
    assert b"n9:" in made.body
    assert b"n10:" not in made.body


def test_half_a_surrogate_pair() -> None:
    """A text that is not valid Unicode is sent, too."""
    assert json.loads(FORMATS["json"].render(event(message="\ud800")).body)["message"] == "\ud800"


@pytest.mark.parametrize(
    ("form", "answer", "rejection"),
    [
        ("json", b"whatever", None),
        ("slack", b"ok", None),
        ("dingtalk", b'{"errcode":0,"errmsg":"ok"}', None),
        ("dingtalk", b'{"errcode":310000,"errmsg":"no"}', "DingTalk refused the message: errcode 310000"),
        ("dingtalk", b"[]", "DingTalk refused the message: errcode None"),
        ("dingtalk", b"", "HTTP 200 without a JSON body, which DingTalk always sends"),
    ],
)
def test_what_a_2xx_means(form: WebhookFormat, answer: bytes, rejection: str | None) -> None:
    """A 2xx response is a success, except for DingTalk, which reports a refusal in the body."""
    assert FORMATS[form].rejection(200, answer) == rejection
