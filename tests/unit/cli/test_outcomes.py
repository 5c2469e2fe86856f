"""`argv → exit code, stdout, stderr`: the exact output of the command line."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ips_flows.cli.main import run
from tests.fakes.apiserver import ApiServer, running
from tests.fakes.argo import Argo, failed, on_submit, pulled

Prepare = Callable[[ApiServer], object]


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiServer]:
    """Start a server, point the environment to it, and work in a folder with requests."""
    with running() as one:
        monkeypatch.setenv("KUBECONFIG", str(one.kubeconfig(tmp_path)))
        monkeypatch.delenv("IPS_FLOW_NAMESPACE", raising=False)
        monkeypatch.delenv("K8S_NAMESPACE", raising=False)
        monkeypatch.chdir(tmp_path)
        (tmp_path / "images.yaml").write_text("name: a\nimages: [busybox:1]\n", encoding="utf-8")
        (tmp_path / "typo.yaml").write_text("name: a\nimages: [busybox:1]\nbatchsize: 3\n", encoding="utf-8")
        (tmp_path / "latin.yaml").write_bytes(b"name: caf\xe9\n")
        (tmp_path / "folder").mkdir()
        yield one


def submitted(server: ApiServer, name: str = "a") -> Argo:
    """Submit a task."""
    assert run(["run", "--image", "busybox:1", "--name", name, "--detach"]) == 0
    return Argo(server, name)


def completed(server: ApiServer, name: str = "a") -> Argo:
    """Make a task that has pulled its image onto two nodes."""
    argo = submitted(server, name)
    argo.phase("Running")
    argo.planned(waves={"wave-1": 2}, skipped={"Cordoned": 1})
    nodes = {"node1": pulled(), "node2": pulled(0.5)}
    argo.results(nodes)
    argo.verdict(nodes)
    argo.phase("Succeeded")
    return argo


def broken(server: ApiServer, name: str = "a") -> Argo:
    """Make a task that failed on one of two nodes."""
    argo = submitted(server, name)
    argo.phase("Running")
    argo.planned(waves={"wave-1": 2})
    nodes = {"node1": pulled(), "node2": failed()}
    argo.results(nodes)
    argo.verdict(nodes)
    argo.phase("Failed")
    return argo


def cancelled(server: ApiServer, name: str = "a") -> Argo:
    """Make a pending task that was terminated, as Argo stores it."""
    argo = submitted(server, name)
    server.change("workflows", name, {"spec": {"shutdown": "Terminate"}})
    argo.phase("Succeeded")
    return argo


def without(kind: str, name: str, namespace: str = "warm") -> Prepare:
    return lambda server: server.remove(kind, name, namespace)


def limit(value: str | None) -> Prepare:
    return lambda server: server.put(
        "configmaps",
        {"metadata": {"name": "ips-config"}, "data": {"max-concurrent-tasks": value} if value else {}},
    )


def no_namespace(server: ApiServer) -> None:
    server.remove("namespaces", "warm", "")
    server.remove("workflowtemplates", "ips-prewarm")
    server.remove("configmaps", "ips-config")


def no_argo(server: ApiServer) -> None:
    server.groups.discard("argoproj.io")


def no_rights(server: ApiServer) -> None:
    server.forbid("POST .*/workflows", "create", "workflows", "argoproj.io")
    server.forbid("GET .*/workflows[^t]", "list", "workflows", "argoproj.io")
    server.forbid("GET .*/(workflowtemplates|configmaps)", "get", "anything")


def no_credentials(server: ApiServer) -> None:
    server.fail(".*", 401, "Unauthorized", "Unauthorized")


def nothing(_: ApiServer) -> None:
    """Change nothing on the server."""


NOT_HERE = "hint:  `ips-flow list -n warm` shows the tasks, -A those of all namespaces.\n"
LACKS_RIGHTS = "hint:  Request these permissions, or use another --context; `ips-flow doctor` lists missing permissions.\n"
MENDS_LIMIT = (
    "hint:  kubectl -n warm patch configmap ips-config --type merge "
    """-p '{"data":{"max-concurrent-tasks":"3"}}'\n"""
)
NO_ARGO = (
    "error: Argo Workflows is not installed in this cluster: the API group argoproj.io is missing\n"
    "hint:  Install Argo Workflows, or use another --context; `ips-flow doctor` checks the rest.\n"
)
NO_NAMESPACE = (
    "error: namespace warm does not exist\n"
    "hint:  Select another with -n, or create it: `ips-flow install -n warm --create-namespace --image IMAGE`.\n"
)

OUTCOMES: list[tuple[str, Prepare, str, int, str, str]] = [
    # what, state of the cluster, command line, exit code, stdout, stderr
    (
        "a verb that is none",
        nothing,
        "lst",
        2,
        "",
        ("error: unknown verb 'lst'; did you mean 'list'?\nhint:  See `ips-flow --help`.\n"),
    ),
    (
        "an option that is none",
        nothing,
        "list --wacth",
        2,
        "",
        ("error: No such option '--wacth'. Did you mean '--watch'?\nhint:  See `ips-flow list --help`.\n"),
    ),
    (
        "a duration that is none",
        nothing,
        "wait a --timeout soon",
        2,
        "",
        (
            "error: Invalid value for '--timeout': 'soon' is not a duration; "
            'expected one such as "90s", "10m" or "1h30m"\n'
            "hint:  See `ips-flow wait --help`.\n"
        ),
    ),
    (
        "nothing to run",
        nothing,
        "run",
        2,
        "",
        (
            "error: nothing to run: neither FILE nor --image was given\n"
            "hint:  Give a request file, - for stdin, or an image: `ips-flow run --image busybox:1.37`.\n"
        ),
    ),
    (
        "a file that is not there",
        nothing,
        "run nowhere.yaml",
        2,
        "",
        "error: nowhere.yaml: file does not exist\nhint:  Relative paths start at {folder}.\n",
    ),
    ("a folder", nothing, "run folder", 2, "", "error: folder: is a directory; expected a file\n"),
    (
        "a file that is not UTF-8",
        nothing,
        "run latin.yaml",
        2,
        "",
        "error: latin.yaml:1:10: got the byte 0xe9; allowed: text in UTF-8\n",
    ),
    (
        "a wrong key",
        nothing,
        "run typo.yaml",
        2,
        "",
        "error: typo.yaml:3:1: batchsize: {complaint}\n",
    ),
    (
        "no namespace",
        no_namespace,
        "run images.yaml",
        1,
        "",
        NO_NAMESPACE,
    ),
    ("a list without a namespace", no_namespace, "list", 1, "", NO_NAMESPACE),
    ("a task of no namespace", no_namespace, "get a", 1, "", NO_NAMESPACE),
    ("no Argo", no_argo, "run images.yaml", 1, "", NO_ARGO),
    ("a list without Argo", no_argo, "list", 1, "", NO_ARGO),
    ("a task without Argo", no_argo, "get a", 1, "", NO_ARGO),
    (
        "no templates",
        without("workflowtemplates", "ips-prewarm"),
        "run images.yaml",
        1,
        "",
        (
            "error: IPS Flow is not installed in namespace warm: WorkflowTemplate ips-prewarm is missing\n"
            "hint:  Run `ips-flow install -n warm --image IMAGE`, or select the namespace of an installation with -n.\n"
        ),
    ),
    (
        "no settings",
        without("configmaps", "ips-config"),
        "run images.yaml",
        1,
        "",
        (
            "error: ConfigMap ips-config is missing in namespace warm, so no task can start\n"
            "hint:  Run `ips-flow install -n warm --image IMAGE`.\n"
        ),
    ),
    (
        "a limit of nothing",
        limit(None),
        "run images.yaml",
        1,
        "",
        "error: max-concurrent-tasks in ConfigMap ips-config of namespace warm is missing, "
        "expected a number from 1\n" + MENDS_LIMIT,
    ),
    (
        "a limit of 0",
        limit("0"),
        "run images.yaml",
        1,
        "",
        "error: max-concurrent-tasks in ConfigMap ips-config of namespace warm is '0', "
        "expected a number from 1\n" + MENDS_LIMIT,
    ),
    (
        "no right to submit",
        no_rights,
        "run images.yaml",
        1,
        "",
        "error: me may not create workflows.argoproj.io in namespace warm\n" + LACKS_RIGHTS,
    ),
    (
        "no right to list",
        no_rights,
        "list",
        1,
        "",
        "error: me may not list workflows.argoproj.io in namespace warm\n" + LACKS_RIGHTS,
    ),
    (
        "no credentials",
        no_credentials,
        "list",
        1,
        "",
        (
            "error: the cluster rejected the credentials: Unauthorized\n"
            "hint:  Log in to the cluster again, or use another --context.\n"
        ),
    ),
    (
        "a context that is none",
        nothing,
        "list --context nowhere",
        1,
        "",
        (
            "error: kubeconfig {kubeconfig} has no context named nowhere\n"
            "hint:  Set --kubeconfig or KUBECONFIG to a kubeconfig file, and --context to one of its contexts.\n"
        ),
    ),
    ("no tasks", nothing, "list", 0, "", "no tasks in namespace warm\n"),
    ("no tasks anywhere", nothing, "list -A", 0, "", "no tasks in any namespace\n"),
    ("no tasks as JSON", nothing, "list -o json", 0, '{\n  "tasks": [],\n  "total": 0\n}\n', ""),
    ("no such task", nothing, "get a", 1, "", "error: task a does not exist in namespace warm\n" + NOT_HERE),
    (
        "a Workflow that is not a task",
        lambda server: server.put("workflows", {"metadata": {"name": "a"}}),
        "get a",
        1,
        "",
        (
            "error: Workflow a in namespace warm is not a task of IPS Flow\n"
            "hint:  `ips-flow list -n warm` shows the tasks.\n"
        ),
    ),
    (
        "submitted only",
        nothing,
        "run images.yaml --detach",
        0,
        "task a submitted\n",
        "task a submitted in namespace warm\nfollow it:  ips-flow wait a -n warm\n",
    ),
    (
        "submitted only, the name",
        nothing,
        "run images.yaml --detach -o name",
        0,
        "a\n",
        "task a submitted in namespace warm\nfollow it:  ips-flow wait a -n warm\n",
    ),
    (
        "submitted twice",
        submitted,
        "run images.yaml --detach",
        0,
        "task a unchanged\n",
        (
            "task a unchanged: it already exists in namespace warm with the same request\n"
            "follow it:  ips-flow wait a -n warm\n"
        ),
    ),
    (
        "a name that is taken",
        submitted,
        "run images.yaml --batch-size 3",
        1,
        "",
        (
            "error: name a is taken in namespace warm by a task with another request\n"
            "hint:  Use another --name.\n"
        ),
    ),
    (
        "unchanged and completed",
        completed,
        "run images.yaml",
        0,
        "completed: every image is on 2 of 2 nodes – 2 pulled, 8.0 MB in 12 s\nskipped 1 node: Cordoned ×1\n",
        (
            "task a unchanged: it already exists in namespace warm with the same request\n"
            "a: planned 2 nodes, at most 10 at the same time, mode volume, skipped Cordoned ×1\n"
            "a: wave-1: 2 of 2 nodes done\n"
        ),
    ),
    (
        "unchanged and failed",
        broken,
        "run images.yaml",
        1,
        (
            "failed: 1 of 2 nodes lack images; NotFound ×1 – 1 pulled, 1 failed, 4.0 MB in 12 s\n"
            "NODE    IMAGE       REASON     MESSAGE\n"
            "node2   busybox:1   NotFound   manifest unknown\n"
        ),
        (
            "task a unchanged: it already exists in namespace warm with the same request\n"
            "a: planned 2 nodes, at most 10 at the same time, mode volume\n"
            "This task was submitted by an earlier run. To retry its nodes:\n"
            "  ips-flow retry a -n warm\n"
        ),
    ),
    (
        "retry of a failed task",
        broken,
        "retry a --detach",
        0,
        "task a-r1 submitted\n",
        ("task a-r1 submitted in namespace warm\nfollow it:  ips-flow wait a-r1 -n warm\n"),
    ),
    (
        "retry of a completed task",
        completed,
        "retry a",
        1,
        "",
        "error: task a in namespace warm has no nodes to retry: every image is on 2 of 2 nodes\n",
    ),
    (
        "retry of a task that waits",
        submitted,
        "retry a",
        1,
        "",
        (
            "error: task a in namespace warm has not ended: pending\n"
            "hint:  `ips-flow wait a -n warm` waits until it ends, `ips-flow cancel` stops it.\n"
        ),
    ),
    (
        "scale",
        submitted,
        "scale a --batch-size 50%",
        0,
        "task a pulls on at most 50% of its eligible nodes at the same time\n",
        "",
    ),
    ("pause", submitted, "scale a --batch-size 0", 0, "task a paused\n", ""),
    (
        "scale an ended task",
        completed,
        "scale a --batch-size 5",
        1,
        "",
        (
            "error: task a in namespace warm has already ended: completed\n"
            "hint:  `ips-flow get a -n warm` shows its result.\n"
        ),
    ),
    ("pause with several zeros", submitted, "scale a --batch-size 000", 0, "task a paused\n", ""),
    (
        "scale with leading zeros",
        submitted,
        "scale a --batch-size 001",
        0,
        "task a pulls on at most 1 node at the same time\n",
        "",
    ),
    (
        "scale to no size",
        submitted,
        "scale a --batch-size 1001",
        2,
        "",
        (
            "error: batch size '1001': expected a number from 1 to 1000, a percentage such as \"10%\","
            " or 0 to pause\n"
        ),
    ),
    (
        "wait for a completed task",
        completed,
        "wait a -o name",
        0,
        "a\n",
        (
            "a: planned 2 nodes, at most 10 at the same time, mode volume, skipped Cordoned ×1\n"
            "a: wave-1: 2 of 2 nodes done\n"
            "completed: every image is on 2 of 2 nodes – 2 pulled, 8.0 MB in 12 s\n"
        ),
    ),
    (
        "wait for a cancelled task",
        cancelled,
        "wait a",
        3,
        "cancelled: stopped before its plan was made\n",
        "",
    ),
    (
        "a wait that takes too long",
        submitted,
        "wait a --timeout 1s",
        124,
        "",
        (
            "a: pending, number 1 in the queue\n"
            "not ended after 1 s: task a continues\n"
            "  follow it:  ips-flow wait a -n warm\n"
            "  cancel it:  ips-flow cancel a -n warm\n"
        ),
    ),
    (
        "a completed task",
        completed,
        "get a",
        0,
        (
            "NAME   STATUS      PRIORITY   NODES   FAILED   IMAGES   AGE   DURATION\n"
            "a      completed   5          2/2     0        1        {age}\n"
            "\n"
            "NODE    IMAGE       RESULT   REASON   TIME    SIZE\n"
            "node1   busybox:1   pulled   –        1.5 s   4.0 MB\n"
            "node2   busybox:1   pulled   –        0.5 s   4.0 MB\n"
        ),
        "completed: every image is on 2 of 2 nodes\n",
    ),
    ("names only", completed, "list -o name", 0, "a\n", ""),
    (
        "a list",
        broken,
        "list -A --status failed",
        0,
        (
            "NAMESPACE   NAME   STATUS   PRIORITY   NODES   FAILED   IMAGES   AGE   DURATION\n"
            "warm        a      failed   5          1/2     1        1        {age}\n"
        ),
        "",
    ),
    (
        "a list of others",
        broken,
        "list --status running",
        0,
        "",
        "no matching tasks in namespace warm\n",
    ),
    ("cancel what waits", submitted, "cancel a", 0, "task a cancelled\n", ""),
    (
        "cancel what runs",
        lambda server: submitted(server).phase("Running"),
        "cancel a",
        0,
        "task a is being cancelled\n",
        "",
    ),
    (
        "cancel what has ended, and what is not there",
        completed,
        "cancel a b",
        1,
        "",
        "error: task a in namespace warm has already ended: completed\n"
        "hint:  `ips-flow get a -n warm` shows its result.\n"
        "error: task b does not exist in namespace warm\n" + NOT_HERE,
    ),
    ("delete what has ended", completed, "delete a", 0, "task a deleted\n", ""),
    ("delete immediately", submitted, "delete a --now", 0, "task a deleted\n", ""),
    (
        "delete what is not there",
        nothing,
        "delete a",
        1,
        "",
        "error: task a does not exist in namespace warm\n" + NOT_HERE,
    ),
    ("no logs yet", submitted, "logs a", 0, "", "task a has no step pods yet; -f waits for them\n"),
    (
        "no logs any more",
        completed,
        "logs a",
        0,
        "",
        "the step pods of task a and their logs are deleted; `ips-flow get a` shows the results\n",
    ),
    ("a version", nothing, "version", 0, "ips-flow    0.1.0\ntemplates   0.1.0   (namespace warm)\n", ""),
    (
        "a version of templates that are not there",
        without("workflowtemplates", "ips-prewarm"),
        "version",
        0,
        "ips-flow    0.1.0\ntemplates   –\n",
        'templates: workflowtemplates "ips-prewarm" not found\n',
    ),
    ("a version for programs", nothing, "version -o json --client", 0, '{\n  "client": "0.1.0"\n}\n', ""),
]


@pytest.mark.parametrize(
    ("prepare", "line", "code", "out", "err"),
    [pytest.param(*outcome[1:], id=outcome[0]) for outcome in OUTCOMES],
)
def test_outcome(
    *,
    server: ApiServer,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    prepare: Prepare,
    line: str,
    code: int,
    out: str,
    err: str,
) -> None:
    """A command line has exactly this exit code, this stdout and this stderr."""
    prepare(server)
    capsys.readouterr()
    assert run(line.split()) == code
    got = capsys.readouterr()
    known = {"{folder}": str(tmp_path), "{kubeconfig}": str(tmp_path / "kubeconfig")}
    assert masked(got.out, out) == filled(out, known)
    assert masked(got.err, err) == filled(err, known)


def filled(text: str, known: dict[str, str]) -> str:
    for mark, value in known.items():
        text = text.replace(mark, value)
    return text


def masked(got: str, wanted: str) -> str:
    """Return the output, with a mark for each part that depends on the time or on other modules."""
    lines = got.splitlines(keepends=True)
    for index, line in enumerate(wanted.splitlines(keepends=True)):
        for mark in ("{age}", "{complaint}"):
            if mark in line and index < len(lines) and lines[index].startswith(line.split(mark)[0]):
                lines[index] = line
    return "".join(lines)


def test_a_request_from_stdin(
    server: ApiServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`-` reads stdin; flags override its fields."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"- busybox:1\n"), encoding="utf-8"))
    assert run(["run", "-", "--name", "piped", "--priority", "9", "--detach"]) == 0
    assert capsys.readouterr().out == "task piped submitted\n"
    assert server.get("workflows", "piped")["spec"]["priority"] == 9


@pytest.mark.usefixtures("terminal")
def test_stdin_that_is_a_terminal_is_refused(server: ApiServer, capsys: pytest.CaptureFixture[str]) -> None:
    """The command does not wait for input from a terminal."""
    assert run(["run", "-"]) == 2
    assert capsys.readouterr().err == (
        "error: got - for stdin, but stdin is a terminal; expected a pipe or a file\n"
        "hint:  Pipe a request to it: `ips-flow run - < images.yaml`.\n"
    )
    assert not server.calls


def test_a_cluster_that_is_not_there(
    server: ApiServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An address without a server gives one error and a hint."""
    with ApiServer() as gone:
        config = gone.kubeconfig(tmp_path)
    assert run(["run", "--image", "busybox:1", "--kubeconfig", str(config)]) == 1
    assert capsys.readouterr().err == (
        f"error: cluster {gone.url} can't be reached: [Errno 111] Connection refused\n"
        "hint:  Check that the cluster is running, and that --context names the right one.\n"
    )
    assert not server.calls


