from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from ips_flows.core.results.reasons import Result
from ips_flows.core.results.results import ImageResult, NodeResult
from tests.browser.conftest import NewTab, Submit
from tests.browser.site import Tab, tab_through
from tests.fakes.argo import AT, failed, pulled

LONG = (
    "registry.example.com:5000/a-team-with-a-long-name/an-image-with-an-even-longer-name@sha256:" + "a" * 64
)
VIEWS = ("tasks", "tasks?status=failed", "new", "tasks/broken", "tasks/waits", "tasks/nothing-of-this-name")


@pytest.fixture
def filled(submit: Submit) -> None:
    """Tasks that fill all views, with long names."""
    submit("waits", LONG)
    images = (LONG, "busybox:1", "busybox:2", "busybox:3")
    argo = submit("broken", *images, maxRetries="1")
    argo.phase("Running")
    argo.planned(waves={"wave-1": 40}, images=images, skipped={"NotSelected": 3})
    good = ImageResult(Result.PULLED, seconds=133.1, bytes=10**9)
    bad = ImageResult(Result.FAILED, reason="NotFound", message=f"{LONG}: not found", tries=2)
    node = "a-node-with-quite-a-long-name-in-some-zone.example.internal"
    nodes = {
        f"{node}-{n}": NodeResult((bad if n % 7 == 3 else good, good, good, good), AT) for n in range(40)
    }
    argo.ends(nodes)


def settled(tab: Tab, view: str) -> None:
    """Open a view and wait until it is loaded."""
    tab.expects("404")
    tab.open(view)
    loaded(tab)


def loaded(tab: Tab) -> None:
    expect(tab.page.locator("main h1")).to_be_visible()
    expect(tab.page.locator(".loading:visible")).to_have_count(0)


@pytest.mark.parametrize("locale", ["en-GB", "zh-CN"])
@pytest.mark.usefixtures("filled")
def test_a_narrow_window(new_tab: NewTab, locale: str) -> None:
    """At a width of 360 pixels no view scrolls horizontally, and every control is inside the window."""
    tab = new_tab(viewport={"width": 360, "height": 740}, locale=locale)
    for view in VIEWS:
        settled(tab, view)
        assert tab.sideways() <= 0, view
        outside = tab.page.evaluate(
            """() => [...document.querySelectorAll("main button, main a, main input, main select, main textarea")]
                .filter((one) => one.checkVisibility() && one.getBoundingClientRect().right > window.innerWidth + 1)
                .map((one) => one.outerHTML)"""
        )
        assert outside == [], view


@pytest.mark.usefixtures("filled")
def test_the_dark_theme(new_tab: NewTab) -> None:
    """With `prefers-color-scheme: dark` surfaces are dark and text is light."""
    shades = {}
    for scheme in ("light", "dark"):
        tab = new_tab(color_scheme=scheme)
        settled(tab, "tasks")
        shades[scheme] = tab.page.evaluate(
            """() => ["backgroundColor", "color"].map((name) => {
                const [r, g, b] = getComputedStyle(document.body)[name].match(/\\d+/g).map(Number);
                return (r + g + b) / 3;
            })"""
        )
    assert shades["light"][0] > 200
    assert shades["light"][1] < 60
    assert shades["dark"][0] < 60
    assert shades["dark"][1] > 200


@pytest.mark.usefixtures("filled")
def test_the_language_of_the_browser(new_tab: NewTab) -> None:
    """Chinese if the browser prefers it. A reload keeps the chosen language. `html` has the right `lang`."""
    tab = new_tab(locale="zh-CN")
    tab.open()
    expect(tab.one("heading", "任务", exact=True)).to_be_visible()
    expect(tab.page.locator("html")).to_have_attribute("lang", "zh-CN")
    expect(tab.page.get_by_role("row", name=re.compile("broken"))).to_contain_text("失败")
    expect(tab.page.get_by_role("row", name=re.compile("waits"))).to_contain_text("排队第 1 位")
    tab.one("link", "broken").click()
    expect(tab.page.get_by_role("region", name="失败原因")).to_contain_text(
        "镜像仓库中没有这个名称、标签或摘要"
    )
    tab.one("button", "English").click()
    expect(tab.page.get_by_role("region", name="Failures")).to_be_visible()
    tab.page.reload()
    expect(tab.page.get_by_role("region", name="Failures")).to_be_visible()
    expect(tab.page.locator("html")).to_have_attribute("lang", "en")
    other = new_tab(locale="de-DE")
    other.open()
    expect(other.one("heading", "Tasks", exact=True)).to_be_visible()


