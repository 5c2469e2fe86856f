from __future__ import annotations

import re

import requests
from playwright.sync_api import Route, expect

from ips_flows.core.results.reasons import Result
from ips_flows.core.results.records import FailureLine
from ips_flows.core.results.results import ImageResult, NodeResult
from tests.browser.conftest import Submit
from tests.browser.site import Site, Tab
from tests.fakes.apiserver import ApiServer
from tests.fakes.argo import AT, failed, pulled

DIGEST = "sha256:" + "a" * 64
HTML = "<b>bold</b><img src=x onerror=window.broken=1>"
ONE_OF_TWO = {"n1": pulled(), "n2": failed("NotFound", "no such tag")}


def test_a_task_is_watched_to_its_end(tab: Tab, submit: Submit) -> None:
    """Queue, plan, progress and results appear without a reload; at the end the cancel button disappears."""
    argo = submit("rollout")
    tab.open("tasks/rollout")
    expect(tab.page.get_by_text("position 1 in the queue")).to_be_visible()
    argo.phase("Running")
    argo.planned(waves={"wave-1": 3}, skipped={"Cordoned": 2})
    argo.progress(done=1, pulling=2)
    lead = tab.page.locator(".lead")
    expect(lead.get_by_role("progressbar")).to_have_attribute("aria-valuenow", "33")
    expect(lead).to_contain_text("1 of 3 nodes")
    expect(tab.page.get_by_text("live", exact=True)).to_be_visible()
    expect(tab.page.get_by_role("region", name="Skipped nodes")).to_contain_text("2cordonedCordoned")
    argo.results({"n1": pulled(seconds=2.5)})
    argo.progress(done=2, pulling=1)
    grid = tab.page.get_by_role("grid")
    expect(grid.get_by_role("row", name="n1")).to_contain_text("2.5 s")
    argo.ends({"n1": pulled(), "n2": pulled(), "n3": pulled()})
    expect(tab.page.locator(".headline .status")).to_have_text("completed")
    expect(tab.page.get_by_text("every image is on 3 of 3 nodes")).to_be_visible()
    expect(grid.get_by_role("row")).to_have_count(4)
    expect(tab.one("button", "Cancel task")).to_have_count(0)
    expect(tab.one("button", "Retry failed nodes")).to_have_count(0)
    expect(tab.page.locator(".timeline")).to_contain_text("completed")


def test_failures_are_explained(tab: Tab, submit: Submit) -> None:
    """Failures are grouped by class, with advice. Messages are shown as text, also if they contain markup."""
    images = ("busybox:1", "registry.example.com/app:2")
    argo = submit("broken", *images)
    argo.phase("Running")
    argo.planned(waves={"wave-1": 4}, images=images)
    good = ImageResult(Result.PULLED, seconds=1.0, bytes=1000, digest=DIGEST)
    missing = ImageResult(Result.FAILED, reason="NotFound", message="no such tag", tries=2)
    strange = ImageResult(Result.FAILED, reason="Unauthorized", message=HTML, tries=2)
    nodes = {
        "n1": NodeResult((good, good), AT),
        "n2": NodeResult((good, missing), AT),
        "n3": NodeResult((good, missing), AT),
        "n4": NodeResult((good, strange), AT),
    }
    argo.ends(nodes)
    tab.open("tasks/broken")
    expect(tab.page.get_by_text("3 of 4 nodes lack images; NotFound ×2, Unauthorized ×1")).to_be_visible()
    panel = tab.page.get_by_role("region", name="Failures")
    first, second = panel.locator("details").all()
    expect(first.locator("summary")).to_have_text("not foundNotFound2 failures on 2 nodes")
    expect(first).to_contain_text("The registry has no such name")
    expect(first).to_contain_text("on 2 nodes: n2 n3")
    expect(first).to_contain_text("no such tag")
    second.locator("summary").click()
    expect(second).to_contain_text(HTML)
    assert tab.page.locator("main img, main b b").count() == 0
    assert tab.page.evaluate("window.broken") is None
    expect(tab.page.get_by_role("grid").get_by_role("row", name="n4")).to_contain_text("unauthorized")