def test_a_run_to_the_end(server: ApiServer, capsys: pytest.CaptureFixture[str]) -> None:
    """In a pipe, `run` prints one line per change on stderr and the task as JSON on stdout."""

    def play(argo: Argo) -> None:
        argo.phase("Running")
        argo.planned(waves={"wave-1": 1})
        argo.results({"node1": pulled()})
        argo.verdict({"node1": pulled()})

    on_submit(server, play)
    assert run(["run", "images.yaml", "-o", "json"]) == 0
    got = capsys.readouterr()
    document = json.loads(got.out)
    assert (document["status"], document["progress"]["percentage"]) == ("completed", 100)
    assert document["nodeStatuses"]["node1"]["busybox:1"]["result"] == "pulled"
    first, *_, last = got.err.splitlines()
    assert first == "task a submitted in namespace warm"
    assert last == "completed: every image is on 1 of 1 nodes – 1 pulled, 4.0 MB in 12 s"


def test_logs_come_in_order_with_their_step(server: ApiServer, capsys: pytest.CaptureFixture[str]) -> None:
    """Each line begins with its step, in the order of the steps, without the lines of Argo's executor."""
    argo = completed(server)
    executor = 'time=2026-01-01T00:00:01.000Z level=INFO msg="waiting for signals" argo=true'
    argo.pod("filter", lines=(executor, "2 nodes", "planned"))
    argo.pod("drive", lines=("node1 done",))
    server.change("pods", "a-filter-1234567", {"metadata": {"creationTimestamp": "2026-01-01T00:00:00Z"}})
    server.change("pods", "a-drive-1234567", {"metadata": {"creationTimestamp": "2026-01-01T00:00:05Z"}})
    capsys.readouterr()
    for arguments in (["logs", "a"], ["logs", "a", "-f"]):
        assert run(arguments) == 0
        assert capsys.readouterr().out == "[filter] 2 nodes\n[filter] planned\n[drive] node1 done\n"


