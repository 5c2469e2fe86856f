"""Print tasks on stdout in the requested format."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from ips_flows.cli.output import tables
from ips_flows.cli.output.console import columns, put, say
from ips_flows.core import clock
from ips_flows.core.counts import several
from ips_flows.core.escape import escape, escape_json
from ips_flows.core.results.verdict import status_line
from ips_flows.core.task.as_json import task_json
from ips_flows.core.task.task import Task

_LINES_SHOWN = 60


def put_document(document: Any, output: str) -> None:
    """Print a document as JSON or YAML."""
    if output == "yaml":
        import yaml  # noqa: PLC0415

        text = yaml.safe_dump(document, sort_keys=False, allow_unicode=True)
        if escape(text, keep="\n") != text:  # YAML leaves some characters as they are that `put` would escape
            text = yaml.safe_dump(document, sort_keys=False)
        put(text.rstrip("\n"))
    else:
        put(escape_json(json.dumps(document, indent=2, ensure_ascii=False)))


def put_list(tasks: Sequence[Task], output: str, *, namespaces: bool = False) -> None:
    """Print tasks as a list."""
    now = clock.now()
    if output in ("json", "yaml"):
        put_document(
            {"tasks": [task_json(one, now, brief=True) for one in tasks], "total": len(tasks)}, output
        )
    elif output == "name":
        for one in tasks:
            put(one.name)
    elif tasks:
        put(tables.task_table(tasks, now, wide=output == "wide", namespaces=namespaces))


class TaskChanges:
    """Print tasks again when they change: rows under one header, or one JSON document per line."""

    def __init__(self, output: str, *, namespaces: bool = False) -> None:
        self._output = output
        self._namespaces = namespaces
        self._widths: list[int] = []

    def print_tasks(self, tasks: Sequence[Task]) -> None:
        """Print changed tasks."""
        now = clock.now()
        if self._output == "yaml":
            for one in tasks:
                put("---")
                put_document(task_json(one, now, brief=True), "yaml")
        elif self._output == "json":
            for one in tasks:
                put(escape_json(json.dumps(task_json(one, now, brief=True), ensure_ascii=False)))
        elif self._output == "name":
            for one in tasks:
                put(one.name)
        elif tasks:
            header, rows = tables.task_rows(
                tasks, now, wide=self._output == "wide", namespaces=self._namespaces
            )
            lines = rows if self._widths else [header, *rows]
            self._widths = tables.widths([header, *rows], self._widths)
            put(tables.aligned(lines, self._widths))


def put_task(task: Task, output: str, *, context: str = "") -> None:
    """Print one task with the results of its images. JSON and YAML documents include `context` if it is set."""
    now = clock.now()
    if output in ("json", "yaml"):
        put_document({**({"context": context} if context else {}), **task_json(task, now)}, output)
        return
    if output == "name":
        put(task.name)
        return
    wide = output == "wide"
    put(tables.task_table([task], now, wide=wide))
    rows, left_out = tables.result_table(task, wide=wide, **_limits(wide=wide))
    if rows:
        put("\n" + rows)
    if left_out:
        say(f"{several(left_out, 'more line')}; -o wide or -o json shows all")
    attempts = tables.attempt_table(task)
    if attempts:
        put("\n" + attempts)
    if task.retrying:
        say(tables.retry_words(task.retrying, now))
    if task.message and not wide:
        say(status_line(tables.shown_status(task), task.message))
    if notice := tables.notice_line(task):
        say(notice)


def put_end(task: Task, output: str, *, mark: str = "", context: str = "") -> None:
    """Print the end of a followed task: its verdict with a prefix `mark`, the failures, and the skipped nodes."""
    line = mark + tables.summary_line(task)
    if output in ("json", "yaml", "name"):
        say(line)
        put_task(task, output, context=context)
        return
    put(line)
    rows, left_out = tables.failure_table(task, **_limits(wide=output == "wide"))
    if rows:
        put(rows)
    if left_out:
        say(f"{several(left_out, 'more line')}; `ips-flow get {task.name} -o wide` shows all")
    if task.skipped:
        put(mark + tables.skipped_line(task))
    for line in tables.drift_lines(task):
        put(mark + line)


def _limits(*, wide: bool) -> dict[str, int | None]:
    """Return the limits of lines and width: a terminal gets a short table, pipes and wide tables get everything."""
    width = None if wide else columns()
    return {"limit": None if width is None else _LINES_SHOWN, "width": width}