def test_a_task_that_could_not_be_planned(tab: Tab, submit: Submit) -> None:
    """The reason is shown at the top, and the empty grid states that no node was processed."""
    argo = submit("nowhere")
    argo.phase("Running")
    argo.no_plan("no eligible node among 3: Cordoned ×3")
    argo.phase("Failed")
    argo.verdict({}, error="no eligible node among 3: Cordoned ×3")
    tab.open("tasks/nowhere")
    expect(tab.page.get_by_text("no eligible node among 3: Cordoned ×3")).to_be_visible()
    expect(tab.page.get_by_text("No node was processed.")).to_be_visible()
    expect(tab.page.locator(".told").first).to_have_text("no nodes selected")
    expect(tab.one("button", "Submit again")).to_be_visible()


def test_cancel_asks_for_confirmation(tab: Tab, submit: Submit, server: ApiServer) -> None:
    """Nothing happens before the confirmation; then the Workflow is stopped and the page shows it."""
    argo = submit("long")
    argo.phase("Running")
    argo.planned(waves={"wave-1": 2})
    tab.open("tasks/long")
    tab.one("button", "Cancel task").click()
    dialog = tab.page.get_by_role("dialog", name="Cancel long?")
    expect(dialog.get_by_role("button", name="No, go back")).to_be_focused()
    tab.page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    assert "shutdown" not in server.get("workflows", "long")["spec"]
    expect(tab.one("button", "Cancel task")).to_be_focused()
    tab.page.keyboard.press("Enter")
    dialog.get_by_role("button", name="Cancel the task").click()
    expect(tab.page.locator(".headline .status")).to_have_text("cancelling")
    assert server.get("workflows", "long")["spec"]["shutdown"] == "Stop"
    expect(tab.one("button", "Cancel task")).to_have_count(0)
    argo.phase("Failed")
    argo.verdict({}, stopped=True)
    expect(tab.page.locator(".headline .status")).to_have_text("cancelled")


def test_a_cancel_that_comes_too_late(tab: Tab, submit: Submit) -> None:
    """The page shows how the task ended."""
    tab.expects("409")
    argo = submit("quick")
    argo.phase("Running")
    argo.planned(waves={"wave-1": 1})
    tab.open("tasks/quick")
    tab.one("button", "Cancel task").click()
    argo.ends({"n1": pulled()})
    tab.page.get_by_role("dialog").get_by_role("button", name="Cancel the task").click()
    expect(tab.page.get_by_role("alert")).to_contain_text("completed")
    expect(tab.page.locator(".headline .status")).to_have_text("completed")


def test_retry_leads_to_the_new_task(tab: Tab, submit: Submit, server: ApiServer) -> None:
    """A retry is a new task for the failed nodes."""
    argo = submit("first")
    argo.phase("Running")
    argo.planned(waves={"wave-1": 2})
    argo.ends(ONE_OF_TWO)
    tab.open("tasks/first")
    tab.one("button", "Retry failed nodes").click()
    expect(tab.one("heading", "first-r1")).to_be_visible()
    assert tab.page.url.endswith("#/tasks/first-r1")
    assert (
        '"nodes":["n2"]' in server.get("workflows", "first-r1")["spec"]["arguments"]["parameters"][0]["value"]
    )
    tab.page.go_back()
    expect(tab.one("heading", "first", exact=True)).to_be_visible()


def test_a_task_that_does_not_exist(tab: Tab) -> None:
    """The page states it and links to the list."""
    tab.expects("404")
    tab.open("tasks/gone")
    expect(tab.page.get_by_role("heading", name="Task not found")).to_be_visible()
    tab.one("link", "← Tasks").click()
    expect(tab.one("heading", "No tasks yet")).to_be_visible()


