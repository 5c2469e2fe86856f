"""The JUnit report, read by a parser that is not ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from ips_flows.core.errors import UnavailableError
from ips_flows.core.results.reasons import FailureReason, Result, SkipReason
from ips_flows.core.results.records import Summary, Verdict
from ips_flows.core.results.results import ImageResult, NodeResult
from ips_flows.core.task.junit import JUnitSuite, junit_report
from ips_flows.core.task.task import Task
from ips_flows.core.task.workflow_status import Status

AT = "2026-01-31T12:00:00Z"
PULLED = ImageResult(Result.PULLED, seconds=1.5)
FAILED = ImageResult(Result.FAILED, FailureReason.NOT_FOUND, "no <tag> & \x1b[31mred\x1b[0m\x00")
CORDONED = ImageResult(Result.SKIPPED, SkipReason.CORDONED)


def ended(status: Status, results: Mapping[str, NodeResult] | None, message: str = "") -> Task:
    counts: Any = dict.fromkeys(("eligible", "completed", "warm", "failed", "not_reached", "bytes"), 0)
    summary = Summary(**counts, skipped={}, images={}, failures={}, seconds=12.0)
    verdict = Verdict(status=status, event_id="e", at=AT, started_at=AT, message=message, summary=summary)
    return Task(
        name="nightly",
        namespace="warm",
        uid="u",
        status=status,
        ended=True,
        created_at=AT,
        started_at=AT,
        request={"images": ["a:1", "b:1"]},
        verdict=verdict if results is not None else None,
        results=results,
        message=message,
    )


def parsed(*tasks: Task) -> ET.Element:
    return read(*(JUnitSuite(task.name, task) for task in tasks))


def read(*suites: JUnitSuite) -> ET.Element:
    return ET.fromstring(junit_report(suites).encode())  # noqa: S314  (ours)


def test_a_case_a_node_and_image() -> None:
    """With its seconds, its reason and its message; what a terminal or a parser trips over is escaped."""
    nodes = {
        "n2": NodeResult((PULLED, FAILED), AT),
        "n1": NodeResult((PULLED, ImageResult(Result.PRESENT)), AT),
    }
    root = parsed(ended("failed", nodes))
    (suite,) = root
    assert suite.attrib == {
        "name": "nightly",
        "timestamp": "2026-01-31T12:00:00",
        "time": "12.000",
        "tests": "4",
        "failures": "1",
        "errors": "0",
        "skipped": "0",
    }
    assert [(case.get("classname"), case.get("name"), case.get("time")) for case in suite] == [
        ("n1", "a:1", "1.500"),
        ("n1", "b:1", None),
        ("n2", "a:1", "1.500"),
        ("n2", "b:1", None),
    ]
    (failure,) = suite.iter("failure")
    assert failure.get("type") == "NotFound"
    assert (failure.get("message") or "").startswith("NotFound: no <tag> & ")
    assert "\x1b" not in junit_report([JUnitSuite("nightly", ended("failed", nodes))])


def test_what_was_left_out_and_what_may_be_lost_is_skipped() -> None:
    """The report fails only where the exit code does."""
    nodes = {"n1": NodeResult((CORDONED, CORDONED), AT), "n2": NodeResult((PULLED, FAILED), AT)}
    root = parsed(ended("completed", nodes))
    assert (root.get("tests"), root.get("failures"), root.get("skipped")) == ("4", "0", "3")
    messages = [one.get("message") or "" for one in root.iter("skipped")]
    assert messages[:2] == ["Cordoned", "Cordoned"]
    assert messages[2].startswith("lost, which maxFailedNodes allows: NotFound: ")


@pytest.mark.parametrize("results", [None, {}, {"n1": NodeResult((PULLED, PULLED), AT)}])
def test_a_task_that_lost_nothing_and_did_not_complete(results: Mapping[str, NodeResult] | None) -> None:
    """Without a plan, or cancelled: an error of the task itself, so that no report is green by chance."""
    root = parsed(ended("cancelled", results, "stopped before its plan was made"))
    (error,) = root.iter("error")
    assert (error.get("type"), error.get("message")) == ("cancelled", "stopped before its plan was made")
    assert root.get("errors") == "1"


def test_several_tasks() -> None:
    """A suite each, and totals over all."""
    good = ended("completed", {"n1": NodeResult((PULLED, PULLED), AT)})
    root = parsed(good, ended("failed", {"n1": NodeResult((FAILED, PULLED), AT)}))
    assert (len(root), root.get("tests"), root.get("failures")) == (2, "4", "1")


def test_suites_of_several_clusters() -> None:
    """Told apart by their marks, also where a system shows no suites; a cluster without an end is an error."""
    good = ended("completed", {"n1": NodeResult((PULLED, PULLED), AT)})
    lost = UnavailableError("cluster https://b can't be reached: \x1b[31mno")
    root = read(JUnitSuite("nightly", good, "[a] "), JUnitSuite("nightly", lost, "[b] "))
    assert [suite.get("name") for suite in root] == ["[a] nightly", "[b] nightly"]
    assert [case.get("classname") for case in root.iter("testcase")] == ["[a] n1", "[a] n1", "[b] task"]
    (error,) = root.iter("error")
    assert error.attrib == {
        "type": "UnavailableError",
        "message": r"cluster https://b can't be reached: \x1b[31mno",
    }
    assert (root.get("tests"), root.get("errors"), root.get("failures")) == ("3", "1", "0")
