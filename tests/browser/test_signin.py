from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.conftest import Submit
from tests.browser.site import Site, Tab, looking
from tests.fakes.apiserver import ApiServer

GOOD, BAD = "good.token", "bad.token"


@pytest.fixture
def guarded(server: ApiServer, environment: dict[str, str]) -> Iterator[Site]:
    """A server with `--auth kubernetes`."""
    server.users[GOOD] = {"username": "ada"}
    one = Site(environment, "--auth", "kubernetes")
    yield one
    one.stop()


@pytest.fixture
def guarded_tab(chromium: Browser, guarded: Site) -> Iterator[Tab]:
    """A tab that shows the server; each test expects 401 and 403."""
    with looking(chromium, guarded.url) as one:
        one.expects("401", "403")
        yield one


def test_sign_in(guarded_tab: Tab, submit: Submit) -> None:
    """Without a token the page sends no API request. A refused token is asked for again; a valid one opens the same route."""
    tab = guarded_tab
    submit("secret")
    tab.open("tasks/secret")
    field = tab.page.get_by_label("Bearer token")
    expect(field).to_be_focused()
    assert not [url for url in tab.asked if "/api/" in url]
    field.fill(BAD)
    tab.page.keyboard.press("Enter")
    expect(tab.page.get_by_role("alert")).to_contain_text("The server rejected the token")
    expect(field).to_have_attribute("aria-invalid", "true")
    expect(field).to_have_value("")
    field.fill(f"Bearer {GOOD}\n")
    tab.page.keyboard.press("Enter")
    expect(tab.one("heading", "secret")).to_be_visible()
    expect(tab.page.get_by_text("position 1 in the queue")).to_be_visible()


def test_the_token_stays_in_its_tab(guarded_tab: Tab, submit: Submit) -> None:
    """A reload keeps the token; no cookie and no other tab has it; "Sign out" removes it."""
    tab = guarded_tab
    submit("secret")
    tab.open()
    tab.page.get_by_label("Bearer token").fill(GOOD)
    tab.one("button", "Sign in").click()
    expect(tab.one("link", "secret")).to_be_visible()
    tab.page.reload()
    expect(tab.one("link", "secret")).to_be_visible()
    assert tab.page.context.cookies() == []
    assert tab.page.evaluate("Object.values(localStorage)") == []
    assert not [url for url in tab.asked if GOOD in url]
    other = tab.page.context.new_page()
    other.goto(tab.page.url)
    expect(other.get_by_label("Bearer token")).to_be_visible()
    tab.one("button", "Sign out").click()
    expect(tab.page.get_by_label("Bearer token")).to_be_focused()
    expect(tab.one("link", "secret")).to_have_count(0)
    assert tab.page.evaluate("sessionStorage.length") == 0


def test_a_token_that_expires(guarded_tab: Tab, submit: Submit, server: ApiServer) -> None:
    """When the token expires the page asks for another one and then shows the same view."""
    tab = guarded_tab
    submit("secret")
    tab.open("tasks?status=pending")
    tab.page.get_by_label("Bearer token").fill(GOOD)
    tab.page.keyboard.press("Enter")
    expect(tab.one("link", "secret")).to_be_visible()
    server.users.clear()
    expect(tab.page.get_by_label("Bearer token")).to_be_visible()
    expect(tab.page.get_by_role("alert")).to_contain_text("has expired")
    expect(tab.one("link", "secret")).to_have_count(0)
    server.users["another.token"] = {"username": "ada"}
    tab.page.get_by_label("Bearer token").fill("another.token")
    tab.page.keyboard.press("Enter")
    expect(tab.one("link", "secret")).to_be_visible()
    assert tab.page.url.endswith("#/tasks?status=pending")


def test_a_missing_permission(guarded_tab: Tab, submit: Submit, server: ApiServer) -> None:
    """A user who may read but not cancel sees which permission is missing."""
    tab = guarded_tab
    submit("secret")
    server.may = lambda spec: spec.get("resourceAttributes", {}).get("verb") != "delete"
    tab.open("tasks/secret")
    tab.page.get_by_label("Bearer token").fill(GOOD)
    tab.page.keyboard.press("Enter")
    tab.one("button", "Cancel task").click()
    tab.page.get_by_role("dialog").get_by_role("button", name="Cancel the task").click()
    expect(tab.page.get_by_role("alert")).to_contain_text(
        "ada may not delete workflows.argoproj.io in namespace warm"
    )
    assert "shutdown" not in server.get("workflows", "secret")["spec"]
