"""REST routes of tasks: every response of each route."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from ips_flows.core import clock
from ips_flows.core.request.model import merge_overrides
from ips_flows.core.rest import schemas
from ips_flows.core.task.as_json import task_json
from ips_flows.kube.client import Kube
from ips_flows.operations import tasks
from ips_flows.operations.install.manifests import SERVER, load_manifests
from ips_flows.operations.submit import submit_request
from tests.fakes.apiserver import ApiServer
from tests.fakes.argo import Argo, failed, pulled
from tests.support.rbac import granted, needed
from tests.support.rest_harness import Rest, serving

ROOT = "/api/v1/tasks"
GOOD = {"images": ["busybox:1"], "name": "a"}


@pytest.fixture
def rest(server: ApiServer, kube: Kube) -> Iterator[Rest]:
    with serving(server, kube) as one:
        yield one
    unread = {("", "namespaces", "get")}  # a namespace that the server may not read is assumed to exist
    assert needed(server.calls) - unread <= granted("ips-flow-server")


def submit(kube: Kube, name: str, **fields: object) -> None:
    submit_request(
        kube, "warm", merge_overrides(None, "flags", {"images": ["busybox:1"], "name": name, **fields})
    )


def planned(server: ApiServer, name: str = "a", nodes: int = 2) -> Argo:
    argo = Argo(server, name)
    argo.phase("Running")
    argo.planned(waves={"wave-1": nodes})
    return argo


def ended(server: ApiServer, name: str, *, good: bool = True) -> Argo:
    """Create a task on two nodes with its verdict."""
    argo = planned(server, name)
    nodes = {"n1": pulled(), "n2": pulled() if good else failed()}
    argo.results(nodes)
    argo.verdict(nodes)
    argo.phase("Succeeded" if good else "Failed")
    return argo


def test_a_request_becomes_a_task_once(rest: Rest) -> None:
    """201, then 200 for the same request, then 409 for another request with that name."""
    made = rest.call("POST", ROOT, GOOD)
    assert (made.status, made.headers["location"]) == (201, f"{ROOT}/a")
    assert made.json["taskId"] == "a"
    assert made.json["status"] == "pending"
    again = rest.call("POST", ROOT, GOOD)
    assert (again.status, again.json) == (200, made.json)
    other = rest.call("POST", ROOT, {**GOOD, "priority": 9})
    assert other.status == 409
    assert other.json["error"] == "name a is taken in namespace warm by a task with another request"


def test_a_list_shows_the_last_change(rest: Rest) -> None:
    """Immediately, although lists come from memory."""
    rest.await_list(lambda _: True)
    for number in range(20):
        name = f"t{number:02d}"
        assert rest.call("POST", ROOT, {**GOOD, "name": name}).status == 201
        assert rest.get(f"{ROOT}?status=pending").json["total"] == number + 1
    for number in range(20):
        assert rest.call("DELETE", f"{ROOT}/t{number:02d}").status == 200
        assert rest.get(f"{ROOT}?status=cancelled").json["total"] == number + 1


def test_a_task_reads_as_on_the_command_line(rest: Rest, server: ApiServer, kube: Kube) -> None:
    """The JSON is the same as that of `ips-flow get`, node statuses included."""
    submit(kube, "a", webhookUrl="https://hooks.example.com/x", maxRetries=2)
    ended(server, "a", good=False)
    found = rest.get(f"{ROOT}/a")
    assert found.status == 200
    assert found.json == task_json(tasks.get_task(kube, "warm", "a"), clock.now())
    assert found.json["nodeStatuses"]["n2"]["busybox:1"]["reason"] == "NotFound"
    schemas.Task.model_validate_json(found.body)


def test_a_list_is_newest_first_in_pages(rest: Rest, server: ApiServer, kube: Kube) -> None:
    """Limit and offset select a page and do not change `total`; a status filters."""
    for number in range(12):
        submit(kube, f"t{number:02d}")
        stamp = f"2026-01-01T00:00:{number:02d}Z"
        server.change("workflows", f"t{number:02d}", {"metadata": {"creationTimestamp": stamp}})
    ended(server, "t03")
    planned(server, "t05")
    rest.await_list(lambda one: one["total"] == 1, "?status=completed")
    rest.await_list(lambda one: one["total"] == 1, "?status=running")
    whole = rest.await_list(lambda one: one["total"] == 12)
    names = [f"t{number:02d}" for number in reversed(range(12))]
    assert [one["taskId"] for one in whole["tasks"]] == names[:10]
    assert (whole["limit"], whole["offset"]) == (10, 0)
    page = rest.get(f"{ROOT}?limit=5&offset=10").json
    assert ([one["taskId"] for one in page["tasks"]], page["total"]) == (names[10:], 12)
    waiting = rest.get(f"{ROOT}?status=pending&limit=100").json
    assert (len(waiting["tasks"]), waiting["total"]) == (10, 10)
    assert rest.get(f"{ROOT}?offset=500").json["tasks"] == []
    schemas.TaskList.model_validate_json(rest.get(f"{ROOT}?limit=100").body)


def test_a_list_has_the_fields_of_the_request(rest: Rest, server: ApiServer, kube: Kube) -> None:
    """The row of an ended task has the request and the failures, which its metadata lacks."""
    submit(kube, "a", webhookUrl="https://hooks.example.com/x", maxRetries=3, batchSize="20%")
    ended(server, "a", good=False)
    (row,) = rest.await_list(lambda one: one["total"] == 1, "?status=failed")["tasks"]
    wanted = task_json(tasks.get_task(kube, "warm", "a"), clock.now(), brief=True)
    assert row == wanted
    assert (row["maxRetries"], row["batchSize"], row["webhookUrl"]) == (
        3,
        "20%",
        "https://hooks.example.com/x",
    )
    assert [one["nodeName"] for one in row["failedNodeDetails"]] == ["n2"]


@pytest.mark.parametrize(
    ("query", "details"),
    [
        ("limit=0", [("limit", "got '0'; allowed: a number from 1 to 100")]),
        ("limit=101", [("limit", "got '101'; allowed: a number from 1 to 100")]),
        ("limit=ten", [("limit", "got 'ten'; allowed: a number from 1 to 100")]),
        ("limit=%D9%A3", [("limit", "got '٣'; allowed: a number from 1 to 100")]),
        ("offset=-1", [("offset", "got '-1'; allowed: a number from 0 to 1000000000")]),
        (
            "status=done&limit=1e3",
            [
                ("status", "got 'done'; allowed: pending, running, completed, failed or cancelled"),
                ("limit", "got '1e3'; allowed: a number from 1 to 100"),
            ],
        ),
    ],
)
def test_a_bad_page_is_refused(rest: Rest, query: str, details: list[tuple[str, str]]) -> None:
    """400 names each bad parameter."""
    found = rest.get(f"{ROOT}?{query}")
    assert found.status == 400
    assert [(one["field"], one["message"]) for one in found.json["details"]] == details
    assert found.json["error"] == "\n".join(f"{field}: {message}" for field, message in details)


def test_positions_follow_the_queue(rest: Rest, server: ApiServer, kube: Kube) -> None:
    """A pending task has a position, which changes when a task before it starts."""
    submit(kube, "low", priority=2)
    submit(kube, "high", priority=8)

    def places(found: Any) -> dict[str, Any]:
        return {one["taskId"]: one["queuePosition"] for one in found["tasks"]}

    rest.await_list(lambda one: places(one) == {"low": 2, "high": 1})
    planned(server, "high")
    rest.await_list(lambda one: places(one) == {"low": 1, "high": None})


def test_a_running_task_shows_its_progress(rest: Rest, server: ApiServer, kube: Kube) -> None:
    """The list has the progress that drivers write on their Jobs, also after `finish` deletes the Jobs."""
    submit(kube, "a")
    argo = planned(server)
    argo.progress(done=1, pulling=1)
    rest.await_list(
        lambda one: [wave["pullingNodes"] for row in one["tasks"] for wave in row["waves"]] == [1]
    )
    nodes = {"n1": pulled(), "n2": pulled()}
    argo.results(nodes)
    argo.verdict(nodes)
    (row,) = rest.await_list(lambda one: [row["status"] for row in one["tasks"]] == ["completed"])["tasks"]
    assert row["progress"]["completedNodes"] == 2


def test_cancel(rest: Rest, server: ApiServer, kube: Kube) -> None:
    """200 and the task, also the second time; 404 for an unknown task; 409 with the status for an ended one."""
    submit(kube, "a")
    submit(kube, "b")
    found = rest.call("DELETE", f"{ROOT}/a")
    assert (found.status, found.json["status"]) == (200, "cancelled")
    assert rest.call("DELETE", f"{ROOT}/a").status == 200
    assert (
        rest.call("DELETE", f"{ROOT}/nobody").json["error"] == "task nobody does not exist in namespace warm"
    )
    ended(server, "b")
    late = rest.call("DELETE", f"{ROOT}/b")
    assert (late.status, late.json["status"]) == (409, "completed")
    assert late.json["error"] == "task b in namespace warm has already ended: completed"


def test_retry(rest: Rest, server: ApiServer, kube: Kube) -> None:
    """201 and a new task for the failed nodes; 200 while that task runs; 409 if there is nothing to retry."""
    submit(kube, "a")
    assert rest.call("POST", f"{ROOT}/a/retry").status == 409
    ended(server, "a", good=False)
    made = rest.call("POST", f"{ROOT}/a/retry")
    assert (made.status, made.json["taskId"], made.headers["location"]) == (201, "a-r1", f"{ROOT}/a-r1")
    again = rest.call("POST", f"{ROOT}/a/retry")
    assert (again.status, again.json["taskId"]) == (200, "a-r1")
    submit(kube, "b")
    ended(server, "b")
    nothing = rest.call("POST", f"{ROOT}/b/retry")
    assert nothing.status == 409
    assert nothing.json["error"][:48] == "task b in namespace warm has no nodes to retry: "
    assert rest.call("POST", f"{ROOT}/nobody/retry").status == 404


@pytest.mark.parametrize(
    "name", ["..", "a%3Flimit=1", "a%23", "%2e%2e%2fconfigmaps", "A", "a%20b", "a" * 254, "-a", "a%00"]
)
def test_an_invalid_id(rest: Rest, server: ApiServer, name: str) -> None:
    """An id that is not a valid Workflow name never reaches the API server."""
    rest.await_list(lambda _: True)
    before = len(server.calls)
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/retry"), ("GET", "/events")):
        assert rest.call(method, f"{ROOT}/{name}{path}").status == 404
    asked = [call for call in server.calls[before:] if "reviews" not in call and "watch=true" not in call]
    assert asked == []


@pytest.mark.parametrize(
    ("fault", "status", "said"),
    [
        ((500, "InternalError", "etcd is away"), 503, "etcd is away"),
        ((0, "", ""), 503, "can't be reached"),
        ((429, "TooManyRequests", "slow down"), 503, "slow down"),
        ((401, "Unauthorized", "who are you"), 502, "the cluster rejected the credentials"),
    ],
)
def test_a_failing_api_server(
    rest: Rest, server: ApiServer, fault: tuple[int, str, str], status: int, said: str
) -> None:
    """503 with Retry-After if it does not respond; 502 if it refuses the server."""
    rest.get(f"{ROOT}/a")
    server.fail("GET .*/workflows/a$", *fault)
    found = rest.get(f"{ROOT}/a")
    assert found.status == status
    assert said in found.json["error"]
    assert ("retry-after" in found.headers) == (status == 503)


def test_a_permission_that_the_server_lacks(rest: Rest, server: ApiServer) -> None:
    """502: the server lacks the permission, not the user."""
    server.forbid("POST .*/workflows", "create", "workflows", "argoproj.io")
    found = rest.call("POST", ROOT, GOOD)
    assert found.status == 502
    assert found.json["error"] == "me may not create workflows.argoproj.io in namespace warm"


def test_ips_flow_is_not_installed(rest: Rest, server: ApiServer) -> None:
    """A submit returns 503."""
    server.remove("workflowtemplates", "ips-prewarm")
    found = rest.call("POST", ROOT, GOOD)
    assert (found.status, found.headers["retry-after"]) == (503, "5")
    assert "IPS Flow is not installed in namespace warm" in found.json["error"]
    assert "ips-flow install" in found.json["hint"]


def test_a_request_larger_than_argo_takes(rest: Rest) -> None:
    """The request model refuses a request that is too large although its body is within the limit."""
    nodes = [f"node-{number:05d}{'x' * 50}" for number in range(9_000)]
    found = rest.call("POST", ROOT, {**GOOD, "nodes": nodes})
    assert found.status == 400
    assert "allowed: at most 448 KiB as JSON" in found.json["details"][0]["message"]


def test_the_role_grants_what_the_api_does_and_no_more(server: ApiServer, kube: Kube) -> None:
    """Every permission of the Role is used; apart from the reviews of users no other is needed."""
    with serving(server, kube) as rest:
        rest.await_list(lambda _: True)
        rest.call("POST", ROOT, GOOD)
        ended(server, "a", good=False)
        rest.await_list(lambda one: one["total"] == 1, "?status=failed")
        rest.call("POST", f"{ROOT}/a/retry")
        rest.get(f"{ROOT}/a-r1")
        rest.call("DELETE", f"{ROOT}/a-r1")
        rest.get(f"{ROOT}/nobody")
        for kind in ("jobs", "configmaps", "workflows"):
            server.await_call(f"GET .*/{kind}.watch=true")
    roles = [one for one in load_manifests("warm", components=(SERVER,)) if one["kind"] == "Role"]
    (role,) = [one for one in roles if one["metadata"]["name"] == "ips-flow-server-api"]
    granted = {
        (group, resource, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    reviews = {
        ("authentication.k8s.io", "tokenreviews", "create"),
        ("authorization.k8s.io", "subjectaccessreviews", "create"),
    }
    assert needed(server.calls) - {("", "namespaces", "get")} == granted | reviews
