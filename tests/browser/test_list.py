from __future__ import annotations

import re

from playwright.sync_api import expect

from ips_flows.core.results.records import FailureLine
from tests.browser.conftest import Submit
from tests.browser.site import Tab
from tests.fakes.apiserver import ApiServer
from tests.fakes.argo import failed, pulled


def completed(submit: Submit, name: str, *images: str) -> None:
    argo = submit(name, *images)
    argo.phase("Running")
    argo.planned(waves={"wave-1": 1}, images=images or ("busybox:1",))
    argo.ends({"n1": pulled()})


def test_an_empty_list_has_first_steps(tab: Tab) -> None:
    """An empty namespace shows a link to the form and the command."""
    tab.open()
    expect(tab.page.get_by_role("heading", name="No tasks yet")).to_be_visible()
    expect(tab.page.get_by_text("ips-flow run --image")).to_be_visible()
    tab.page.locator("main .empty").get_by_role("link", name="New task").click()
    expect(tab.one("heading", "New task")).to_be_visible()


def test_rows_update_without_a_reload(tab: Tab, submit: Submit) -> None:
    """A row shows a task pending, running, partly failed and ended. The status is shown as a word."""
    argo = submit("rollout")
    tab.open()
    row = tab.page.get_by_role("row", name=re.compile("rollout"))
    expect(row).to_contain_text("pending")
    expect(row).to_contain_text("position 1 in the queue")
    argo.phase("Running")
    argo.planned(waves={"wave-1": 4})
    argo.progress(done=1, pulling=2)
    bar = row.get_by_role("progressbar")
    expect(bar).to_have_attribute("aria-valuenow", "25")
    expect(row).to_contain_text("running")
    expect(row).to_contain_text("1 of 4 nodes")
    line = FailureLine(
        node="n4", image="busybox:1", reason="NotFound", message="no", at="2026-01-31T12:00:00Z"
    )
    argo.progress(done=3, failed=1, failures=(line,))
    expect(bar).to_have_attribute("aria-valuenow", "75")
    expect(bar).to_have_attribute("aria-valuetext", "3 of 4 nodes, 1 failed")
    nodes = {"n1": pulled(), "n2": pulled(), "n3": pulled(), "n4": failed()}
    argo.ends(nodes)
    expect(row.locator("td.status")).to_have_text("failed")


def test_it_filters_by_status(tab: Tab, submit: Submit) -> None:
    """The filter is part of the URL: Back removes it and a link keeps it."""
    completed(submit, "good")
    submit("waits")
    tab.open()
    expect(tab.page.locator("tbody tr")).to_have_count(2)
    tab.one("link", "completed").click()
    expect(tab.page.locator("tbody tr")).to_have_count(1)
    assert tab.rows() == ["good"]
    assert tab.page.url.endswith("#/tasks?status=completed")
    expect(tab.one("link", "completed")).to_have_attribute("aria-current", "true")
    tab.one("link", "failed").click()
    expect(tab.page.get_by_text("No matching tasks.")).to_be_visible()
    tab.page.go_back()
    expect(tab.page.locator("tbody tr")).to_have_count(1)
    tab.page.reload()
    expect(tab.page.locator("tbody tr")).to_have_count(1)
    assert tab.rows() == ["good"]


def test_it_searches_names_and_images(tab: Tab, submit: Submit) -> None:
    """The search matches parts of names and images; `/` focuses the field; an empty result can be cleared."""
    submit("alpha", "registry.example.com/team/app:1")
    submit("beta", "busybox:1")
    tab.open()
    expect(tab.page.locator("tbody tr")).to_have_count(2)
    tab.page.keyboard.press("/")
    tab.page.keyboard.type("TEAM/app")
    expect(tab.page.locator("tbody tr")).to_have_count(1)
    assert tab.rows() == ["alpha"]
    search = tab.one("searchbox", "Search names and images")
    expect(search).to_be_focused()
    search.fill("bet")
    expect(tab.page.locator("tbody tr .task a")).to_have_text(["beta"])
    search.fill("nothing like it")
    tab.one("link", "Show all tasks").click()
    expect(tab.page.locator("tbody tr")).to_have_count(2)
    expect(search).to_have_value("")


def test_it_pages(tab: Tab, submit: Submit) -> None:
    """Twenty per page, newest first; a page number after the last page shows the last page."""
    for number in range(45):
        submit(f"task-{number:02d}")
    tab.open()
    expect(tab.page.locator("tbody tr")).to_have_count(20)
    expect(tab.page.get_by_text("1–20 of 45")).to_be_visible()
    first = tab.rows()
    tab.one("link", "Next").click()
    expect(tab.page.get_by_text("21–40 of 45")).to_be_visible()
    tab.one("link", "Next").click()
    expect(tab.page.get_by_text("41–45 of 45")).to_be_visible()
    expect(tab.one("link", "Next")).to_have_count(0)
    assert not set(first) & set(tab.rows())
    tab.open("tasks?page=99")
    expect(tab.page.get_by_text("41–45 of 45")).to_be_visible()
    tab.page.get_by_label("per page").select_option("50")
    expect(tab.page.locator("tbody tr")).to_have_count(45)


def test_a_hidden_tab_sends_no_requests(tab: Tab, submit: Submit) -> None:
    """A hidden tab does not poll; when it becomes visible it updates immediately."""
    submit("first")
    tab.open()
    expect(tab.page.locator("tbody tr")).to_have_count(1)
    see(tab, "hidden")
    asked = len(tab.asked)
    submit("second")
    tab.page.wait_for_timeout(3500)  # longer than the poll interval
    assert tab.asked[asked:] == []
    see(tab, "visible")
    expect(tab.page.locator("tbody tr")).to_have_count(2)


def see(tab: Tab, state: str) -> None:
    tab.page.evaluate(
        """(state) => {
            Object.defineProperty(document, "visibilityState", { configurable: true, get: () => state });
            document.dispatchEvent(new Event("visibilitychange"));
        }""",
        state,
    )


def test_names_with_markup_are_text(tab: Tab, submit: Submit, server: ApiServer) -> None:
    """HTML in an image reference is shown as text and creates no element."""
    submit("sly")
    request = '{"images":["<img src=x onerror=window.broken=1>"]}'
    parameters = [{"name": "request", "value": request}]
    server.change("workflows", "sly", {"spec": {"arguments": {"parameters": parameters}}})
    tab.open()
    expect(tab.page.get_by_text("<img src=x onerror=window.broken=1>")).to_be_visible()
    assert tab.page.locator("main img").count() == 0
    tab.one("link", "sly").click()
    expect(tab.page.locator(".references").get_by_text("<img src=x onerror=window.broken=1>")).to_be_visible()
    assert tab.page.locator("main img").count() == 0
    assert tab.page.evaluate("window.broken") is None
