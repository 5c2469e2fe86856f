"""Ended tasks as a JUnit report, which CI systems show: a suite a task, a test case a node and image.

The elements are those of the schema that Jenkins, GitLab and GitHub's actions read. A node that the task may lose
is skipped rather than failed, so that the report says what the exit code says.
"""

from __future__ import annotations

from collections.abc import Iterable
from xml.etree import ElementTree as ET

from ips_flows.legible import legible
from ips_flows.results import ImageResult, Result
from ips_flows.task import Task


def report(tasks: Iterable[Task]) -> str:
    """The XML document. The tasks are with their results."""
    root = ET.Element("testsuites", name="ips-flow")
    for task in tasks:
        root.append(_suite(task))
    for total in ("tests", "failures", "errors", "skipped"):
        root.set(total, str(sum(int(suite.get(total, "0")) for suite in root)))
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _suite(task: Task) -> ET.Element:
    suite = ET.Element("testsuite", name=legible(task.name))
    if task.started_at:
        suite.set("timestamp", task.started_at.removesuffix("Z"))
    if task.verdict and task.verdict.summary:
        suite.set("time", f"{task.verdict.summary.seconds:.3f}")
    for node, result in sorted((task.results or {}).items()):
        for name, image in zip(task.images, result.images, strict=False):
            suite.append(_case(node, name, image, borne=task.status == "completed"))
    if task.status != "completed" and not suite.findall("testcase/failure"):
        # Nothing that a node lacks: there was no plan, or it was cancelled.
        case = ET.SubElement(suite, "testcase", classname="task", name=legible(task.name))
        ET.SubElement(case, "error", type=task.status, message=legible(task.message or task.status))
    cases = suite.findall("testcase")
    suite.set("tests", str(len(cases)))
    for total, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(total, str(sum(case.find(tag) is not None for case in cases)))
    return suite


def _case(node: str, name: str, image: ImageResult, *, borne: bool) -> ET.Element:
    case = ET.Element("testcase", classname=legible(node), name=legible(name))
    if image.seconds is not None:
        case.set("time", f"{image.seconds:.3f}")
    why = legible(f"{image.reason}: {image.message}" if image.message else image.reason)
    if image.result is Result.SKIPPED:
        ET.SubElement(case, "skipped", message=why)
    elif image.result is Result.FAILED and borne:
        ET.SubElement(case, "skipped", message=f"lost, which maxFailedNodes allows: {why}")
    elif image.result is Result.FAILED:
        ET.SubElement(case, "failure", type=image.reason, message=why)
    return case