def test_a_task_that_is_deleted_while_it_is_shown(tab: Tab, submit: Submit, server: ApiServer) -> None:
    """The page states it; neither the next refresh nor a late response brings the task back."""
    tab.expects("404")
    tab.page.clock.install()
    submit("short")
    known = requests.get(f"{tab.url}/api/v1/tasks/short", timeout=30).text
    late: list[Route] = []

    def hold(route: Route) -> None:
        late.append(route)

    tab.page.route("**/api/v1/tasks/short", hold)
    tab.open("tasks/short")
    expect(tab.page.get_by_text("live", exact=True)).to_be_visible()
    server.remove("workflows", "short", "warm")
    deleted = tab.page.get_by_text("The task was deleted while this page was open.")
    expect(deleted).to_be_visible()
    for route in late:
        route.fulfill(body=known, content_type="application/json")
    tab.page.clock.run_for(12_000)
    expect(deleted).to_be_visible()
    expect(tab.page.locator(".detail")).to_be_hidden()
    expect(tab.one("button", "Cancel task")).to_have_count(0)


def test_an_error_of_the_page_itself(tab: Tab, submit: Submit) -> None:
    """It reaches the console, is not treated as a lost connection, and the next update is shown."""
    argo = submit("rollout")
    argo.phase("Running")
    argo.planned(waves={"wave-1": 4})
    tab.open("tasks/rollout")
    expect(tab.page.get_by_text("live", exact=True)).to_be_visible()
    tab.page.evaluate(
        """() => {
            const proto = CSSStyleDeclaration.prototype, { setProperty } = proto;
            proto.setProperty = () => { throw new TypeError("injected by the test"); };
            window.restore = () => { proto.setProperty = setProperty; };
        }"""
    )
    argo.progress(done=1)
    tab.until(lambda: bool(tab.problems), lambda: "nothing on the console")
    expect(tab.page.get_by_text("live", exact=True)).to_be_visible()
    tab.page.evaluate("window.restore()")
    argo.progress(done=2)
    expect(tab.page.locator(".lead").get_by_role("progressbar")).to_have_attribute("aria-valuenow", "50")
    expect(tab.page.get_by_text("live", exact=True)).to_be_visible()
    assert [one for one in tab.problems if "injected by the test" not in one] == []
    tab.problems.clear()


def test_a_server_restart_while_the_page_is_open(tab: Tab, site: Site, submit: Submit) -> None:
    """The page shows that it is disconnected and since when, keeps the last state, and reconnects by itself."""
    tab.expects("net", "503")
    argo = submit("rollout")
    argo.phase("Running")
    argo.planned(waves={"wave-1": 4})
    argo.progress(done=1)
    tab.open("tasks/rollout")
    bar = tab.page.locator(".lead").get_by_role("progressbar")
    expect(bar).to_have_attribute("aria-valuenow", "25")
    expect(tab.page.get_by_text("live", exact=True)).to_be_visible()
    site.stop()
    expect(tab.page.get_by_text(re.compile("disconnected, as of .*; reconnecting"))).to_be_visible()
    expect(bar).to_have_attribute("aria-valuenow", "25")
    argo.progress(done=2)
    site.start()
    expect(bar).to_have_attribute("aria-valuenow", "50")
    expect(tab.page.get_by_text("live", exact=True)).to_be_visible()
    site.stop()
    tab.one("link", "← Tasks").click()
    expect(tab.page.get_by_text("The server does not respond.")).to_be_visible()
    site.start()
    expect(tab.one("link", "rollout")).to_be_visible()


def test_the_list_while_the_server_is_down(tab: Tab, site: Site, submit: Submit) -> None:
    """The list keeps the last data and shows their time."""
    tab.expects("net", "503")
    submit("waits")
    tab.open()
    expect(tab.one("link", "waits")).to_be_visible()
    site.stop()
    expect(
        tab.page.get_by_text(re.compile(r"Last updated at \d.*The server does not respond"))
    ).to_be_visible()
    expect(tab.one("link", "waits")).to_be_visible()
    site.start()
    expect(tab.page.get_by_text("Last updated at")).to_be_hidden()


