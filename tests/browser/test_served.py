from __future__ import annotations

import re
from urllib.parse import urlsplit

import pytest
import requests
from playwright.sync_api import Browser, expect

from ips_flows.cli.main import run
from tests.browser.conftest import NewTab, Submit
from tests.browser.site import WEB, Site, Tab, looking

POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data:",
    "connect-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
}


def test_a_strict_policy(site: Site) -> None:
    """The page may load files of its own server only; no inline code, no frames."""
    answer = requests.get(f"{site.url}/", timeout=30)  # the root redirects to the page
    assert urlsplit(answer.url).path == "/web/"
    header = answer.headers["Content-Security-Policy"]
    assert dict(one.strip().split(" ", 1) for one in header.split(";") if one.strip()) == POLICY


def test_nothing_comes_from_elsewhere(tab: Tab, submit: Submit) -> None:
    """In every view all requests go to the server of the page."""
    submit("one")
    tab.open()
    tab.one("link", "one").click()
    expect(tab.one("heading", "one")).to_be_visible()
    tab.one("link", "New task").click()
    expect(tab.page.get_by_label("Images", exact=False).first).to_be_visible()
    assert {urlsplit(url).netloc for url in tab.asked} == {urlsplit(tab.url).netloc}


def test_the_policy_is_enforced(tab: Tab) -> None:
    """An injected inline script has no effect."""
    tab.open()
    expect(tab.one("heading", "No tasks yet")).to_be_visible()
    tab.page.evaluate(
        """() => {
            const script = document.createElement("script");
            script.textContent = "window.broken = 1";
            document.body.append(script);
        }"""
    )
    assert tab.page.evaluate("window.broken") is None
    assert [one for one in tab.problems if "Content Security Policy" in one]
    tab.problems.clear()


def test_no_code_makes_markup() -> None:
    """No module can turn data into elements or code."""
    forbidden = re.compile(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|srcdoc|DOMParser|createContextualFragment"
        r"|\beval\(|new Function|javascript:|setAttribute\(\"style|document\.cookie"
    )
    sources = sorted(WEB.rglob("*.js"))
    assert len(sources) > 10
    found = [f"{one.name}: {hit[0]}" for one in sources for hit in forbidden.finditer(one.read_text("utf-8"))]
    assert found == []
    markup = (WEB / "index.html").read_text("utf-8")
    assert not re.search(r"\son\w+=|\sstyle=|<style|<script(?![^>]*\ssrc=)|https?://", markup)


def test_all_texts_exist(new_tab: NewTab) -> None:
    """Both languages have the same keys, of the same type, and every key that the code uses."""
    tab = new_tab()
    tab.open()
    words = {
        short: tab.page.evaluate(
            """async (short) => Object.fromEntries(Object.entries((await import(`/web/locales/${short}.js`)).default)
                .map(([key, text]) => [key, typeof text]))""",
            short,
        )
        for short in ("en", "zh")
    }
    assert words["en"] == words["zh"]
    code = "\n".join(one.read_text("utf-8") for one in WEB.glob("*.js"))
    named = set(re.findall(r"""\bt\(\s*"([^"]+)\"""", code))
    assert len(named) > 60
    assert named <= set(words["en"]), named - set(words["en"])
    # A computed key starts with a prefix in the code.
    beginnings = tuple(
        set(re.findall(r"`([a-z]+)\.\$\{", code)) | set(re.findall(r"""known\("([a-z]+)\"""", code))
    )
    quoted = set(re.findall(r'"([a-z]+(?:\.[A-Za-z]+)+)"', code))
    idle = [key for key in words["en"] if key not in named | quoted and not key.startswith(beginnings)]
    assert idle == []


def test_config(site: Site) -> None:
    """The configuration of the page: authorization, namespace, URL of the Argo UI, version."""
    told = requests.get(f"{site.url}/web/config.json", timeout=30).json()
    assert told["namespace"] == "warm"
    assert told["auth"] == "none"
    assert told["argoUrl"] is None
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", told["version"])


@pytest.mark.parametrize(("configured", "link"), [("https://argo.example.com/ui/", True), ("", False)])
def test_the_argo_ui(
    chromium: Browser, environment: dict[str, str], submit: Submit, configured: str, link: bool
) -> None:
    """A task links to its Workflow in the Argo UI, if the URL is configured."""
    submit("one")
    site = Site({**environment, "ARGO_URL": configured}, "--auth", "none")
    try:
        with looking(chromium, site.url) as tab:
            tab.open("tasks/one")
            expect(tab.one("button", "Cancel task")).to_be_visible()
            links = tab.one("link", "Argo UI")
            expect(links).to_have_count(int(link))
            if link:
                expect(links).to_have_attribute("href", "https://argo.example.com/ui/workflows/warm/one")
    finally:
        site.stop()


def test_an_invalid_argo_url(capsys: pytest.CaptureFixture[str]) -> None:
    """A `javascript:` URL is refused at the start."""
    assert run(["serve", "--argo-url", "javascript:alert(1)"]) == 2
    assert "expected an http or https URL" in capsys.readouterr().err
