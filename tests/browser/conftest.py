"""Fixtures: a server with a fake API server, and Chromium."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from ips_flows.core.request.model import merge_overrides
from ips_flows.kube.client import Kube
from ips_flows.operations.submit import submit_request
from tests.browser.site import Site, Tab, chromium_running, looking
from tests.fakes.apiserver import ApiServer, running
from tests.fakes.argo import Argo

NewTab = Callable[..., Tab]
Submit = Callable[..., Argo]


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """One Chromium of the system for all tests."""
    with chromium_running() as browser:
        yield browser


@pytest.fixture
def server() -> Iterator[ApiServer]:
    """An API server with a namespace in which IPS Flow is installed."""
    with running() as one:
        yield one


@pytest.fixture
def environment(server: ApiServer, tmp_path: Path) -> dict[str, str]:
    """Environment in which `ips-flow serve` uses that API server."""
    return {"KUBECONFIG": str(server.kubeconfig(tmp_path)), "K8S_NAMESPACE": "warm"}


@pytest.fixture
def site(environment: dict[str, str]) -> Iterator[Site]:
    """A server with `--auth none`."""
    one = Site(environment, "--auth", "none")
    yield one
    one.stop()


@pytest.fixture
def new_tab(chromium: Browser, site: Site) -> Iterator[NewTab]:
    """Factory of tabs with a given language, width and so on. A console error fails the test."""
    with contextlib.ExitStack() as tabs:
        yield lambda **options: tabs.enter_context(looking(chromium, site.url, **options))


@pytest.fixture
def tab(new_tab: NewTab) -> Tab:
    """One tab, in English."""
    return new_tab()


@pytest.fixture
def submit(server: ApiServer, environment: dict[str, str]) -> Submit:
    """Factory of tasks: submits one and returns the fake Argo that drives it."""
    kube = Kube.connect(environment["KUBECONFIG"])

    def make(name: str, *images: str, **fields: Any) -> Argo:
        overrides = {"images": list(images) or ["busybox:1"], "name": name, **fields}
        submit_request(kube, "warm", merge_overrides(None, "flags", overrides))
        return Argo(server, name)

    return make


@pytest.fixture
def workflows(server: ApiServer) -> Callable[[], dict[str, Any]]:
    """Function that returns the existing Workflows by name."""

    def read() -> dict[str, Any]:
        return {
            name: item for (kind, _, name), item in list(server.store.objects.items()) if kind == "workflows"
        }

    return read
