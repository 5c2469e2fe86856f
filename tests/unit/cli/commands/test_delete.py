"""`ips-flow delete` of a task whose last step did not run: the wait for its verdict, and the messages."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest

from ips_flows.cli.commands import delete
from ips_flows.cli.main import run
from ips_flows.cli.session import follow
from ips_flows.core import clock
from tests.fakes.apiserver import ApiServer
from tests.fakes.argo import Argo, pulled

pytestmark = pytest.mark.usefixtures("shell")

ALONE = "a: ended without a verdict, and no keeper is active to write one; deleting it anyway\n"
WAITING = "a: ended without a verdict; waiting up to 150 s for the keeper to write one\n"


def submitted(server: ApiServer, capsys: pytest.CaptureFixture[str]) -> Argo:
    assert run(["run", "--image", "busybox:1", "--name", "a", "--detach"]) == 0
    capsys.readouterr()
    return Argo(server, "a")


def ended(server: ApiServer, capsys: pytest.CaptureFixture[str]) -> Argo:
    """Make a task that ended without its last step."""
    argo = submitted(server, capsys)
    argo.phase("Running")
    argo.planned(waves={"wave-1": 1})
    argo.phase("Succeeded")
    return argo


def keeper(server: ApiServer, holder: str = "server-1", silent: float = 0.0) -> None:
    renewed = clock.stamp(clock.now() - timedelta(seconds=silent))
    spec = {"holderIdentity": holder, "renewTime": renewed}
    server.put("leases", {"metadata": {"name": "ips-keeper"}, "spec": spec})


@contextmanager
def when_asked(server: ApiServer, call: str, act: Callable[[], object]) -> Iterator[None]:
    """Do something as soon as the command has made a call."""

    def wait() -> None:
        server.await_call(call)
        act()

    thread = threading.Thread(target=wait)
    thread.start()
    yield
    thread.join()


def is_there(server: ApiServer) -> bool:
    return ("workflows", "warm", "a") in server.store.objects


def test_the_keepers_verdict_is_awaited(server: ApiServer, capsys: pytest.CaptureFixture[str]) -> None:
    """If a keeper is active, a task is deleted only after it has its verdict and so its notification."""
    argo = ended(server, capsys)
    keeper(server)
    there: list[bool] = []

    def write() -> None:
        there.append(is_there(server))
        argo.verdict({"n1": pulled()})

    with when_asked(server, "GET .*/workflows.*watch=true", write):
        assert run(["delete", "a"]) == 0
    assert capsys.readouterr() == ("task a deleted\n", WAITING)
    assert (there, is_there(server)) == ([True], False)


def test_a_cancelled_task_whose_last_step_is_lost(
    server: ApiServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The keeper's time starts after Argo's end and the time for its own last step."""
    argo = submitted(server, capsys)
    argo.phase("Running")
    argo.planned(waves={"wave-1": 1})
    keeper(server)
    first = iter([0.1])
    to_the_end = follow.follow_one
    monkeypatch.setattr(
        follow,
        "follow_one",
        lambda *names, **options: to_the_end(*names, **{"grace": next(first, 150.0), **options}),
    )

    def changed(kind: str, item: dict[str, object]) -> None:
        if kind == "workflows" and "shutdown" in item["spec"]:  # type: ignore[operator]
            server.on_change = None
            argo.phase("Failed")

    server.on_change = changed
    with when_asked(server, "GET .*/leases/", lambda: argo.verdict({}, stopped=True)):
        assert run(["delete", "a"]) == 0
    out, err = capsys.readouterr()
    assert out == "task a deleted\n"
    assert err.startswith("a: not ended yet; cancelling it first\n")
    assert err.endswith(WAITING)


@pytest.mark.parametrize(
    "prepare",
    [
        lambda _: None,
        lambda server: keeper(server, silent=120),
        lambda server: keeper(server, holder=""),
        lambda server: server.forbid("GET .*/leases/", "get", "leases", "coordination.k8s.io"),
    ],
    ids=["none", "a silent one", "one that went", "one that can not be seen"],
)
def test_without_a_keeper_the_command_does_not_wait(
    server: ApiServer, capsys: pytest.CaptureFixture[str], prepare: Callable[[ApiServer], None]
) -> None:
    """Without a keeper no verdict is written; a message states it."""
    ended(server, capsys)
    prepare(server)
    assert run(["delete", "a"]) == 0
    assert capsys.readouterr() == ("task a deleted\n", ALONE)


def test_a_keeper_that_writes_nothing(
    server: ApiServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wait is limited, and the task is then deleted anyway."""
    monkeypatch.setattr(delete, "_KEEPER_SECONDS", 0.2)
    ended(server, capsys)
    keeper(server)
    assert run(["delete", "a"]) == 0
    out, err = capsys.readouterr()
    assert out == "task a deleted\n"
    assert err.endswith("a: the keeper wrote no verdict; deleting it anyway\n")


def test_the_time_of_the_command_counts(server: ApiServer, capsys: pytest.CaptureFixture[str]) -> None:
    """`--timeout` ends this wait like any other: exit 124, and the task still exists."""
    ended(server, capsys)
    keeper(server)
    assert run(["delete", "a", "--timeout", "1s"]) == 124
    left = "not deleted: the end of the task is not recorded yet; delete it later, or with --now\n"
    assert capsys.readouterr() == ("", WAITING + left)
    assert is_there(server)


@pytest.mark.parametrize(("pending", "arguments"), [(True, []), (False, ["--now"])])
def test_tasks_that_are_deleted_immediately(
    server: ApiServer, capsys: pytest.CaptureFixture[str], *, pending: bool, arguments: list[str]
) -> None:
    """A task that never started has no last step; with --now the command does not wait."""
    if pending:
        argo = submitted(server, capsys)

        def changed(kind: str, item: dict[str, object]) -> None:
            if kind == "workflows" and "shutdown" in item["spec"]:  # type: ignore[operator]
                server.on_change = None
                argo.phase("Failed")

        server.on_change = changed
    else:
        ended(server, capsys)
    keeper(server)
    assert run(["delete", "a", *arguments]) == 0
    out, err = capsys.readouterr()
    assert out == "task a deleted\n"
    assert "verdict" not in err