@pytest.mark.usefixtures("filled")
def test_every_control_has_a_name(tab: Tab) -> None:
    """In each view every control has a role and a name for keyboards and screen readers."""
    session = tab.page.context.new_cdp_session(tab.page)
    kinds = {
        "button",
        "link",
        "textbox",
        "searchbox",
        "combobox",
        "checkbox",
        "grid",
        "progressbar",
        "table",
        "image",
    }
    for view in VIEWS:
        settled(tab, view)
        for folded in tab.page.locator("details").all():
            folded.evaluate("one => { one.open = true; }")
        nodes = session.send("Accessibility.getFullAXTree")["nodes"]
        found = [
            (one["role"]["value"], one.get("name", {}).get("value", ""))
            for one in nodes
            if not one["ignored"] and one["role"]["value"] in kinds
        ]
        assert len(found) > 5, view
        assert [one for one in found if not one[1].strip()] == [], view
        assert len([one for one in nodes if not one["ignored"] and one["role"]["value"] == "main"]) == 1


@pytest.mark.usefixtures("filled")
def test_the_focus_is_visible(tab: Tab) -> None:
    """Every element that the Tab key reaches shows its focus. The first stop is the link that skips the header."""
    for view in ("tasks", "tasks/broken"):
        settled(tab, view)
        tab.page.locator("body").evaluate("() => document.activeElement.blur()")
        stops = tab_through(tab.page, 14)
        unseen = [
            one for one in stops if one["outline"].startswith("none") or one["outline"].endswith(" 0px")
        ]
        # After the last stop the focus leaves the page, and the active element is the body.
        assert [one for one in unseen if one["tag"] != "BODY"] == []
    # A change of the view sets the focus; a newly loaded page has none.
    settled(tab, "tasks")
    tab.page.reload()
    loaded(tab)
    tab.page.keyboard.press("Tab")
    # Read from the document: after the last stop above, the browser window itself may have the focus.
    assert tab.page.evaluate("document.activeElement.id") == "skip"
    tab.page.keyboard.press("Enter")
    assert tab.page.evaluate("document.activeElement.id") == "main"
    assert "#main" not in tab.page.url


def test_reduced_motion(new_tab: NewTab, submit: Submit) -> None:
    """With `prefers-reduced-motion` there are no animations."""
    argo = submit("runs")
    argo.phase("Running")
    argo.planned(waves={"wave-1": 2})
    argo.progress(done=1, pulling=1)
    moving = "() => document.getAnimations().filter((one) => one instanceof CSSAnimation).length"
    for motion, moves in (("no-preference", True), ("reduce", False)):
        tab = new_tab(reduced_motion=motion)
        tab.open("tasks/runs")
        expect(tab.page.locator(".bar .pulling")).to_be_visible()
        assert (tab.page.evaluate(moving) > 0) is moves


@pytest.mark.usefixtures("filled")
def test_back_and_forward(tab: Tab) -> None:
    """Each view has a URL: Back, Forward and a pasted link open it."""
    tab.open()
    tab.one("link", "failed").click()
    tab.one("link", "broken").click()
    expect(tab.one("heading", "broken")).to_be_visible()
    assert tab.page.title() == "broken · IPS Flow"
    tab.page.go_back()
    expect(tab.one("link", "failed")).to_have_attribute("aria-current", "true")
    assert tab.page.title() == "Tasks · IPS Flow"
    tab.page.go_back()
    expect(tab.one("link", "all")).to_have_attribute("aria-current", "true")
    tab.page.go_forward()
    tab.page.go_forward()
    expect(tab.one("heading", "broken")).to_be_visible()


def test_the_columns_of_a_wide_window(new_tab: NewTab, submit: Submit) -> None:
    """In a wide window the request of a task is beside its grid, in a narrow one below it."""
    argo = submit("small")
    argo.phase("Running")
    argo.planned(waves={"wave-1": 2})
    argo.results({"n1": pulled(), "n2": failed()})
    argo.progress(done=1, failed=1)
    for width, beside in ((1400, True), (700, False)):
        tab = new_tab(viewport={"width": width, "height": 900})
        settled(tab, "tasks/small")
        grid, facts = (
            tab.page.get_by_role("region", name=name).bounding_box() for name in ("Nodes × images", "Request")
        )
        assert grid
        assert facts
        assert (facts["x"] >= grid["x"] + grid["width"]) is beside
