"""The program as a whole: help, speed, pipes, watching."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from ips_flows.cli.main import VERBS, cli, run
from ips_flows.cli.options.request import overrides_of
from ips_flows.core.request.fields import flag_of
from ips_flows.core.request.model import PrewarmRequest
from tests.fakes.apiserver import ApiServer, running
from tests.fakes.argo import Argo, pulled
from tests.support.paths import ROOT

THERE = [verb for verb in VERBS if (ROOT / "ips_flows" / "cli" / "commands" / f"{verb}.py").exists()]


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiServer]:
    with running() as one:
        monkeypatch.setenv("KUBECONFIG", str(one.kubeconfig(tmp_path)))
        yield one


def program(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "ips_flows.cli.main", *arguments]


@pytest.mark.parametrize(
    ("words", "shown"),
    [(["--help"], "Put container images on Kubernetes nodes"), (["run", "--help"], "--batch-size")],
)
def test_help_loads_nothing_heavy(words: list[str], shown: str) -> None:
    """`--help` is fast because it imports little more than click; `run --help` shows defaults without the model."""
    code = (
        f"import sys; from ips_flows.cli.main import run; run({words}); "
        "heavy = {'hera', 'kubernetes', 'pydantic', 'rich', 'yaml'} & set(sys.modules); sys.exit(bool(heavy))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert shown in done.stdout


@pytest.mark.parametrize("verb", THERE)
def test_every_verb_ends_its_help_with_an_example(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The last lines of a help page are commands to copy."""
    assert run([verb, "--help"]) == 0
    text = capsys.readouterr().out
    assert "Example:" in text
    assert "ips-flow" in text.rstrip().splitlines()[-1]
    assert max(map(len, text.splitlines())) <= 100


def test_no_verb_shows_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a verb the program prints its help on stderr and exits with code 2."""
    assert run([]) == 2
    got = capsys.readouterr()
    assert got.out == ""
    assert got.err.startswith("Usage: ips-flow [OPTIONS] COMMAND [ARGS]...\n")


def test_verbs_are_listed_when_they_exist() -> None:
    """A verb without a module is not listed."""
    context = cli.make_context("ips-flow", ["version"])
    assert cli.list_commands(context) == THERE
    assert cli.get_command(context, "nothing") is None


def test_every_field_of_the_request_has_its_flag(capsys: pytest.CaptureFixture[str]) -> None:
    """`run` shows a flag for each field of a request, under the name that its errors use."""
    assert run(["run", "--help"]) == 0
    text = capsys.readouterr().out
    fields = {name: field.alias or name for name, field in PrewarmRequest.model_fields.items()}
    for wire in fields.values():
        assert f"{flag_of(wire)} " in text or f"{flag_of(wire)} /" in text, wire
    given = {name: "x" for name in fields if name not in ("images", "timeout")} | {
        "image": ("x",),
        "task_timeout": "x",
    }
    assert set(overrides_of(given)) == set(fields.values())
    # An option that a verb does not handle is an error, even if it was not given.
    with pytest.raises(KeyError, match="since"):
        overrides_of({"since": None})


def test_a_closed_pipe_is_no_error(server: ApiServer) -> None:
    """A closed pipe ends the program without a message."""
    for number in range(300):
        server.put("workflows", {"metadata": {"name": f"t{number}", "labels": {"ips-flow.io/task": "true"}}})
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(program("list"), cwd=ROOT, stdout=writing, stderr=subprocess.PIPE, check=False)
    os.close(writing)
    assert done.stderr == b""


def test_ctrl_c_ends_a_real_process_with_130(server: ApiServer) -> None:
    """SIGINT while following: exit code 130, and the task continues."""
    process = subprocess.Popen(
        program("run", "--image", "busybox:1", "--name", "a"),
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        # A shell starts background jobs with SIGINT ignored, and that is inherited.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    )
    assert process.stderr
    for line in process.stderr:
        if "in the queue" in line:
            break
    process.send_signal(signal.SIGINT)
    rest = process.stderr.read()
    assert process.wait(60) == 130
    assert rest == (
        "interrupted: task a continues\n"
        "  follow it:  ips-flow wait a -n warm\n"
        "  cancel it:  ips-flow cancel a -n warm\n"
    )
    assert "shutdown" not in server.get("workflows", "a")["spec"]


def test_watching_a_task_prints_a_row_per_change(
    server: ApiServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """`get -w` prints the header once, then a row for each state until the end."""
    assert run(["run", "--image", "busybox:1", "--name", "a", "--detach"]) == 0
    argo = Argo(server, "a")
    argo.phase("Running")
    argo.planned(waves={"wave-1": 1})
    argo.verdict({"n": pulled()})
    capsys.readouterr()
    assert run(["get", "a", "-w", "-o", "wide"]) == 0
    header, row = capsys.readouterr().out.splitlines()
    assert header.split()[:3] == ["NAME", "STATUS", "PRIORITY"]
    assert row.split()[:3] == ["a", "completed", "5"]
    assert header.index("MESSAGE") == row.index("every image")


def test_a_watched_list_shows_changes(server: ApiServer, capsys: pytest.CaptureFixture[str]) -> None:
    """`list -w` prints all tasks, then each that changes, until it is interrupted."""
    assert run(["run", "--image", "busybox:1", "--name", "a", "--detach"]) == 0
    capsys.readouterr()
    process = subprocess.Popen(program("list", "-w", "-A"), cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    lines = [process.stdout.readline(), process.stdout.readline()]
    Argo(server, "a").phase("Running")
    lines.append(process.stdout.readline())
    process.terminate()
    process.wait(60)
    process.stdout.close()
    assert [line.split()[:3] for line in lines] == [
        ["NAMESPACE", "NAME", "STATUS"],
        ["warm", "a", "pending"],
        ["warm", "a", "running"],
    ]


def test_verbs_of_a_section_are_together() -> None:
    """The verbs of each section of the help page are next to each other."""
    sections = [verb.section for verb in VERBS.values()]
    assert sum(one != two for one, two in pairwise(sections)) == len(set(sections)) - 1
