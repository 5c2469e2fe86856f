"""`ips-flow queue`."""

from __future__ import annotations

import click

from ips_flows.cli.options.common import Target, example, output_option, target_options
from ips_flows.cli.output.console import put, say


@click.command("queue", epilog=example("ips-flow queue", "ips-flow queue -o json | jq '.tasks[0].taskId'"))
@output_option("table", "json", "yaml", "name")
@target_options
def queue_command(*, target: Target, output: str) -> None:
    """List the waiting tasks in the order in which they start, and what each waits for.

    Tasks are ordered by priority, then by the time of submission. `reprioritize` changes the priority.
    """
    from ips_flows.cli.output.documents import put_document  # noqa: PLC0415
    from ips_flows.cli.output.tables import queue_table  # noqa: PLC0415
    from ips_flows.core import clock  # noqa: PLC0415
    from ips_flows.core.task.queue import queue_json  # noqa: PLC0415
    from ips_flows.operations.queue import get_queue  # noqa: PLC0415

    kube, namespace = target.connect()
    queue = get_queue(kube, namespace)
    now = clock.now()
    if output in ("json", "yaml"):
        put_document(queue_json(queue, now), output)
        return
    if output == "name":
        for entry in queue.entries:
            put(entry.task)
        return
    if queue.entries:
        put(queue_table(queue, now))
    else:
        say(f"no tasks are waiting in namespace {namespace}")
    if queue.limit is None:
        say(f"no task can start; `ips-flow doctor {target.flags(namespace)}` shows why")
    else:
        say(f"running tasks: {len(queue.running)} of at most {queue.limit}")
