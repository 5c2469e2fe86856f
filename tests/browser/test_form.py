from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from playwright.sync_api import expect

from tests.browser.conftest import NewTab, Submit
from tests.browser.site import Tab

Workflows = Callable[[], dict[str, Any]]


def request_of(workflow: Any) -> Any:
    (parameter,) = workflow["spec"]["arguments"]["parameters"]
    return json.loads(parameter["value"])


def test_a_task_is_created_by_keyboard_alone(tab: Tab, workflows: Workflows) -> None:
    """From the list to the new task without a mouse; the request has only the fields that were filled in."""
    tab.open()
    expect(tab.one("heading", "Tasks", exact=True)).to_be_visible()
    keyboard = tab.page.keyboard
    link = tab.page.get_by_role("navigation", name="Views").get_by_role("link", name="New task")
    for _ in range(10):
        keyboard.press("Tab")
        if link.evaluate("one => one === document.activeElement"):
            break
    keyboard.press("Enter")
    expect(tab.page.get_by_label("Images")).to_be_focused()
    keyboard.type("busybox:1.37\n\n  registry.example.com/team/app:1  ")
    keyboard.press("Tab")
    keyboard.type("typed-by-hand")
    while tab.page.evaluate("document.activeElement.id") != "field-batchSize":
        keyboard.press("Tab")
    keyboard.type("25%")
    keyboard.press("Tab")
    keyboard.type("8")
    keyboard.press("Tab")
    keyboard.type("1, 50%")
    keyboard.press("Enter")
    expect(tab.page.get_by_role("heading", name="typed-by-hand")).to_be_visible()
    assert tab.page.url.endswith("#/tasks/typed-by-hand")
    expect(tab.page.get_by_role("status").get_by_text("typed-by-hand was submitted")).to_be_visible()
    assert request_of(workflows()["typed-by-hand"]) == {
        "images": ["busybox:1.37", "registry.example.com/team/app:1"],
        "name": "typed-by-hand",
        "batchSize": "25%",
        "priority": 8,
        "waves": [1, "50%"],
    }


def test_every_field_arrives(tab: Tab, workflows: Workflows) -> None:
    """Every filled field is in the request, and the preview shows the request before the submit."""
    tab.open("new")
    expect(tab.page.locator("#field-images")).to_be_focused()
    for folded in tab.page.locator("details").all():
        folded.evaluate("one => { one.open = true; }")
    texts = {
        "images": "busybox:1",
        "name": "whole",
        "pullSecrets": "creds\nmore",
        "batchSize": "7",
        "priority": "2",
        "waves": "1，10%，100%",  # noqa: RUF001  (the comma of a Chinese keyboard)
        "nodeSelector": "disk=ssd\nzone = a",
        "selector": "!gpu",
        "nodes": "n1\nn2",
        "excludeNodes": "n3",
        "maxRetries": "2",
        "retryDelay": "5",
        "maxFailedNodes": "5%",
        "nodeTimeout": "5m",
        "timeout": "1h",
        "webhookUrl": "https://hooks.example.com/x",
        "webhookSecretName": "hook",
        "labels": "team=a",
    }
    for name, text in texts.items():
        tab.page.locator(f"#field-{name}").fill(text)
    choices = {
        "pullPolicy": "Always",
        "order": "batch",
        "retryStrategy": "exponential",
        "webhookFormat": "slack",
    }
    for name, choice in choices.items():
        tab.page.locator(f"#field-{name}").select_option(choice)
    tab.page.get_by_label("Include cordoned nodes").check()
    shown = json.loads(tab.page.locator(".preview code").inner_text())
    tab.one("button", "Submit").click()
    expect(tab.page.get_by_role("heading", name="whole")).to_be_visible()
    assert request_of(workflows()["whole"]) == shown
    assert shown == {
        **choices,
        "images": ["busybox:1"],
        "name": "whole",
        "pullSecrets": ["creds", "more"],
        "batchSize": 7,
        "priority": 2,
        "waves": [1, "10%", "100%"],
        "nodeSelector": {"disk": "ssd", "zone": "a"},
        "selector": "!gpu",
        "nodes": ["n1", "n2"],
        "excludeNodes": ["n3"],
        "includeCordoned": True,
        "maxRetries": 2,
        "retryDelay": 5,
        "maxFailedNodes": "5%",
        "nodeTimeout": "5m",
        "timeout": "1h",
        "webhookUrl": "https://hooks.example.com/x",
        "webhookSecretName": "hook",
        "labels": {"team": "a"},
    }


