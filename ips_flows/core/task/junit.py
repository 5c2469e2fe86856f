"""Tasks as a JUnit report, which CI systems show: a suite a task, a test case a node and image.

The elements are those of the schema that Jenkins, GitLab and GitHub's actions read. A node that the task may lose
is skipped rather than failed, so that the report says what the exit code says.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from xml.etree import ElementTree as ET

from ips_flows.core.errors import IpsFlowError
from ips_flows.core.escape import escape
from ips_flows.core.results.reasons import Result
from ips_flows.core.results.results import ImageResult
from ips_flows.core.task.task import Task


@dataclass(frozen=True, slots=True)
class JUnitSuite:
    """A task, with its results, or why its end is not known. `mark` begins the names that are to be told apart."""

    name: str
    end: Task | IpsFlowError
    mark: str = ""


def junit_report(suites: Iterable[JUnitSuite]) -> str:
    """The XML document."""
    root = ET.Element("testsuites", name="ips-flow")
    for suite in suites:
        root.append(_element(suite))
    for total in ("tests", "failures", "errors", "skipped"):
        root.set(total, str(sum(int(one.get(total, "0")) for one in root)))
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _element(told: JUnitSuite) -> ET.Element:
    suite = ET.Element("testsuite", name=escape(told.mark + told.name))
    match told.end:
        case IpsFlowError() as error:
            _add_error(suite, told, type(error).__name__, error.message)
        case task:
            _add_task(suite, task, told.mark)
            if task.status != "completed" and not suite.findall("testcase/failure"):
                # Nothing that a node lacks: there was no plan, or it was cancelled.
                _add_error(suite, told, task.status, task.message or task.status)
    cases = suite.findall("testcase")
    suite.set("tests", str(len(cases)))
    for total, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(total, str(sum(case.find(tag) is not None for case in cases)))
    return suite


def _add_task(suite: ET.Element, task: Task, mark: str) -> None:
    if task.started_at:
        suite.set("timestamp", task.started_at.removesuffix("Z"))
    if task.verdict and task.verdict.summary:
        suite.set("time", f"{task.verdict.summary.seconds:.3f}")
    for node, result in sorted((task.results or {}).items()):
        for name, image in zip(task.images, result.images, strict=False):
            suite.append(_case(mark + node, name, image, borne=task.status == "completed"))


def _add_error(suite: ET.Element, told: JUnitSuite, kind: str, message: str) -> None:
    """A case for what went wrong with the task as a whole, so that no report is green by chance."""
    case = ET.SubElement(suite, "testcase", classname=escape(f"{told.mark}task"), name=escape(told.name))
    ET.SubElement(case, "error", type=kind, message=escape(message))


def _case(node: str, name: str, image: ImageResult, *, borne: bool) -> ET.Element:
    case = ET.Element("testcase", classname=escape(node), name=escape(name))
    if image.seconds is not None:
        case.set("time", f"{image.seconds:.3f}")
    why = escape(f"{image.reason}: {image.message}" if image.message else image.reason)
    if image.result is Result.SKIPPED:
        ET.SubElement(case, "skipped", message=why)
    elif image.result is Result.FAILED and borne:
        ET.SubElement(case, "skipped", message=f"lost, which maxFailedNodes allows: {why}")
    elif image.result is Result.FAILED:
        ET.SubElement(case, "failure", type=image.reason, message=why)
    return case
