"""What receivers are told, in each format."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_http_event
from cloudevents.core.formats.json import JSONFormat

from ips_flows.core.notice import signature
from ips_flows.core.notice.event import Event, rejection, render, truncate_task
from ips_flows.core.notice.notice import Format

NASTY = "<!channel> <https://evil|click> *bold* _it_ [x](http://evil) `code`\n# head & co :fire:"


def task(failures: int = 1, message: str = "manifest unknown", nodes: int = 1) -> dict[str, Any]:
    """The parts of a task that messages look at, with as many failures and nodes as asked for."""
    return {
        "taskId": "nightly",
        "namespace": "warm",
        "status": "failed",
        "progress": {"totalNodes": 3, "completedNodes": 2},
        "failedNodeDetails": [
            {"nodeName": f"n{i}", "image": "busybox:1", "reason": "NotFound", "message": message}
            for i in range(failures)
        ],
        "drift": {},
        "nodeStatuses": {
            f"n{i}": {"busybox:1": {"result": "failed", "reason": message}} for i in range(nodes)
        },
    }


def event(**changes: Any) -> Event:
    fields = {
        "id": "u-2026-01-31T12:00:00Z-failed",
        "name": "task.failed",
        "timestamp": "2026-01-31T12:01:00Z",
        "message": "1 of 3 nodes lack images",
        "task": task(),
    }
    return Event(**(fields | changes))


def body(form: Format, **changes: Any) -> Any:
    return json.loads(render(event(**changes), form).body)


def test_json() -> None:
    """Event, time, message, and the task as it is."""
    made = render(event(), "json")
    assert made.content_type == "application/json"
    assert json.loads(made.body) == {
        "event": "task.failed",
        "timestamp": "2026-01-31T12:01:00Z",
        "message": "1 of 3 nodes lack images",
        "task": task(),
    }


def test_cloudevents() -> None:
    """An independent reader finds a valid event of version 1.0 in structured mode."""
    made = render(event(), "cloudevents")
    message = HTTPMessage({"Content-Type": made.content_type}, made.body)
    read = from_http_event(message, JSONFormat())
    assert (read.get_id(), read.get_type()) == ("u-2026-01-31T12:00:00Z-failed", "io.ips-flow.task.failed")
    assert (read.get_source(), read.get_subject()) == ("/namespaces/warm/workflows/nightly", "nightly")
    assert read.get_time() == datetime(2026, 1, 31, 12, 1, tzinfo=UTC)
    assert read.get_specversion() == "1.0"
    assert read.get_data() == body("json")


def test_slack() -> None:
    """Plain text throughout, with the three characters escaped that begin links and mentions."""
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
    """Every character of a text that Markdown could read is escaped; a text is one line."""
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


@pytest.mark.parametrize("form", ["slack", "dingtalk"])
def test_chats_get_little(form: Format) -> None:
    """Ten failures and how many more; a long message is cut; what can't be seen is written out."""
    made = render(event(task=task(failures=500), message="x" * 10_000 + "\x1b[2J"), form)
    assert len(made.body) < 10_000
    assert b"and 490 more" in made.body
    assert b"n9:" in made.body
    assert b"n10:" not in made.body


def test_a_task_that_fits_is_whole() -> None:
    """Nothing is added to it either."""
    assert truncate_task(task()) == task()


def test_node_statuses_go_first() -> None:
    """They are the longest; the failures stay."""
    long = task(failures=100, nodes=5000)
    found = truncate_task(long)
    assert found["truncated"] is True
    assert found["nodeStatuses"] == {}
    assert found["failedNodeDetails"] == long["failedNodeDetails"]


def test_then_the_last_failures() -> None:
    """As many as fit are kept, from the first; the whole is never larger than allowed, and not much smaller."""
    found = truncate_task(task(failures=5000, message="é" * 300))
    kept = found["failedNodeDetails"]
    assert 0 < len(kept) < 5000
    assert [one["nodeName"] for one in kept] == [f"n{i}" for i in range(len(kept))]
    size = len(json.dumps(found, separators=(",", ":")))
    assert 250 * 1024 < size <= 256 * 1024


def test_then_whatever_is_long() -> None:
    """Drift, for one; what identifies the task is there in any case."""
    found = truncate_task(
        task(failures=10) | {"drift": {f"image-{i}": ["sha256:" + "a" * 64] for i in range(5000)}}
    )
    assert found["drift"] == {}
    assert (found["taskId"], len(found["failedNodeDetails"])) == ("nightly", 10)
    made = render(event(task=found), "cloudevents")
    assert len(made.body) < 257 * 1024


def test_half_a_surrogate_pair() -> None:
    """A text that is no Unicode is sent all the same."""
    assert json.loads(render(event(message="\ud800"), "json").body)["message"] == "\ud800"


@pytest.mark.parametrize(
    ("form", "answer", "said"),
    [
        ("json", b"whatever", ""),
        ("slack", b"ok", ""),
        ("dingtalk", b'{"errcode":0,"errmsg":"ok"}', ""),
        ("dingtalk", b'{"errcode":310000,"errmsg":"no"}', "DingTalk refused it: errcode 310000"),
        ("dingtalk", b"[]", "DingTalk refused it: errcode None"),
        ("dingtalk", b"", "HTTP 200, and no JSON as DingTalk sends it"),
    ],
)
def test_what_a_2xx_means(form: Format, answer: bytes, said: str) -> None:
    """Success, but for DingTalk, which says in the body whether it took the message."""
    assert rejection(form, 200, answer) == said


def test_dingtalks_signature() -> None:
    """HMAC-SHA256 over time and secret, as its documentation has it."""
    at = datetime(2026, 1, 31, 12, tzinfo=UTC)
    url = signature.dingtalk_url("https://oapi.example/robot/send?access_token=x", at=at, secret="SECx\n")  # noqa: S106
    query = parse_qs(urlsplit(url).query)
    signed = hmac.new(b"SECx", f"{query['timestamp'][0]}\nSECx".encode(), hashlib.sha256).digest()
    assert query["sign"] == [base64.b64encode(signed).decode()]
    assert query["timestamp"] == ["1769860800000"]
    assert query["access_token"] == ["x"]


@pytest.mark.parametrize("secret", ["", " ", "whsec_", "whsec_%%"])
def test_keys_that_are_none(secret: str) -> None:
    """An empty key would sign nothing."""
    with pytest.raises(ValueError, match="allowed: "):
        signature.signing_key(secret)