def test_ctrl_c_does_not_change_the_task(
    server: ApiServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C ends the command with 130 and prints the commands to continue; the task is not changed."""

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    submitted(server)
    capsys.readouterr()
    monkeypatch.setattr("ips_flows.cli.session.follow.Followers.next", interrupt)
    assert run(["wait", "a"]) == 130
    assert capsys.readouterr().err == (
        "interrupted: task a continues\n"
        "  follow it:  ips-flow wait a -n warm\n"
        "  cancel it:  ips-flow cancel a -n warm\n"
    )
    assert "shutdown" not in server.get("workflows", "a")["spec"]


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_completion_scripts_know_the_program(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The completion script of a shell calls this program."""
    assert run(["completion", shell]) == 0
    assert "_IPS_FLOW_COMPLETE" in capsys.readouterr().out


def test_render_checks_and_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--check` prints the differences and exits with 1; after writing there are none."""
    folder = tmp_path / "templates"
    assert run(["render", "--check", "--output", str(folder)]) == 1
    assert "out of date: " in capsys.readouterr().err
    assert run(["render", "--output", str(folder)]) == 0
    assert run(["render", "--check", "--output", str(folder)]) == 0
    (folder / "ips-prewarm.yaml").write_text("other\n", encoding="utf-8")
    (folder / "stale.yaml").write_text("old\n", encoding="utf-8")
    capsys.readouterr()
    assert run(["render", "--check", "--output", str(folder)]) == 1
    got = capsys.readouterr()
    assert "-other" in got.out
    assert got.err == "out of date: ips-prewarm.yaml, stale.yaml; run `ips-flow render` to update\n"
