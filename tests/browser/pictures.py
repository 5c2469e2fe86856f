"""The two pictures of README.md: `python -m tests.browser.pictures` takes them from the test site.

One task over the fake API server is shown twice: its page in Chromium, and the live view of `ips-flow run`. The page's
language switch needs a font with Chinese characters, such as Debian's package fonts-wqy-zenhei.
"""

from __future__ import annotations

import contextlib
import io
import re
import tempfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from unittest import mock

from playwright.sync_api import expect
from rich.console import Console
from rich.text import Text

from ips_flows.cli.output.lines import failure_line
from ips_flows.cli.output.live import picture
from ips_flows.core import clock
from ips_flows.core.request.model import merge_overrides
from ips_flows.core.results.reasons import Result
from ips_flows.core.results.records import FailureLine
from ips_flows.core.results.results import FILTER_GROUP, ImageResult, NodeResult
from ips_flows.core.task.task import Task
from ips_flows.kube.client import Kube
from ips_flows.operations.submit import submit_request
from ips_flows.operations.tasks import get_task
from tests.browser.site import Site, chromium_running, looking
from tests.fakes.apiserver import ApiServer, running
from tests.fakes.argo import Argo
from tests.support.paths import ROOT

PAGE = ROOT / ".github" / "page.png"
LIVE = ROOT / ".github" / "live.svg"
LARGEST = 200 * 1024  # bytes of a picture

_NAMESPACE = "warm"
_TASK = "rollout"
_IMAGES = (
    "registry.example.com/shop/web:4.2.0",
    "registry.example.com/shop/search:2.8.1",
    "registry.example.com/ml/model-server:24.11",
)
_BYTES = (210_000_000, 95_000_000, 7_400_000_000)
_NODES = 18
_WARM = 3
_NO_SPACE = "write /var/lib/containerd/io.containerd.content.v1.content/ingest: no space left on device"


def take() -> None:
    """Write both pictures."""
    PAGE.parent.mkdir(exist_ok=True)
    with running() as server, tempfile.TemporaryDirectory() as folder:
        kubeconfig = str(server.kubeconfig(Path(folder)))
        kube = Kube.connect(kubeconfig)
        _play(server, kube)
        LIVE.write_text(_live_view(get_task(kube, _NAMESPACE, _TASK)), encoding="utf-8")
        site = Site({"KUBECONFIG": kubeconfig, "K8S_NAMESPACE": _NAMESPACE}, "--auth", "none")
        try:
            _photograph(site)
        finally:
            site.stop()
    for path in (PAGE, LIVE):
        assert path.stat().st_size <= LARGEST, path


def _play(server: ApiServer, kube: Kube) -> None:
    """A task in its second wave: some nodes are done, one failed, some pull."""
    overrides = {"images": list(_IMAGES), "name": _TASK, "batchSize": 6, "waves": [2, "100%"], "priority": 8}
    submit_request(kube, _NAMESPACE, merge_overrides(None, "flags", overrides))
    submitted = clock.stamp(clock.now() - timedelta(seconds=290))
    server.change("workflows", _TASK, {"metadata": {"creationTimestamp": submitted}}, _NAMESPACE)
    with _earlier(seconds=280):
        argo = Argo(server, _TASK, started=clock.stamp(clock.now()))
        argo.phase("Running")
    with _earlier(seconds=275):
        argo.planned(
            waves={"wave-1": 2, "wave-2": _NODES - 2},
            images=_IMAGES,
            warm=_WARM,
            skipped={"Cordoned": 1, "NotReady": 1},
            window=6,
        )
    present = ImageResult(Result.PRESENT, digest="sha256:1" + "a" * 63)
    warm = NodeResult((present,) * len(_IMAGES), clock.stamp(clock.now()))
    argo.results({f"node{_NODES + at}": warm for at in range(1, _WARM + 1)}, FILTER_GROUP)
    argo.results({f"node{at:02}": _node(at) for at in (1, 2)}, group=0)
    argo.progress(0, done=2)
    done = {f"node{at:02}": _node(at) for at in range(3, 12)}
    argo.results(done, group=1)
    failure = FailureLine(
        node="node07", image=_IMAGES[2], reason="NoSpace", message=_NO_SPACE, at=clock.stamp(clock.now())
    )
    argo.progress(1, done=len(done) - 1, failed=1, pulling=6, failures=(failure,))


@contextlib.contextmanager
def _earlier(*, seconds: float) -> Iterator[None]:
    """Set the product's clock back."""
    past = clock.now() - timedelta(seconds=seconds)
    with mock.patch.object(clock, "now", return_value=past):
        yield


def _node(at: int) -> NodeResult:
    """A node's results: its images are of different sizes, and one node has no space for one."""
    images = [
        ImageResult(
            Result.PULLED,
            seconds=round(size / (80_000_000 + 4_000_000 * (at % 5)), 1),
            bytes=size,
            digest=f"sha256:{index}" + "a" * 63,
        )
        for index, size in enumerate(_BYTES)
    ]
    if at % 4 == 1:
        images[1] = ImageResult(Result.PRESENT, digest="sha256:1" + "a" * 63)
    if at == 7:
        images[2] = ImageResult(Result.FAILED, reason="NoSpace", message=_NO_SPACE, tries=2)
    return NodeResult(tuple(images), clock.stamp(clock.now()))


def _live_view(task: Task) -> str:
    console = Console(record=True, file=io.StringIO(), force_terminal=True, width=100, highlight=False)
    console.print(Text("$ ips-flow run images.yaml", style="bold"))
    console.print(f"task {task.name} submitted in namespace {task.namespace}")
    for line in task.failures:
        console.print(Text("✗ ", style="red") + Text(failure_line(line)), no_wrap=True, overflow="ellipsis")
    for text in picture([("", task)], clock.now(), width=99, height=24):
        console.print(text)
    svg = console.export_svg(title="ips-flow run")
    return re.sub(r"@font-face \{.*?\}\n?", "", svg, flags=re.DOTALL)  # a README's picture may load no font


def _photograph(site: Site) -> None:
    with (
        chromium_running() as browser,
        looking(browser, site.url, viewport={"width": 1180, "height": 900}, color_scheme="light") as tab,
    ):
        tab.open(f"tasks/{_TASK}")
        expect(tab.page.get_by_role("grid").get_by_role("row")).to_have_count(15)
        tab.page.screenshot(path=PAGE, full_page=True, animations="disabled")


if __name__ == "__main__":
    take()
