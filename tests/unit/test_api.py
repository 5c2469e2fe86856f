"""IPS Flow as a library: its example in the package's README, and what it refuses."""

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
    """Word by word as it stands in the README, but for the namespace."""
    readme = (ROOT / "ips_flows" / "README.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    on_submit(server, completes)
    exec(compile(example.replace('"ips-flow"', '"warm"'), "README.md", "exec"), {})  # noqa: S102  (our own README)
    assert capsys.readouterr().out == "completed every image is on 1 of 1 nodes\n"


def test_a_task_and_what_became_of_it(server: ApiServer) -> None:
    """Submitted twice it is the same task; known by its name as well."""
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
    """The task goes on."""
    task = submit(request(name="a"))
    with pytest.raises(
        WaitTimeoutError, match="task a in namespace warm has not ended after 0 s; it continues"
    ):
        wait(task, timeout=0)
    assert "shutdown" not in server.get("workflows", "a")["spec"]


def test_what_is_refused(server: ApiServer) -> None:
    """Python can build what no text may say; it goes no further."""
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
    """What the library needs is loaded when it is used."""
    code = "import sys, ips_flows; print([one for one in ('pydantic', 'kubernetes', 'hera') if one in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "[]\n"