def test_thousands_of_cells(tab: Tab, submit: Submit) -> None:
    """3,000 nodes with three images each: only visible rows are in the DOM, and the keyboard reaches all rows."""
    images = ("busybox:1", "busybox:2", "busybox:3")
    argo = submit("many", *images)
    argo.phase("Running")
    argo.planned(waves={"wave-1": 3000}, images=images)
    good = ImageResult(Result.PULLED, seconds=1.5, bytes=1000, digest=DIGEST)
    bad = ImageResult(Result.FAILED, reason="NoSpace", message="disk full", tries=2)
    nodes = {f"node-{n}": NodeResult((good, bad if n == 1234 else good, good), AT) for n in range(3000)}
    argo.ends(nodes)
    tab.open("tasks/many")
    grid = tab.page.get_by_role("grid")
    expect(grid).to_have_attribute("aria-rowcount", "3001")
    assert tab.page.locator(".cells .cell").count() < 200
    expect(grid.get_by_role("row").nth(1)).to_contain_text("node-1234")  # failures first
    grid.focus()
    tab.page.keyboard.press("Control+End")
    expect(tab.page.locator(".inspector")).to_contain_text("node-2999 × busybox:3 · pulled · 1.5 s, 1 kB")
    expect(grid.get_by_role("row", name="node-2999")).to_be_visible()
    active = grid.get_attribute("aria-activedescendant")
    assert active
    expect(tab.page.locator(f"[id='{active}']")).to_have_class(re.compile("active"))
    tab.page.keyboard.press("Control+Home")
    tab.page.keyboard.press("ArrowRight")
    tab.page.keyboard.press("ArrowRight")
    expect(tab.page.locator(".inspector")).to_contain_text(
        "node-1234 × busybox:2 · failed: no space · disk full"
    )
    tab.one("button", "failed 1").click()
    expect(grid).to_have_attribute("aria-rowcount", "2")
    tab.one("button", "all 3,000").click()
    tab.one("searchbox", "Search nodes").fill("node-299")
    expect(grid).to_have_attribute("aria-rowcount", "12")
    assert tab.page.locator(".cells .cell").count() < 200
    # A scroll through all rows draws only those in view, so the page stays smooth.
    tab.one("searchbox", "Search nodes").fill("")
    most = grid.evaluate(
        """async (grid) => {
            let most = 0;
            for (let step = 0; step <= 60; step += 1) {
                grid.scrollTop = (grid.scrollHeight * step) / 60;
                await new Promise((next) => requestAnimationFrame(() => setTimeout(next)));
                most = Math.max(most, grid.querySelectorAll(".cells .cell").length);
            }
            return most;
        }"""
    )
    assert 0 < most < 200, most


def test_the_node_map(tab: Tab, submit: Submit) -> None:
    """The label has the counts; arrow keys move between tiles, and Enter shows the node in the table."""
    argo = submit("glance")
    argo.phase("Running")
    argo.planned(waves={"wave-1": 30})
    argo.results({f"n{n}": failed() if n == 3 else pulled() for n in range(20)})
    argo.progress(done=20, failed=1, pulling=4)
    tab.open("tasks/glance")
    tiles = tab.page.get_by_role("img", name=re.compile("Node map"))
    expect(tiles).to_have_attribute(
        "aria-label", re.compile("failed 1, pulled 19, pulling 4, waiting 5, done")
    )
    tiles.focus()
    tip = tab.page.locator(".tip")
    expect(tip).to_have_text("n0: pulled, 1 of 1 images on the node")
    for _ in range(3):
        tab.page.keyboard.press("ArrowRight")
    expect(tip).to_have_text("n3: failed (not found), 0 of 1 images on the node")
    tab.page.keyboard.press("Enter")
    expect(tab.page.locator(".inspector")).to_contain_text("n3 × busybox:1 · failed: not found")
    expect(tab.page.get_by_role("grid")).to_be_focused()