def test_errors_are_shown_at_the_fields(tab: Tab, workflows: Workflows) -> None:
    """All errors of the server are shown together, each at its field; the first field gets the focus."""
    tab.expects("400")
    tab.open("new")
    tab.page.get_by_label("Images").fill("busybox:1\n\n<img src=x onerror=alert(1)>")
    tab.page.locator("#field-priority").fill("11")
    tab.page.locator("#field-waves").fill("50%, 10%")
    tab.page.locator("details").filter(has_text="Retries and limits").locator("summary").click()
    tab.page.locator("#field-retryDelay").fill("soon")
    tab.page.locator("details").filter(has_text="Retries and limits").locator("summary").click()
    tab.one("button", "Submit").click()
    expect(tab.page.get_by_role("alert")).to_contain_text("4 problems to fix")
    images = tab.page.locator("#field-images")
    expect(images).to_be_focused()
    told = {
        "images": 'line 3: got "<img src=x onerror=alert(1)>"',
        "priority": "got 11; allowed: a number from 1 to 10",
        "waves": "got 10%; allowed: more than the 50% before it",
        "retryDelay": 'got "soon"; allowed: a number of seconds from 1 to 300',
    }
    for name, text in told.items():
        field = tab.page.locator(f"#field-{name}")
        expect(field).to_have_attribute("aria-invalid", "true")
        assert f"field-{name}-wrong" in (field.get_attribute("aria-describedby") or "").split()
        expect(tab.page.locator(f"#field-{name}-wrong")).to_contain_text(text)
        expect(tab.page.locator(f"#field-{name}-wrong")).to_be_visible()
    expect(tab.page.locator("#field-batchSize")).not_to_have_attribute("aria-invalid", "true")
    assert workflows() == {}
    images.fill("busybox:1")
    for name, text in {"priority": "10", "waves": "", "retryDelay": ""}.items():
        tab.page.locator(f"#field-{name}").fill(text)
    tab.one("button", "Submit").click()
    expect(tab.page.get_by_role("heading", name="warm-")).to_be_visible()
    assert len(workflows()) == 1


def test_errors_that_json_would_hide(tab: Tab, workflows: Workflows) -> None:
    """A line without a value and a duplicate key are reported, not dropped."""
    tab.open("new")
    tab.page.get_by_label("Images").fill("busybox:1")
    tab.page.locator("details").filter(has_text="all nodes of the cluster").locator("summary").click()
    tab.page.locator("#field-nodeSelector").fill("disk=ssd\ndisk=hdd\nzone")
    tab.one("button", "Submit").click()
    wrong = tab.page.locator("#field-nodeSelector-wrong")
    expect(wrong).to_contain_text('line 2: duplicate key "disk"; allowed: each key once')
    expect(wrong).to_contain_text('line 3: got "zone"; allowed: key=value')
    assert workflows() == {}


def test_a_name_that_is_taken(tab: Tab, submit: Submit, workflows: Workflows) -> None:
    """Another request with the same name is an error at the name field; the same request opens its task."""
    tab.expects("409")
    submit("taken", "busybox:1")
    tab.open("new")
    tab.page.get_by_label("Images").fill("busybox:2")
    tab.page.locator("#field-name").fill("taken")
    tab.one("button", "Submit").click()
    expect(tab.page.locator("#field-name-wrong")).to_contain_text("taken")
    expect(tab.page.locator("#field-name")).to_be_focused()
    tab.page.get_by_label("Images").fill("busybox:1")
    tab.one("button", "Submit").click()
    expect(tab.page.get_by_text("taken already exists with the same request")).to_be_visible()
    assert tab.page.url.endswith("#/tasks/taken")
    assert list(workflows()) == ["taken"]


def test_a_draft_is_kept(new_tab: NewTab) -> None:
    """The input is kept after a visit to the list and after a change of the language."""
    tab = new_tab()
    tab.open("new")
    tab.page.get_by_label("Images").fill("busybox:1")
    tab.one("link", "Tasks", exact=True).click()
    expect(tab.one("heading", "No tasks yet")).to_be_visible()
    tab.page.go_back()
    expect(tab.page.get_by_label("Images")).to_have_value("busybox:1")
    tab.one("button", "中文").click()
    expect(tab.page.get_by_label("镜像")).to_have_value("busybox:1")
    tab.one("button", "清空表单").click()
    expect(tab.page.get_by_label("镜像")).to_have_value("")


def test_a_section_with_input_is_open(tab: Tab) -> None:
    """After a visit to the list, a collapsible section is open only if it has input."""
    tab.open("new")
    trouble, notice = (
        tab.page.locator("details").filter(has_text=title)
        for title in ("Retries and limits", "Webhook and labels")
    )
    trouble.locator("summary").click()
    tab.page.locator("#field-retryStrategy").select_option("exponential")
    tab.one("link", "Tasks", exact=True).click()
    expect(tab.one("heading", "No tasks yet")).to_be_visible()
    tab.page.go_back()
    expect(tab.page.locator("#field-retryStrategy")).to_have_value("exponential")
    expect(trouble).to_have_attribute("open", "")
    expect(notice).not_to_have_attribute("open", "")
