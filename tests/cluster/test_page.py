"""The page in Chromium against the real cluster: actions of a user, compared with the state of the nodes."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.site import Site, Tab, chromium_running, looking
from tests.cluster.audit import audit, await_marks
from tests.cluster.conftest import Cluster, SlowTask
from tests.cluster.test_warming import tagged

_END_MILLISECONDS = 240_000


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Start Debian's Chromium."""
    with chromium_running() as browser:
        yield browser


@pytest.fixture
def site(cluster: Cluster) -> Iterator[Site]:
    """Start a server of this checkout on loopback, connected to the cluster."""
    one = Site({**cluster.environment, "K8S_NAMESPACE": cluster.namespace}, "--auth", "none")
    yield one
    one.stop()


@pytest.fixture
def tab(chromium: Browser, site: Site) -> Iterator[Tab]:
    """Open a tab with the page; an error in its console fails the test."""
    with looking(chromium, site.url) as one:
        yield one


def status(tab: Tab, word: str) -> None:
    """Wait until the task on the page has this status."""
    expect(tab.page.locator(".headline .status")).to_have_text(word, timeout=_END_MILLISECONDS)


def test_a_task_from_the_form_to_its_end(cluster: Cluster, tab: Tab, name: str) -> None:
    """A task is submitted and followed without a reload; its cells agree with containerd; the list can filter."""
    image = tagged(cluster.push(f"tests/{name}:1", size="1MiB"))
    tab.open("new")
    tab.page.get_by_label("Images").fill(image)
    tab.page.locator("#field-name").fill(name)
    tab.page.locator("#field-batchSize").fill("1")
    tab.one("button", "Submit").click()
    expect(tab.one("heading", name)).to_be_visible()
    status(tab, "completed")
    expect(
        tab.page.get_by_text(f"every image is on {len(cluster.nodes)} of {len(cluster.nodes)} nodes")
    ).to_be_visible()
    grid = tab.page.get_by_role("grid")
    for node in cluster.nodes:
        row = grid.get_by_role("row").filter(has=tab.page.get_by_text(node, exact=True))
        expect(row.locator(".cell.pulled")).to_have_count(1)
        assert image in cluster.on_node(node)
    audit(cluster, name, window=1)
    tab.open(f"tasks?status=completed&q={name}")
    expect(tab.page.get_by_role("row", name=name)).to_have_count(1)
    tab.open(f"tasks?status=failed&q={name}")
    expect(tab.page.get_by_text("No matching tasks.")).to_be_visible()


@pytest.mark.long
def test_a_failed_task_shows_the_reason(cluster: Cluster, tab: Tab, name: str) -> None:
    """The page shows class, hint, the registry's message and each node; retry creates a new task."""
    image = f"{cluster.registry}/tests/{name}:1"  # not pushed yet
    cluster.submit(f'{{"name": "{name}", "images": ["{image}"]}}')
    tab.open(f"tasks/{name}")
    status(tab, "failed")
    panel = tab.page.get_by_role("region", name="Failures")
    expect(panel.locator("summary")).to_contain_text("not foundNotFound")
    expect(panel).to_contain_text("The registry has no such name")
    expect(panel).to_contain_text("not found")
    for node in cluster.nodes:
        expect(panel).to_contain_text(node)
    audit(cluster, name)
    cluster.push(f"tests/{name}:1")
    tab.one("button", "Retry failed nodes").click()
    expect(tab.one("heading", f"{name}-r1")).to_be_visible()
    status(tab, "completed")
    audit(cluster, f"{name}-r1")


def test_cancel_from_the_page(cluster: Cluster, tab: Tab, slow: SlowTask) -> None:
    """Pulled images stay and are shown; the task is cancelled on the page and in the cluster."""
    tab.open(f"tasks/{slow.name}")
    status(tab, "running")
    expect(tab.page.locator(".figures")).to_contain_text(re.compile(rf"Pulling now\s*{len(cluster.nodes)}"))
    tab.one("button", "Cancel task").click()
    tab.page.get_by_role("dialog").get_by_role("button", name="Cancel the task").click()
    status(tab, "cancelled")
    expect(tab.page.get_by_role("grid").locator(".cell.pulled, .cell.present")).to_have_count(
        len(cluster.nodes)
    )
    await_marks(cluster, slow.name)
    assert audit(cluster, slow.name)["status"] == "cancelled"


def test_a_server_that_restarts(cluster: Cluster, site: Site, tab: Tab, slow: SlowTask) -> None:
    """The open page shows the lost connection, reconnects by itself, and shows the end."""
    tab.expects("net", "503")
    tab.open(f"tasks/{slow.name}")
    status(tab, "running")
    expect(tab.page.get_by_text("live", exact=True)).to_be_visible()
    site.stop()
    expect(tab.page.get_by_text(re.compile("disconnected, as of"))).to_be_visible()
    site.start()
    expect(tab.page.get_by_text("live", exact=True)).to_be_visible()
    slow.release()
    status(tab, "completed")
    audit(cluster, slow.name)
