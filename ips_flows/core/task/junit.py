"""A JUnit report for CI systems: one suite per task, one test case per node and image.

The elements follow the schema that Jenkins, GitLab and GitHub Actions read. Failures on nodes that the task allows
to fail are reported as skipped, so that the report agrees with the exit code.
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
    """A task with its results, or the error that hides its end. `mark` is a prefix that makes names unique."""

    name: str
    end: Task | IpsFlowError
    mark: str = ""


def junit_report(suites: Iterable[JUnitSuite]) -> str:
    """Return the XML document."""
    root = ET.Element("testsuites", name="ips-flow")
    for suite in suites:
        root.append(_element(suite))
    for total in ("tests", "failures", "errors", "skipped"):
        root.set(total, str(sum(int(one.get(total, "0")) for one in root)))
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _element(source: JUnitSuite) -> ET.Element:
    suite = ET.Element("testsuite", name=escape(source.mark + source.name))
    match source.end:
        case IpsFlowError() as error:
            _add_error(suite, source, type(error).__name__, error.message)
        case task:
            _add_task(suite, task, source.mark)
            if task.status != "completed" and not suite.findall("testcase/failure"):
                # No node has a failed image: the task had no plan, or it was cancelled.
                _add_error(suite, source, task.status, task.message or task.status)
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
            suite.append(_case(mark + node, name, image, allowed=task.status == "completed"))


def _add_error(suite: ET.Element, source: JUnitSuite, kind: str, message: str) -> None:
    """Add a test case for an error of the whole task, so that the report does not pass."""
    case = ET.SubElement(suite, "testcase", classname=escape(f"{source.mark}task"), name=escape(source.name))
    ET.SubElement(case, "error", type=kind, message=escape(message))


def _case(node: str, name: str, image: ImageResult, *, allowed: bool) -> ET.Element:
    case = ET.Element("testcase", classname=escape(node), name=escape(name))
    if image.seconds is not None:
        case.set("time", f"{image.seconds:.3f}")
    why = escape(f"{image.reason}: {image.message}" if image.message else image.reason)
    if image.result is Result.SKIPPED:
        ET.SubElement(case, "skipped", message=why)
    elif image.result is Result.FAILED and allowed:
        ET.SubElement(case, "skipped", message=f"failed, allowed by maxFailedNodes: {why}")
    elif image.result is Result.FAILED:
        ET.SubElement(case, "failure", type=image.reason, message=why)
    return case
