"""The tasks that `GET /api/v1/tasks` finds."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

import pytest

from ips_flows.core.rest.pagination import TaskPages
from ips_flows.core.rest.responses import HttpError
from ips_flows.core.rest.task_store import JOBS, LIVE, Snapshot, TaskStore


def workflow(name: str, *images: str, phase: str = "Pending") -> dict[str, Any]:
    request = json.dumps({"images": images})
    return {
        "metadata": {"name": name, "uid": f"uid-{name}", "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"arguments": {"parameters": [{"name": "request", "value": request}]}},
        "status": {"phase": phase},
    }


def snapshot() -> Snapshot:
    store = TaskStore()
    store.replace(
        LIVE,
        [
            workflow("alpha", "registry.example.com/Team/app:1"),
            workflow("beta", "busybox:1", "redis:8", phase="Running"),
            workflow("redis-all", "busybox:2"),
        ],
    )
    store.replace(JOBS, [])
    made = store.snapshot()
    assert made
    return made


def found(**query: str) -> list[str]:
    page = json.loads(TaskPages().page(snapshot(), urlencode(query).encode()))
    assert page["total"] == len(page["tasks"])
    return [task["taskId"] for task in page["tasks"]]


def test_it_searches_names_and_images() -> None:
    """The search is case-insensitive and finds parts. An empty search matches all. Status and search combine."""
    assert found() == found(search="") == found(search="  ") == ["alpha", "beta", "redis-all"]
    assert found(search="REDIS") == ["beta", "redis-all"]
    assert found(search="team/APP:1") == ["alpha"]
    assert found(search="redis", status="running") == ["beta"]
    assert found(search="nothing") == []


def test_a_search_that_is_too_long() -> None:
    """The error has the field and the allowed length."""
    with pytest.raises(HttpError) as caught:
        found(search="x" * 1001)
    assert caught.value.status == 400
    assert caught.value.details == [
        {"field": "search", "message": "got 1001 characters; allowed: at most 1000"}
    ]
