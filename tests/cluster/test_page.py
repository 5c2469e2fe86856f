"""The page in Chromium, against the real cluster: what a person does there, and what the nodes say to it."""

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
    """Debian's Chromium."""
    with chromium_running() as browser:
        yield browser


@pytest.fixture
def site(cluster: Cluster) -> Iterator[Site]:
    """A server of this checkout on loopback, which leads to the cluster."""
    one = Site({**cluster.environment, "K8S_NAMESPACE": cluster.namespace}, "--auth", "none")
    yield one
    one.stop()


@pytest.fixture
def tab(chromium: Browser, site: Site) -> Iterator[Tab]:
    """A tab that looks at it; its console may not complain."""
    with looking(chromium, site.url) as one:
        yield one


def status(tab: Tab, word: str) -> None:
    """Until the task that is looked at has this status."""
    expect(tab.page.locator(".headline .status")).to_have_text(word, timeout=_END_MILLISECONDS)


def test_a_task_from_the_form_to_its_end(cluster: Cluster, tab: Tab, name: str) -> None:
    """Typed, submitted, watched to its end without a reload; every cell says what containerd says; the list filters it."""
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
def test_a_task_that_fails_says_why(cluster: Cluster, tab: Tab, name: str) -> None:
    """The class, what to do, the registry's own words, and each node; retry makes a task of its own."""
    image = f"{cluster.registry}/tests/{name}:1"  # nobody has pushed it yet
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
    """What is on the nodes stays and is shown; the task ends cancelled, in the page and in the cluster."""
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


def test_a_server_that_starts_anew(cluster: Cluster, site: Site, tab: Tab, slow: SlowTask) -> None:
    """The open page says that it is cut off, is live again by itself, and sees the end."""
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
