"""Timeouts and intervals of a driver."""

from __future__ import annotations

from dataclasses import dataclass

from ips_flows.core.pods.pull_job import POD_SLACK_SECONDS


@dataclass(frozen=True, slots=True)
class DriverTimings:
    """All in seconds. `python -m steps.drive` uses the defaults."""

    # Passes
    rest: float = 0.05  # between two passes, so that a burst of changes is one pass
    longest_rest: float = 2.0  # while API requests fail
    idle: float = 2.0  # until the next pass, if nothing changes
    first_pause: float = 1.0  # after an API error; doubled by each further one
    longest_pause: float = 16.0
    patience: float = 120.0  # while API requests fail; then another pod tries

    # Job and pods
    job_slack: int = 10  # from the task's deadline, which a driver enforces, to the Job's own deadline
    pods_relist: float = 30.0
    pods_first_list: float = 30.0
    earlier_slack: float = (
        POD_SLACK_SECONDS  # after the node timeout, pods of earlier attempts no longer count
    )
    unbound: float = 60.0  # until a pod without a node counts as unschedulable
    pod_end: float = 5.0  # for a kubelet to end a pod that passed its deadline
    node_check: float = 15.0
    not_ready: float = 30.0  # until a node that is not ready counts as failed

    # Evidence and results
    pull_event: float = 3.0  # after a pod has ended, for the kubelet's event on an image
    events_relist: float = 3.0
    persist: float = 30.0
    progress: float = 2.0
