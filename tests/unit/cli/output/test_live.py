"""The live view and the plain lines of a task."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console

from ips_flows.cli.output.lines import Lines, changed_lines
from ips_flows.cli.output.live import LiveView, frame, picture
from ips_flows.core.results.attempts import PendingRetry
from ips_flows.core.results.progress import Progress, WaveProgress
from ips_flows.core.results.records import AttemptSummary, FailureLine, PlanSummary, WaveSummary
from ips_flows.core.task.task import Task

NOW = datetime(2026, 1, 31, 12, 2, tzinfo=UTC)
AT = "2026-01-31T12:00:00Z"
PENDING = Task(
    name="nightly",
    namespace="warm",
    uid="u",
    status="pending",
    ended=False,
    created_at=AT,
    request={"images": ["busybox:1"], "priority": 9},
    priority=9,
    queue_position=2,
)
PLAN = PlanSummary(
    mode="volume",
    mode_reason="",
    window=10,
    eligible=33,
    warm=3,
    to_do=30,
    skipped={"Cordoned": 1},
    waves=(WaveSummary(name="wave-1", nodes=1), WaveSummary(name="wave-2", nodes=29)),
    images=("busybox:1",),
    priority=9,
    losses_allowed=0,
    deadline=AT,
    planned_at=AT,
)
LOST = FailureLine(node="node7", image="busybox:1", reason="NotFound", message="manifest\nunknown", at=AT)
RUNNING = replace(
    PENDING,
    status="running",
    queue_position=None,
    started_at=AT,
    plan=PLAN,
    waves=(WaveProgress("wave-1", 1, done=1), WaveProgress("wave-2", 29, done=13, pulling=10, failed=1)),
    progress=Progress(total=33, completed=17, failed=1, ended=15, to_do=30, window=10),
    failures=(LOST,),
)


def drawn(task: Task, width: int = 80, height: int = 24, *, unicode: bool = True) -> list[str]:
    return [line.plain for line in frame(task, NOW, width=width, height=height, unicode=unicode)]


def test_a_pending_task_shows_its_place() -> None:
    """A waiting task is shown with its position in the queue."""
    assert drawn(PENDING) == ["⠋ pending  nightly  number 2 in the queue, priority 9  2m"]


def test_a_running_task_shows_a_bar_a_wave() -> None:
    """Each wave has a bar with done, failed and pulling nodes; below are the rate and the time left."""
    assert drawn(RUNNING, unicode=False) == [
        "| running  nightly  2m",
        "  1 image on 33 nodes, at most 10 at the same time, mode volume",
        "  3 warm already, skipped Cordoned ×1",
        "  wave-1  ###################################   1/1 done",
        "  wave-2  ################x>>>>>>>>>>>>------  13/29 done  10 pulling  1 failed",
        "  7.5 nodes/min, about 2m left, 1 failed",
    ]


@pytest.mark.parametrize("width", [40, 79, 80, 199])
@pytest.mark.parametrize("nodes", [1, 7, 5000])
@pytest.mark.parametrize("name", ["wave-1", "a-wave-with-a-very-long-name-indeed"])
def test_no_line_is_wider_than_the_terminal(width: int, nodes: int, name: str) -> None:
    """No line wraps, for any numbers."""
    for done in {0, nodes // 2, nodes}:
        waves = tuple(
            WaveProgress(
                name, nodes, done=done, pulling=(nodes - done) // 2, failed=(nodes - done) // 3, attempt=3
            )
            for _ in range(30)
        )
        lines = drawn(replace(RUNNING, name="n" * 52, waves=waves), width)
        assert max(map(len, lines)) <= width
        assert len(lines) < 24


def test_bars_keep_their_width() -> None:
    """A bar has the same width for any numbers beside it."""
    early, late = (
        next(
            line
            for line in drawn(replace(RUNNING, waves=(WaveProgress("w", 100, **counts),)))
            if "/100" in line
        )
        for counts in ({"done": 0}, {"done": 80, "pulling": 10, "failed": 10})
    )
    assert (
        len(re.findall("[━×╍─]", early)) == len(re.findall("[━×╍─]", late)) == len(re.findall("[━×╍]", late))
    )


def test_a_terminal_of_80_columns_is_not_garbled() -> None:
    """No line wraps in a terminal during the whole life of a task."""
    stream = io.StringIO()
    console = Console(
        file=stream, force_terminal=True, width=80, height=24, color_system=None, highlight=False
    )
    long = LOST.model_copy(
        update={"node": "ip-10-0-2-14.eu-central-1.compute.internal", "message": "x" * 300}
    )
    with LiveView(console) as view:
        for task in (PENDING, RUNNING, replace(RUNNING, failures=(LOST, long))):
            view.update(task)
            view.tick()
        view.note("cluster https://example can't be reached: " + "y" * 200)
        view.update(replace(RUNNING, status="completed", ended=True, finished_at=AT))
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", stream.getvalue())
    assert max(len(line) for line in re.split(r"[\r\n]", text)) < 80
    assert text.count("NotFound on node7") == 1


RETRYING = replace(
    RUNNING,
    retrying=PendingRetry("wave-2", 2, 3, NOW + timedelta(seconds=11.4)),
    attempts=(
        AttemptSummary(
            group=1,
            wave="wave-2",
            attempt=0,
            nodes=29,
            failed=1,
            failures={"NotFound": 1},
            started_at=AT,
            ended_at=AT,
            next_delay=30,
        ),
    ),
)


def test_a_waiting_retry_shows_its_time() -> None:
    """The live view counts down; plain lines show the retry once."""
    assert drawn(RETRYING)[0] == "⠋ running  nightly  retrying in 12 s (attempt 2 of 3)  2m"
    overdue = replace(RETRYING, retrying=PendingRetry("wave-2", 2, 3, NOW))
    assert drawn(overdue)[0] == "⠋ running  nightly  retrying now (attempt 2 of 3)  2m"
    assert changed_lines(RUNNING, RETRYING) == ["nightly: wave-2: retrying in 30 s (attempt 2 of 3)"]
    assert changed_lines(RETRYING, RETRYING) == []


def test_the_window_in_force_is_shown() -> None:
    """A changed window and a pause are shown."""
    scaled, paused = replace(RUNNING, window=50), replace(RUNNING, window=0)
    assert drawn(scaled)[1] == "  1 image on 33 nodes, at most 50 at the same time, mode volume"
    assert drawn(paused)[1] == "  1 image on 33 nodes, paused, mode volume"
    assert changed_lines(scaled, paused) == ["nightly: paused"]
    assert changed_lines(paused, scaled) == ["nightly: at most 50 at the same time"]


def test_lines_tell_each_change_once() -> None:
    """Plain lines name the task, and show only changes."""
    assert changed_lines(None, PENDING) == ["nightly: pending, number 2 in the queue"]
    assert changed_lines(PENDING, RUNNING) == [
        "nightly: running",
        "nightly: planned 30 nodes in 2 waves, at most 10 at the same time, mode volume, 3 warm already, skipped Cordoned ×1",
        "nightly: image failed: NotFound on node7: busybox:1: manifest unknown",
        "nightly: wave-1: 1 of 1 nodes done",
        "nightly: wave-2: 13 of 29 nodes done, 10 pulling, 1 failed",
    ]
    assert changed_lines(RUNNING, RUNNING) == []
    assert changed_lines(RUNNING, replace(RUNNING, status="cancelled", shutdown="Stop")) == [
        "nightly: cancelling"
    ]


# -- several tasks

COMPLETED = replace(RUNNING, status="completed", ended=True, finished_at="2026-01-31T12:01:00Z")


def stacked(*tasks: tuple[str, Task], width: int = 80, height: int = 24) -> list[str]:
    """Return the picture of several tasks as text."""
    return [line.plain for line in picture(tasks, NOW, width=width, height=height, unicode=False)]


def test_one_task_is_drawn_as_it_is() -> None:
    """A single task has the same picture without a mark, at any height of the terminal."""
    for height in (5, 10, 24):
        assert stacked(("", RUNNING), height=height) == drawn(RUNNING, height=height, unicode=False)


def test_the_tasks_of_several_clusters_are_stacked() -> None:
    """Each task is drawn in full, under its context, in the given order."""
    assert stacked(("[east] ", RUNNING), ("[west] ", PENDING)) == [
        "[east] | running  nightly  2m",
        *drawn(RUNNING, unicode=False)[1:],
        "[west] | pending  nightly  number 2 in the queue, priority 9  2m",
    ]


def test_a_low_terminal_shows_only_headers() -> None:
    """All headers are shown in the given order, with an ended task between running tasks."""
    tasks = [("[a] ", RUNNING), ("[b] ", COMPLETED), ("[c] ", PENDING)]
    assert stacked(*tasks, height=10) == [
        "[a] | running  nightly  2m",
        "[b]   completed  nightly  60s",
        "[c] | pending  nightly  number 2 in the queue, priority 9  2m",
    ]


def test_a_very_low_terminal_leaves_out_tasks() -> None:
    """Ended tasks are left out first, and a line states how many are shown."""
    tasks = [(f"[{number}] ", COMPLETED if number < 5 else RUNNING) for number in range(8)]
    assert stacked(*tasks, height=7) == [
        "[0]   completed  nightly  60s",
        "[5] | running  nightly  2m",
        "[6] | running  nightly  2m",
        "[7] | running  nightly  2m",
        "4 of 8 tasks shown",
    ]


@pytest.mark.parametrize("count", [1, 2, 3, 5, 30])
@pytest.mark.parametrize("height", [10, 24, 50])
def test_several_tasks_fit_the_terminal(count: int, height: int) -> None:
    """Tasks with any number of waves share the height, and no line wraps."""
    waves = tuple(WaveProgress(f"wave-{number}", 10, done=number) for number in range(10))
    tasks = [(f"[{'c' * 60}-{number}] ", replace(RUNNING, waves=waves)) for number in range(count)]
    lines = stacked(*tasks, height=height)
    assert len(lines) <= height - 2
    assert max(map(len, lines)) <= 80


def test_the_waves_of_several_tasks_share_the_room() -> None:
    """Each task shows as many waves as fit, including the current wave."""
    waves = tuple(WaveProgress(f"wave-{number}", 10) for number in range(10))
    task = replace(RUNNING, waves=waves)
    lines = stacked(("[a] ", task), ("[b] ", task))
    assert [line.strip() for line in lines].count("6 of 10 waves shown") == 2
    assert len(lines) == 22


def test_a_live_view_of_several() -> None:
    """Failures and messages are printed with their mark; a dropped task is no longer drawn."""
    stream = io.StringIO()
    console = Console(
        file=stream, force_terminal=True, width=80, height=24, color_system=None, highlight=False
    )
    with LiveView(console, marks=("[east] ", "[west] ")) as view:
        view.tick()
        view.update(PENDING, 1)
        view.update(RUNNING, 0)
        view.note("trying again", 1)
        view.drop("gone", 1)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", stream.getvalue())
    assert "✗ [east] NotFound on node7" in text
    assert "[west] trying again" in text
    before, _, after = text.partition("[west] gone")
    assert re.search(r"\[west\] . pending", before)
    last = after.rpartition("\r")[2]
    assert re.search(r"\[east\] . running", last)
    assert "pending" not in last


def test_lines_of_several_clusters_are_told_apart(capsys: pytest.CaptureFixture[str]) -> None:
    """The changes of one task are independent of the others."""
    with Lines(marks=("[east] ", "[west] ")) as lines:
        lines.update(PENDING, 0)
        lines.update(PENDING, 1)
        lines.update(PENDING, 0)
        lines.note("away", 1)
        lines.drop("gone", 1)
    assert capsys.readouterr().err.splitlines() == [
        "[east] nightly: pending, number 2 in the queue",
        "[west] nightly: pending, number 2 in the queue",
        "[west] away",
        "[west] gone",
    ]
