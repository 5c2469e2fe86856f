"""Hostile text in logs and terminals: no escape sequence takes effect, and no line can be forged."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from ips_flows.cli.main import run
from ips_flows.cli.output.lines import changed_lines, failure_line
from ips_flows.cli.output.live import LiveView
from ips_flows.cli.output.tables import cut, fitted, table
from ips_flows.core.errors import BadRequestError, FieldProblem
from ips_flows.core.escape import escape, escape_json
from ips_flows.core.results.records import FailureLine
from steps.context import say
from tests.fakes.apiserver import ApiServer, running
from tests.fakes.argo import Argo, failed
from tests.support.paths import ROOT
from tests.unit.cli.output.test_live import RUNNING

# Clears the screen, sets the window title, reverses text, forges lines of IPS Flow.
HOSTILE = "\x1b[2J\x1b]0;gotcha\x07\x9b31m\u202egnp.exe\u200b\u2066\r\nn1: 1 pulled\nerror: forged\u2028\x85wave-1: 9 of 9"
UNSEEN = re.compile(r"[^\n\x20-\x7e–—×…├└│━╍─✗⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏→]")


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiServer]:
    with running() as one:
        monkeypatch.setenv("KUBECONFIG", str(one.kubeconfig(tmp_path)))
        yield one


@given(st.text())
def test_escaped_text_is_printable(text: str) -> None:
    """The result is printable, printable text is unchanged, and escaping twice changes nothing more."""
    shown = escape(text)
    assert shown.isprintable()
    assert escape(shown) == shown
    if text.isprintable():
        assert shown == text


@given(st.recursive(st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_json_stays_the_same_document(document: Any) -> None:
    """Escaped JSON has the same values."""
    text = escape_json(json.dumps(document, indent=2, ensure_ascii=False))
    assert text.replace("\n", "").isprintable()
    assert json.loads(text) == document


def test_escapes() -> None:
    """Escapes have the form of Python."""
    assert escape("a\x1b[0m\r\n\u202e\U000e0001é") == "a\\x1b[0m\\r\\n\\u202e\\U000e0001é"
    assert escape("a\nb\tc\x07", keep="\n\t") == "a\nb\tc\\x07"


def test_a_message_of_a_step_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """A step logs each message in one line, for any response of a registry."""
    say(f"n1: {HOSTILE}")
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    assert out[:-1].isprintable()


def test_a_crash_of_a_step_is_legible() -> None:
    """A traceback keeps its line ends; other control characters are escaped. The exit code is 70."""
    code = "from steps.context import start\ndef step(*_): raise ValueError('\\x1b[2J\\u202e')\nstart(step)"
    environment = {"PYTHONPATH": str(ROOT), "KUBECONFIG": "/nowhere"}
    code = f"from steps import context\ncontext.Kube.connect = lambda: None\n{code}"
    done = subprocess.run(
        [sys.executable, "-c", code, "a", "b"], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 70
    assert "ValueError: \\x1b[2J\\u202e" in done.stderr
    assert not UNSEEN.search(done.stderr)


def test_lines_and_tables() -> None:
    """A status line of a task and a table row are one line each."""
    line = FailureLine(node=HOSTILE, image=HOSTILE, reason=HOSTILE, message=HOSTILE, at="")
    hostile = replace(RUNNING, failures=(line,))
    for text in (failure_line(line), cut(HOSTILE), *changed_lines(None, hostile)):
        assert text.isprintable()
    for rows in (
        table(["A", "B"], [[HOSTILE, HOSTILE]]),
        fitted(["A", "B"], [[HOSTILE, "b"]], 40, [{"A": 10}]),
    ):
        assert rows.count("\n") == 1
        assert rows.replace("\n", "").isprintable()


def test_the_live_view() -> None:
    """The output has only the escape sequences of rich, and each failure is one line."""
    stream = io.StringIO()
    console = Console(
        file=stream, force_terminal=True, color_system=None, width=120, height=24, legacy_windows=False
    )
    line = FailureLine(node="n1", image="b:1", reason="NotFound", message=HOSTILE, at="")
    with LiveView(console) as view:
        view.update(replace(RUNNING, name=HOSTILE, failures=(line,)))
        view.note(HOSTILE)
    drawn = stream.getvalue()
    assert "\x1b[2J\x1b]0" not in drawn
    assert not {"\x07", "\x9b", "\u202e", "\u200b", "\u2028"} & set(drawn)
    assert not re.search(r"^(error: forged|n1: 1 pulled)", drawn, re.MULTILINE)


@pytest.mark.parametrize(
    "arguments",
    [
        "wait a",
        "get a",
        "get a -o wide",
        "get a -o json",
        "get a -o yaml",
        "list -o wide",
        "list -o json",
        "logs a",
    ],
)
def test_the_command_line(server: ApiServer, capsys: pytest.CaptureFixture[str], arguments: str) -> None:
    """Every verb prints printable text, for any content of a registry, an annotation or a log."""
    assert run(["run", "--image", "busybox:1", "--name", "a", "--detach"]) == 0
    argo = Argo(server, "a")
    argo.phase("Running")
    argo.planned(waves={"wave-1": 1}, skipped={HOSTILE: 1})
    nodes = {"n1\x1b[2J\u202e": failed(message=HOSTILE)}
    argo.results(nodes)
    argo.verdict(nodes)
    argo.pod("filter", lines=("\x1b[2J\u202eerror",))
    argo.phase("Failed", HOSTILE)
    capsys.readouterr()
    run(arguments.split())
    got = capsys.readouterr()
    assert not UNSEEN.search(got.out + got.err)
    assert not re.search(r"^(error: forged|n1: 1 pulled)", got.out + got.err, re.MULTILINE)
    if arguments == "get a -o json":
        assert json.loads(got.out)["failedNodeDetails"][0]["message"] == HOSTILE
    if arguments == "get a -o yaml":
        assert yaml.safe_load(got.out)["failedNodeDetails"][0]["message"] == HOSTILE


def test_arguments_in_error_messages(capsys: pytest.CaptureFixture[str]) -> None:
    """An error message quotes an argument without its escape sequences."""
    for arguments in (
        ["\x1b[2Jrun"],
        ["run", "\x1b[2J\u202e.yaml"],
        ["run", "--\x1b[2J"],
        ["get", "a", "\x1b[2J"],
    ):
        assert run(arguments) == 2
        assert not UNSEEN.search(capsys.readouterr().err)


def test_many_problems_are_listed_in_part() -> None:
    """A message has the first 20 problems and the number of the others, so that it fits into an annotation."""
    error = BadRequestError([FieldProblem("f", line, 1, "a", "b\nc") for line in range(1, 10_001)])
    lines = error.message.split("\n")
    assert (len(lines), lines[0], lines[-1]) == (21, "f:1:1: a: b\\nc", "f: and 9980 more problems")
