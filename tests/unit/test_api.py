"""The Python API: the example in the package's README, and its errors."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

import ips_flows
from ips_flows import IpsFlowError, PrewarmRequest, submit, wait
from ips_flows.core.errors import BadRequestError, NameTakenError, NotFoundError, WaitTimeoutError
from tests.fakes.apiserver import ApiServer
from tests.fakes.argo import completes, on_submit
from tests.support.paths import ROOT

pytestmark = pytest.mark.usefixtures("shell")


def request(**fields: object) -> PrewarmRequest:
    return PrewarmRequest.model_validate({"images": ["busybox:1.37"], **fields})


def test_the_example_runs(server: ApiServer, capsys: pytest.CaptureFixture[str]) -> None:
    """The example in the README runs unchanged, except for the namespace."""
    readme = (ROOT / "ips_flows" / "README.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    on_submit(server, completes)
    exec(compile(example.replace('"ips-flow"', '"warm"'), "README.md", "exec"), {})  # noqa: S102  (our own README)
    assert capsys.readouterr().out == "completed every image is on 1 of 1 nodes\n"


def test_a_task_and_its_results(server: ApiServer) -> None:
    """A second submit returns the same task; `wait` takes its name too."""
    on_submit(server, completes)
    task = submit(request(name="a"), namespace="warm")
    assert submit(request(name="a")).uid == task.uid
    ended = wait("a", namespace="warm")
    assert (ended.status, ended.uid) == ("completed", task.uid)
    assert ended.results
    assert set(ended.results) == {"n1"}
    with pytest.raises(NameTakenError):
        submit(request(name="a", priority=9))


def test_the_time_is_up(server: ApiServer) -> None:
    """`wait` raises WaitTimeoutError, and the task continues."""
    task = submit(request(name="a"))
    with pytest.raises(
        WaitTimeoutError, match="task a in namespace warm has not ended after 0 s; it continues"
    ):
        wait(task, timeout=0)
    assert "shutdown" not in server.get("workflows", "a")["spec"]


def test_what_is_refused(server: ApiServer) -> None:
    """`submit` rejects a request that Python code made invalid, and creates nothing."""
    with pytest.raises(BadRequestError, match=r"\{\{"):
        submit(request(labels={}).model_copy(update={"webhook_url": "http://x/{{workflow.name}}"}))
    with pytest.raises(NotFoundError):
        wait("nothing")
    with pytest.raises(IpsFlowError, match="nothing"):
        wait("nothing")
    assert not [key for key in server.store.objects if key[0] == "workflows"]
    with pytest.raises(AttributeError, match="has no attribute 'warm'"):
        _ = ips_flows.warm


def test_the_package_loads_little() -> None:
    """Importing the package imports no heavy dependency."""
    code = "import sys, ips_flows; print([one for one in ('pydantic', 'kubernetes', 'hera') if one in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "[]\n"
