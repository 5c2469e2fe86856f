"""Fixtures and settings of the unit tests: an API server, a task's stage, the same generated examples in every run."""

from __future__ import annotations

import gc
import io
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.configuration import set_hypothesis_home_dir

from ips_flows.kube.client import Kube
from tests.fakes.apiserver import ApiServer, running
from tests.support.rbac import granted, needed
from tests.support.step_harness import Stage

set_hypothesis_home_dir("/tmp/ips-flow-hypothesis")  # noqa: S108  (outside the work tree)
settings.register_profile(
    "fixed",
    derandomize=True,
    max_examples=40,
    deadline=None,  # the machine's cores do other work at the same time
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
# `--hypothesis-profile searching` generates more examples, different each time.
settings.register_profile("searching", max_examples=2000, deadline=None, database=None)
settings.load_profile("fixed")

# Collection creates objects that live until the end: tests, models, imported libraries. Without these two lines the
# garbage collector walks them thousands of times, a tenth of all processor time.
gc.disable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the tests that wait first, so that the last ones use all processors."""
    items.sort(key=lambda item: item.get_closest_marker("waits") is None)


def pytest_collection_finish() -> None:
    """Exclude the objects that collection created from garbage collection."""
    gc.collect()
    gc.freeze()
    gc.enable()


@pytest.fixture
def server() -> Iterator[ApiServer]:
    """Run an API server that has only the settings."""
    with running() as one:
        yield one


@pytest.fixture
def kube(server: ApiServer, tmp_path: Path) -> Kube:
    """Return a connection to the server."""
    return Kube.connect(str(server.kubeconfig(tmp_path)))


@pytest.fixture
def shell(server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the environment so that the command line uses the server."""
    monkeypatch.setenv("KUBECONFIG", str(server.kubeconfig(tmp_path)))
    for name in ("IPS_FLOW_NAMESPACE", "K8S_NAMESPACE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make stdin a terminal."""
    stdin = io.StringIO()
    monkeypatch.setattr(stdin, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdin", stdin)


@pytest.fixture
def whole(server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    """Return a task on the server for all steps; fail if their calls need more than their Roles grant."""
    before = signal.getsignal(signal.SIGTERM)
    yield Stage(server, tmp_path, monkeypatch)
    signal.signal(signal.SIGTERM, before)
    accounts = ("ips-flow-filter", "ips-flow-drive", "ips-flow-finish", "ips-flow-server")
    rights = {right for account in accounts for right in granted(account)}
    assert needed(server.calls) - {("argoproj.io", "workflows", "delete")} <= rights  # a right of the user


@pytest.fixture
def stage(whole: Stage) -> Iterator[Stage]:
    """Return such a task for its driver only."""
    yield whole
    assert needed(whole.server.calls) <= granted("ips-flow-drive")