def test_the_node_map_counts_images_on_the_node(tab: Tab, submit: Submit) -> None:
    """Only pulled and present images count as on the node; an image without a result does not."""
    images = ("busybox:1", "busybox:2", "busybox:3")
    argo = submit("half", *images)
    argo.phase("Running")
    argo.planned(waves={"wave-1": 30}, images=images)
    good = ImageResult(Result.PULLED, seconds=1.0, bytes=1000, digest=DIGEST)
    there, missing = ImageResult(Result.PRESENT), ImageResult(Result.FAILED, reason="NotFound")
    nodes = [(good,), (good, there), (good, there, missing), (good, there, good)]
    argo.results({f"n{n}": NodeResult(images, AT) for n, images in enumerate(nodes)})
    argo.progress(done=4)
    tab.open("tasks/half")
    expect(tab.page.get_by_role("grid").get_by_role("row")).to_have_count(5)  # the results have come
    tab.page.get_by_role("img", name=re.compile("Node map")).focus()
    tip = tab.page.locator(".tip")
    for n, text in enumerate(("pulled, 1", "pulled, 2", "failed (not found), 2", "pulled, 3")):
        expect(tip).to_have_text(f"n{n}: {text} of 3 images on the node")
        tab.page.keyboard.press("ArrowRight")


def test_the_node_map_has_a_caption(tab: Tab, submit: Submit) -> None:
    """A visible caption above the tiles explains them; it is hidden with the node map of a task with few nodes."""
    for name, nodes in (("few", 3), ("many", 30)):
        argo = submit(name)
        argo.phase("Running")
        argo.planned(waves={"wave-1": nodes})
        argo.progress(done=1)
    caption = tab.page.get_by_text("Node map: one tile per node, coloured by its worst result.", exact=True)
    tab.open("tasks/many")
    expect(caption).to_be_visible()
    tab.open("tasks/few")
    expect(tab.page.locator(".lead")).to_contain_text("1 of 3 nodes")
    expect(caption).to_be_hidden()


def test_nodes_that_were_not_started_are_explained(tab: Tab, submit: Submit) -> None:
    """Each reason why a node was not started has an explanation."""
    argo = submit("stopped")
    argo.phase("Running")
    argo.planned(waves={"wave-1": 3})
    skipped = {
        node: NodeResult((ImageResult(Result.SKIPPED, reason=reason),), AT)
        for node, reason in (("n2", "BreakerOpen"), ("n3", "NotReached"))
    }
    argo.ends({"n1": failed()} | skipped)
    tab.open("tasks/stopped")
    said = tab.page.locator(".inspector")
    tab.page.get_by_role("row", name="n2").locator(".cell").last.click()
    expect(said).to_have_text(
        "n2 × busybox:1 · skipped: first window failed"
        " · No node of the first window got an image, so these nodes were not started."
    )
    tab.page.get_by_role("row", name="n3").locator(".cell").last.click()
    expect(said).to_have_text(
        "n3 × busybox:1 · skipped: not reached · The task ended before these nodes were started."
    )


def test_failures_show_before_results_are_stored(tab: Tab, submit: Submit) -> None:
    """A failure is explained as soon as the driver reports it."""
    argo = submit("early")
    argo.phase("Running")
    argo.planned(waves={"wave-1": 2})
    line = FailureLine(node="n2", image="busybox:1", reason="RateLimited", message="429", at=AT)
    argo.progress(done=0, pulling=1, failed=1, failures=(line,))
    tab.open("tasks/early")
    panel = tab.page.get_by_role("region", name="Failures")
    expect(panel).to_contain_text("rate limited")
    expect(panel).to_contain_text("Use a smaller batch size")
