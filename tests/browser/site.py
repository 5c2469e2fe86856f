"""An `ips-flow serve` process and a Chromium tab with its page."""

from __future__ import annotations

import contextlib
import json
import os
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, Request, expect, sync_playwright

from tests.support.forks import Fork
from tests.support.paths import ROOT

WEB = ROOT / "ips_flows" / "server" / "web"
CHROMIUM = "/usr/bin/chromium"
# Chromium logs every response above 399 and every broken connection as an error of the page.
_REFUSAL = re.compile(r"^Failed to load resource: .*?(?:status of (\d+)|(net::ERR_\w+))")
_READY_SECONDS = 60


class Site:
    """A server on loopback that can be restarted with the same address."""

    def __init__(self, environment: Mapping[str, str], *options: str) -> None:
        self.environment = {**os.environ, **environment, "SERVER_PORT": "0"}
        self.options = options
        self.lines: list[Any] = []
        self.start()

    def start(self) -> None:
        """Start the server; a restart uses the same port."""
        self._process = Fork("serve", *self.options, environment=self.environment)
        listening = threading.Event()
        threading.Thread(target=self._read, args=(self._process, listening), daemon=True).start()
        assert listening.wait(_READY_SECONDS), self.lines
        self.environment["SERVER_PORT"] = str(self.port)

    def _read(self, process: Fork, listening: threading.Event) -> None:
        for line in process.stderr:
            self.lines.append(json.loads(line) if line.startswith("{") else line)
            if isinstance(self.lines[-1], dict) and self.lines[-1]["message"] == "listening":
                self.port = int(self.lines[-1]["port"])
                listening.set()

    def stop(self) -> None:
        """Stop the server by SIGTERM, as Kubernetes does."""
        self._process.terminate()
        self._process.wait(60)

    @property
    def url(self) -> str:
        """Base URL of the server."""
        return f"http://127.0.0.1:{self.port}"


class Tab:
    """A tab and the errors of its console. Expected errors are declared in advance."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        self.problems: list[str] = []
        self.asked: list[str] = []
        self.expected: set[str] = set()
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.problems.append(f"uncaught: {error}"))
        page.on("request", self._requested)

    def expects(self, *refusals: str) -> None:
        """Declare statuses (`404`) or broken connections (`net`) that the test expects."""
        self.expected |= set(refusals)

    def _said(self, message: ConsoleMessage) -> None:
        if message.type not in ("error", "warning"):
            return
        refusal = _REFUSAL.match(message.text)
        if refusal and (refusal[1] or "net") in self.expected:
            return
        if "net" in self.expected and "net::ERR_" in message.text:
            return
        self.problems.append(f"{message.type}: {message.text}")

    def _requested(self, request: Request) -> None:
        self.asked.append(request.url)

    def open(self, route: str = "") -> None:
        """Open a route of the page, as a link does."""
        self.page.goto(f"{self.url}/web/{'#/' + route if route else ''}")

    def one(self, role: Any, name: str | re.Pattern[str], *, exact: bool = False) -> Locator:
        """Return the element with this role and name."""
        return self.page.get_by_role(role, name=name, exact=exact)

    def sideways(self) -> int:
        """Return by how many pixels the page is wider than the window."""
        return int(self.page.evaluate("document.documentElement.scrollWidth - window.innerWidth"))

    def rows(self) -> list[str]:
        """Return the names of the tasks in the list."""
        return self.page.locator("table.tasks .task a").all_inner_texts()

    def until(self, holds: Callable[[], bool], otherwise: Callable[[], Any], seconds: float = 30) -> None:
        """Wait for a condition outside of the page."""
        for _ in range(int(seconds * 20)):
            if holds():
                return
            self.page.wait_for_timeout(50)  # the events of the page run meanwhile
        assert holds(), otherwise()


@contextlib.contextmanager
def chromium_running() -> Iterator[Browser]:
    """Run the Chromium of the system."""
    expect.set_options(timeout=20_000)  # for busy machines with two cores
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


@contextlib.contextmanager
def looking(browser: Browser, url: str, **options: Any) -> Iterator[Tab]:
    """Open a tab with a given language (default English), width and so on. A console error fails the test."""
    context = browser.new_context(**{"locale": "en-GB", **options})
    tab = Tab(context.new_page(), url)
    try:
        yield tab
    finally:
        context.close()
    assert tab.problems == []


def tab_through(page: Page, steps: int) -> Sequence[dict[str, str]]:
    """Press Tab `steps` times; return the focused element and its outline after each step."""
    seen = []
    for _ in range(steps):
        page.keyboard.press("Tab")
        seen.append(
            page.evaluate(
                """() => {
                    const one = document.activeElement, style = getComputedStyle(one);
                    return { tag: one.tagName, id: one.id, text: one.textContent.trim().slice(0, 40),
                             outline: `${style.outlineStyle} ${style.outlineWidth}` };
                }"""
            )
        )
    return seen
