"""`run` with several contexts: a task in each of two clusters, followed together, with one verdict and exit code."""

from __future__ import annotations

import json
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
import yaml

from ips_flows.cli.main import run
from ips_flows.cli.session import follow
from tests.fakes.apiserver import ApiServer, Fault, running
from tests.fakes.argo import Argo, completes, fails, on_submit
from tests.support.forks import running_command
from tests.unit.cli.commands.test_images import AGENT, CHART

BOTH = ("--context", "east", "--context", "west")
RUN = ("run", "--image", "busybox:1", "--name", "a", *BOTH)
DONE = "completed: every image is on 1 of 1 nodes – 1 pulled, 4.0 MB in 12 s\n"


@pytest.fixture
def east() -> Iterator[ApiServer]:
    with running() as one:
        yield one


@pytest.fixture
def west() -> Iterator[ApiServer]:
    with running() as one:
        yield one


@pytest.fixture(autouse=True)
def _shell(east: ApiServer, west: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set a kubeconfig with contexts for both clusters, two for the same cluster, and one for a missing server."""
    with ApiServer() as gone:
        servers = {"east": east.url, "west": west.url, "gone": gone.url}
    places = {
        "east": ("east", "warm"),
        "west": ("west", "warm"),
        "gone": ("gone", "warm"),
        "east-too": ("east", "warm"),
        "east-cold": ("east", "cold"),
    }
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": {"server": url}} for name, url in servers.items()],
        "users": [{"name": "me", "user": {"token": "t0ken"}}],
        "contexts": [
            {"name": name, "context": {"cluster": cluster, "user": "me", "namespace": namespace}}
            for name, (cluster, namespace) in places.items()
        ],
        "current-context": "east",
    }
    file = tmp_path / "kubeconfig"
    file.write_text(yaml.safe_dump(document), encoding="utf-8")
    monkeypatch.setenv("KUBECONFIG", str(file))
    for name in ("IPS_FLOW_NAMESPACE", "K8S_NAMESPACE"):
        monkeypatch.delenv(name, raising=False)


def contexts(*names: str) -> list[str]:
    return [word for name in names for word in ("--context", name)]


def submitted(server: ApiServer) -> list[tuple[str, str]]:
    """Return namespace and name of each task."""
    return [(key[1], key[2]) for key in server.store.objects if key[0] == "workflows"]


# -- the end


def test_both_complete(east: ApiServer, west: ApiServer, capsys: pytest.CaptureFixture[str]) -> None:
    """Each end and each line names its context; the verdict names both."""
    on_submit(east, completes)
    on_submit(west, completes)
    assert run(list(RUN)) == 0
    got = capsys.readouterr()
    assert got.out == f"[east] {DONE}[west] {DONE}2 of 2 clusters completed: east, west\n"
    lines = got.err.splitlines()
    assert lines[:2] == [
        "[east] task a submitted in namespace warm",
        "[west] task a submitted in namespace warm",
    ]
    for context in ("east", "west"):
        assert f"[{context}] a: planned 1 node, at most 10 at the same time, mode volume" in lines
    assert all(line.startswith(("[east] ", "[west] ")) for line in lines)


@pytest.mark.parametrize("plays", [(completes, fails), (fails, completes)])
def test_one_fails(
    east: ApiServer,
    west: ApiServer,
    capsys: pytest.CaptureFixture[str],
    plays: Sequence[Callable[[Argo], None]],
) -> None:
    """A failure in either cluster gives exit code 1, and the verdict names the cluster."""
    on_submit(east, plays[0])
    on_submit(west, plays[1])
    good, bad = ("east", "west") if plays[0] is completes else ("west", "east")
    assert run(list(RUN)) == 1
    out = capsys.readouterr().out
    assert f"[{bad}] failed: 1 of 1 nodes lack images; NotFound ×1" in out
    assert f"[{good}] {DONE}" in out
    assert out.endswith(f"1 of 2 clusters completed: {good}; failed: {bad}\n")


@pytest.mark.parametrize("order", [("gone", "east"), ("east", "gone")])
def test_a_cluster_that_is_not_there(
    east: ApiServer, capsys: pytest.CaptureFixture[str], order: Sequence[str]
) -> None:
    """Its error is printed first, the other cluster is warmed, and the verdict and the exit code include the error."""
    on_submit(east, completes)
    assert run(["run", "--image", "busybox:1", "--name", "a", *contexts(*order)]) == 1
    got = capsys.readouterr()
    assert re.search(r"^error: \[gone\] cluster http://\S+ can't be reached: ", got.err, re.MULTILINE)
    assert got.err.index("error: [gone] ") < got.err.index("[east] a: planned")
    assert got.out == f"[east] {DONE}1 of 2 clusters completed: east; not submitted: gone\n"


def test_a_cluster_that_refuses(east: ApiServer, west: ApiServer, capsys: pytest.CaptureFixture[str]) -> None:
    """A cluster without IPS Flow gives an error and a hint; a failed task in another cluster is reported too."""
    west.remove("workflowtemplates", "ips-prewarm")
    on_submit(east, fails)
    assert run(list(RUN)) == 1
    got = capsys.readouterr()
    assert (
        "error: [west] IPS Flow is not installed in namespace warm: WorkflowTemplate ips-prewarm is missing\n"
        "hint:  Run `ips-flow install -n warm --image IMAGE`, or select the namespace of an installation with -n.\n"
    ) in got.err
    assert got.out.endswith("0 of 2 clusters completed; failed: east; not submitted: west\n")


def test_several_tasks_in_a_cluster_that_is_not_there(
    east: ApiServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It gets one request and one error; the other clusters get every task, and each cluster counts once."""
    (tmp_path / "both.yaml").write_text(CHART + AGENT, encoding="utf-8")
    arguments = ["run", "--manifest", str(tmp_path / "both.yaml"), *contexts("gone", "east")]
    assert run([*arguments, "--timeout", "1s"]) == 124
    got = capsys.readouterr()
    assert got.err.count("error: [gone] ") == 1
    names = [name for _, name in submitted(east)]
    assert len(names) == 2
    assert f"  follow the others:  ips-flow wait {names[1]} -n warm --context east\n" in got.err
    assert got.out == "0 of 2 clusters completed; not submitted: gone; not ended: east\n"


def test_no_cluster_accepts_the_task(capsys: pytest.CaptureFixture[str], east: ApiServer) -> None:
    """If no task was submitted, nothing is followed."""
    east.remove("workflowtemplates", "ips-prewarm")
    assert run(["run", "--image", "busybox:1", *contexts("east", "gone")]) == 1
    assert capsys.readouterr().out == "0 of 2 clusters completed; not submitted: east, gone\n"
    assert not any("watch=true" in call for call in east.calls)


def test_a_task_that_can_not_be_followed_any_longer(east: ApiServer, west: ApiServer) -> None:
    """If a task is deleted by another user, this is printed immediately, and the other task is followed until its end."""
    with running_command(*RUN, until="in the queue", times=2) as one:
        west.remove("workflows", "a")
        one.await_line("[west] task a is no longer followed: task a does not exist in namespace warm")
        completes(Argo(east, "a"))
        out, err = one.communicate(timeout=60)
    assert one.returncode == 1
    assert "error: [west] task a does not exist in namespace warm\nhint: " in err
    assert out == f"[east] {DONE}1 of 2 clusters completed: east; not followed until it ended: west\n"


# -- errors of usage


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (contexts("east", "east"), "duplicate --context east; expected each context once"),
        (
            contexts("east", "west", "east-too"),
            "contexts east and east-too are both namespace warm of http://",
        ),
        (
            ["-n", "warm", *contexts("east", "east-cold")],
            "contexts east and east-cold are both namespace",
        ),
        (contexts("east", "nowhere"), "has no context named nowhere"),
        ([*contexts("east", "west"), "--cancel-with", "w"], "--cancel-with names a Workflow of one cluster"),
    ],
)
def test_what_is_refused(
    east: ApiServer,
    west: ApiServer,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    """The error comes before anything is submitted."""
    assert run(["run", "--image", "busybox:1", *arguments]) == (1 if "nowhere" in arguments else 2)
    assert message in capsys.readouterr().err
    assert not east.calls
    assert not west.calls


def test_a_plan_that_would_fail(east: ApiServer, west: ApiServer, capsys: pytest.CaptureFixture[str]) -> None:
    """Each cluster is checked, each error printed, and nothing is submitted."""
    assert run([*RUN, "--plan"]) == 1
    err = capsys.readouterr().err
    assert [line.split()[:2] for line in err.splitlines() if line.startswith("error:")] == [
        ["error:", "[east]"],
        ["error:", "[west]"],
    ]
    assert not submitted(east)
    assert not submitted(west)


# -- names and namespaces


def test_one_name(east: ApiServer, west: ApiServer, capsys: pytest.CaptureFixture[str]) -> None:
    """A generated name is the same in all clusters."""
    assert run(["run", "--image", "busybox:1", *BOTH, "--detach", "-o", "name"]) == 0
    first, second = capsys.readouterr().out.split()
    assert first == second
    assert submitted(east) == submitted(west) == [("warm", first)]


def test_two_namespaces_of_one_cluster(east: ApiServer, capsys: pytest.CaptureFixture[str]) -> None:
    """Each context has its own namespace, unless -n sets one for all."""
    east.put("namespaces", {"metadata": {"name": "cold"}}, namespace="")
    for kind, name in (("workflowtemplates", "ips-prewarm"), ("configmaps", "ips-config")):
        east.put(kind, {**east.get(kind, name), "metadata": {"name": name}}, "cold")
    arguments = ["run", "--image", "busybox:1", "--name", "a", *contexts("east", "east-cold")]
    assert run([*arguments, "--detach"]) == 0
    assert submitted(east) == [("warm", "a"), ("cold", "a")]
    capsys.readouterr()
    assert run([*arguments, "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert [line for line in out.splitlines() if line.startswith("---")] == [
        "---  # [east]",
        "---  # [east-cold]",
    ]
    assert [one["metadata"]["namespace"] for one in yaml.safe_load_all(out)] == ["warm", "cold"]


def test_detached_tasks(capsys: pytest.CaptureFixture[str]) -> None:
    """`--detach` prints the command to follow each task; a task that was not submitted sets the exit code."""
    assert run([*RUN, *contexts("gone"), "--detach"]) == 1
    got = capsys.readouterr()
    assert got.out == "[east] task a submitted\n[west] task a submitted\n"
    assert "follow it:  ips-flow wait a -n warm --context east\n" in got.err
    assert "follow it:  ips-flow wait a -n warm --context west\n" in got.err
    assert "--context gone" not in got.err


# -- the command ends first


def test_timeout(east: ApiServer, capsys: pytest.CaptureFixture[str]) -> None:
    """After the timeout (124) the ended task is printed, and for the other one the command to follow it."""
    on_submit(east, completes)
    assert run([*RUN, "--timeout", "2s"]) == 124
    got = capsys.readouterr()
    assert got.out == f"[east] {DONE}1 of 2 clusters completed: east; not ended: west\n"
    assert got.err.endswith(
        "[west] not ended after 2 s: task a continues\n"
        "  follow it:  ips-flow wait a -n warm --context west\n"
        "  cancel it:  ips-flow cancel a -n warm --context west\n"
    )
    assert "--context east" not in got.err


def test_ctrl_c_does_not_change_the_tasks(east: ApiServer, west: ApiServer) -> None:
    """Ctrl-C gives exit code 130 and a hint for each cluster."""
    with running_command(*RUN, until="in the queue", times=2) as one:
        one.send_signal(signal.SIGINT)
        out, err = one.communicate(timeout=60)
    assert one.returncode == 130
    assert err == "".join(
        f"[{name}] interrupted: task a continues\n"
        f"  follow it:  ips-flow wait a -n warm --context {name}\n"
        f"  cancel it:  ips-flow cancel a -n warm --context {name}\n"
        for name in ("east", "west")
    )
    assert out == "0 of 2 clusters completed; not ended: east, west\n"
    assert not any("shutdown" in one.get("workflows", "a")["spec"] for one in (east, west))


def stop(server: ApiServer) -> None:
    """End a waiting task after its cancellation, as Argo does."""
    argo = Argo(server, "a")
    argo.wait_for(lambda workflow: workflow["spec"].get("shutdown") == "Terminate")
    argo.verdict({}, stopped=True)
    argo.phase("Failed")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_cancels_all_tasks(east: ApiServer, west: ApiServer, number: signal.Signals) -> None:
    """With --cancel-on-exit every task is cancelled before the command waits for any end; the exit code is 3."""
    with running_command(*RUN, "--cancel-on-exit", until="in the queue", times=2) as one:
        one.send_signal(number)
        stop(west)  # while the task of the first cluster still runs: the command does not wait for it
        stop(east)
        out, err = one.communicate(timeout=60)
    assert one.returncode == 3, err
    assert err.startswith("[east] interrupted: cancelling task a\n[west] interrupted: cancelling task a\n")
    assert out.endswith("0 of 2 clusters completed; cancelled: east, west\n")


def test_a_cluster_that_can_not_cancel(east: ApiServer, west: ApiServer) -> None:
    """A slow error of one cluster does not delay the others, and is printed."""
    stopped = threading.Event()
    waited: list[bool] = []

    def slow(method: str, path: str) -> bool:
        if method != "PATCH" or "/workflows/a" not in path:
            return False
        waited.append(stopped.wait(30))
        return True

    refusal = {"kind": "Status", "status": "Failure", "reason": "Forbidden", "message": "no", "code": 403}
    with running_command(*RUN, "--cancel-on-exit", until="in the queue", times=2) as one:
        east.faults.append(Fault(slow, 403, refusal, 1))
        one.send_signal(signal.SIGTERM)
        stop(west)
        stopped.set()
        out, err = one.communicate(timeout=60)
    assert waited == [True]
    assert one.returncode == 1, err
    assert "error: [east] no\n" in err
    assert out.endswith("0 of 2 clusters completed; not followed until it ended: east; cancelled: west\n")


def test_a_cluster_that_does_not_answer_a_cancel(
    east: ApiServer, west: ApiServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """All clusters share one time limit; a cluster that does not respond in time is an error."""
    answer = threading.Event()

    def silent(method: str, path: str) -> bool:
        return method == "PATCH" and "/workflows/a" in path and not answer.wait(30)

    def stops() -> None:
        west.await_call("watch=true")
        stop(west)

    def next_one(followers: follow.Followers, seconds: float) -> Any:
        if not any("watch=true" in call for call in east.calls) or not first:
            return usual(followers, seconds)
        raise first.pop()

    usual, first = follow.Followers.next, [KeyboardInterrupt()]
    monkeypatch.setattr(follow.Followers, "next", next_one)
    monkeypatch.setattr("ips_flows.cli.session.submit_and_follow._LAST_WORDS_SECONDS", 2.0)
    east.faults.append(Fault(silent, 0, {}, 1))
    threading.Thread(target=stops, daemon=True).start()
    assert run([*RUN, "--cancel-on-exit"]) == 1
    answer.set()
    got = capsys.readouterr()
    assert "error: [east] task a was not cancelled: its cluster did not respond in time\n" in got.err
    assert got.out.endswith("0 of 2 clusters completed; not followed until it ended: east; cancelled: west\n")


def test_threads_end_with_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    """The threads end soon after the command."""
    assert run([*RUN, "--timeout", "1s"]) == 124
    capsys.readouterr()
    until = time.monotonic() + 10
    while left := [one.name for one in threading.enumerate() if one.name.startswith("follow-")]:
        assert time.monotonic() < until, left
        time.sleep(0.05)


def test_an_unexpected_error_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    """An unexpected error of a thread is raised to the caller."""

    def trip(*_: Any, **__: Any) -> Iterator[None]:
        raise LookupError("ours")

    monkeypatch.setattr(follow, "follow", trip)
    with pytest.raises(LookupError, match="ours"):
        run(list(RUN))


# -- for programs


def test_documents_name_their_context(
    east: ApiServer, west: ApiServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """JSON documents follow each other, YAML documents are separated, and the verdict goes to stderr."""
    on_submit(east, completes)
    on_submit(west, completes)
    assert run([*RUN, "-o", "json"]) == 0
    got = capsys.readouterr()
    first, _, second = got.out.partition("\n}\n")
    told = [json.loads(first + "\n}"), json.loads(second)]
    assert [(one["context"], one["taskId"], one["status"]) for one in told] == [
        ("east", "a", "completed"),
        ("west", "a", "completed"),
    ]
    assert got.err.endswith("\n2 of 2 clusters completed: east, west\n")
    assert run([*RUN, "-o", "yaml"]) == 0
    assert [one["context"] for one in yaml.safe_load_all(capsys.readouterr().out)] == ["east", "west"]
    assert run(["run", "--image", "busybox:1", "--name", "a", *contexts("west"), "-o", "json"]) == 0
    assert "context" not in json.loads(capsys.readouterr().out)


def test_a_report(east: ApiServer, tmp_path: Path) -> None:
    """A report has one suite per cluster; a cluster that cannot be reached is an error in it."""
    on_submit(east, completes)
    file = tmp_path / "a.xml"
    arguments = ["run", "--image", "busybox:1", "--name", "a", *contexts("east", "gone")]
    assert run([*arguments, "--junit", str(file)]) == 1
    root = ET.parse(file).getroot()  # noqa: S314  (ours)
    assert [(one.get("name"), one.get("errors")) for one in root] == [("[east] a", "0"), ("[gone] task", "1")]
    assert [case.get("classname") for case in root.iter("testcase")] == ["[east] n1", "[gone] task"]


def test_one_fold(
    east: ApiServer, west: ApiServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One fold has the lines of all clusters."""
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    on_submit(east, completes)
    on_submit(west, completes)
    assert run(list(RUN)) == 0
    _, begin, rest = capsys.readouterr().err.partition("::group::task a\n")
    inside, end, after = rest.partition("::endgroup::\n")
    assert begin
    assert end
    assert after == ""
    assert "[east] a: planned" in inside
    assert "[west] a: planned" in inside
