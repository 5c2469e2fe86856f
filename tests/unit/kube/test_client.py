"""The Kubernetes API client against a loopback server."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest

from ips_flows.core import errors
from ips_flows.kube.client import Kube, core, jobs, workflows
from tests.fakes.apiserver import ApiServer


def test_paths_are_those_of_the_api() -> None:
    """A path contains the namespace, unless the namespace is empty."""
    assert core("a", "pods", "p") == "/api/v1/namespaces/a/pods/p"
    assert core("", "namespaces", "a") == "/api/v1/namespaces/a"
    assert jobs("a") == "/apis/batch/v1/namespaces/a/jobs"
    assert jobs("") == "/apis/batch/v1/jobs"
    assert workflows("") == "/apis/argoproj.io/v1alpha1/workflows"
    assert workflows("a", "t", "workflowtemplates") == (
        "/apis/argoproj.io/v1alpha1/namespaces/a/workflowtemplates/t"
    )


def test_a_list_reads_every_page(server: ApiServer, kube: Kube) -> None:
    """A list yields the objects of all its pages, and requests only metadata if `metadata_only` is set."""
    for number in range(7):
        server.put("pods", {"metadata": {"name": f"p{number}", "labels": {"odd": str(number % 2)}}})
    server.page_limit = 2
    names = [one["metadata"]["name"] for one in kube.list(core("warm", "pods"))]
    assert names == [f"p{number}" for number in range(7)]
    odd = list(kube.list(core("warm", "pods"), labels="odd=1", metadata_only=True))
    assert [one["metadata"]["name"] for one in odd] == ["p1", "p3", "p5"]
    assert {one["kind"] for one in odd} == {"PartialObjectMetadata"}


def test_a_watch_yields_what_changes(server: ApiServer, kube: Kube) -> None:
    """A watch yields the changes after its version, also of objects that leave the selection, and ends by itself."""
    version = next(kube.pages(core("warm", "pods")))["metadata"]["resourceVersion"]
    server.put("pods", {"metadata": {"name": "a", "labels": {"x": "1"}}})
    server.put("pods", {"metadata": {"name": "b"}})
    server.put("pods", {"metadata": {"name": "a", "labels": {"x": "2"}}})
    events = kube.watch(core("warm", "pods"), resource_version=version, seconds=1, labels="x=1")
    assert [(one["type"], one["object"]["metadata"]["name"]) for one in events] == [
        ("ADDED", "a"),
        ("DELETED", "a"),
    ]


def test_a_watch_from_too_old_a_version_is_gone(server: ApiServer, kube: Kube) -> None:
    """An ERROR event of code 410 is raised as GoneError."""
    server.forget_history()
    with pytest.raises(errors.GoneError, match="too old resource version"):
        list(kube.watch(core("warm", "pods"), resource_version="1", seconds=1))


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, errors.InvalidError),
        (401, errors.UnauthorizedError),
        (403, errors.ForbiddenError),
        (404, errors.NotFoundError),
        (409, errors.ConflictError),
        (410, errors.GoneError),
        (418, errors.ApiError),
        (422, errors.InvalidError),
        (429, errors.UnavailableError),
        (500, errors.UnavailableError),
        (503, errors.UnavailableError),
    ],
)
def test_each_status_has_its_error(
    server: ApiServer, kube: Kube, status: int, kind: type[errors.ApiError]
) -> None:
    """Every rejected request raises a subclass of ApiError with the API's status, reason and message."""
    server.fail("GET .*/pods", status, reason="Because", message="no such luck")
    with pytest.raises(errors.ApiError, match="no such luck") as caught:
        kube.get(core("warm", "pods", "p"))
    assert type(caught.value) is kind
    assert (caught.value.status, caught.value.reason) == (status, "Because")


def test_a_missing_right_is_named(server: ApiServer, kube: Kube) -> None:
    """The error of an RBAC denial names the user, the verb, the resource and the namespace."""
    server.forbid("GET .*/workflows", "list", "workflows", "argoproj.io")
    with pytest.raises(errors.ForbiddenError) as caught:
        list(kube.list(workflows("warm")))
    assert caught.value.message == "me may not list workflows.argoproj.io in namespace warm"


def test_a_broken_connection_is_unavailable(server: ApiServer, kube: Kube) -> None:
    """A connection that is closed without a response raises UnavailableError."""
    server.fail("GET .*/pods", 0)
    with pytest.raises(errors.UnavailableError, match="can't be reached"):
        kube.get(core("warm", "pods", "p"))


def test_no_server_is_unavailable(tmp_path: Path) -> None:
    """A port without a listener raises UnavailableError with a hint."""
    with ApiServer() as server:
        config = server.kubeconfig(tmp_path)
    with pytest.raises(errors.UnavailableError) as caught:
        Kube.connect(str(config)).get(core("", "namespaces"))
    assert caught.value.hint == "Check that the cluster is running, and that --context names the right one."


def test_a_watch_that_breaks_half_way_is_unavailable(kube: Kube) -> None:
    """A watch whose connection ends inside a chunk raises UnavailableError after the complete events."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        kube.host = f"http://127.0.0.1:{listener.getsockname()[1]}"
        line = b'{"type":"ADDED","object":{"metadata":{"name":"a"}}}\n'

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(
                    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                    + f"{len(line):x}\r\n".encode()
                    + line
                    + b"\r\n40\r\n{"
                )

        threading.Thread(target=answer, daemon=True).start()
        events = kube.watch(core("warm", "pods"), resource_version="1", seconds=5)
        assert next(events)["object"]["metadata"]["name"] == "a"
        with pytest.raises(errors.UnavailableError, match="connection was lost"):
            next(events)


def test_delete_says_whether_there_was_something(server: ApiServer, kube: Kube) -> None:
    """A delete returns False for a missing object and for another object of that name."""
    made = server.put("pods", {"metadata": {"name": "a"}})
    path = core("warm", "pods", "a")
    assert not kube.delete(path, uid="other")
    assert kube.delete(path, uid=made["metadata"]["uid"])
    assert not kube.delete(path)


def test_patches_carry_a_version(server: ApiServer, kube: Kube) -> None:
    """A merge patch with an old version conflicts; a JSON patch whose test fails is invalid."""
    old = server.put("pods", {"metadata": {"name": "a", "labels": {"x": "1"}}})
    server.put("pods", {"metadata": {"name": "a", "labels": {"x": "2"}}})
    path = core("warm", "pods", "a")
    with pytest.raises(errors.ConflictError):
        kube.patch(path, {"metadata": {"resourceVersion": old["metadata"]["resourceVersion"]}})
    test = [{"op": "test", "path": "/metadata/labels/x", "value": "1"}]
    with pytest.raises(errors.InvalidError):
        kube.patch(path, test, kind="json")
    assert kube.patch(path, {"metadata": {"labels": {"y": "3"}}})["metadata"]["labels"] == {
        "x": "2",
        "y": "3",
    }


def test_the_namespace_is_the_contexts(server: ApiServer, tmp_path: Path) -> None:
    """The namespace comes from the context that is used."""
    config = server.kubeconfig(tmp_path, namespace="elsewhere")
    assert Kube.connect(str(config)).namespace == "elsewhere"
    assert Kube.connect(str(config), "fake").namespace == "elsewhere"


@pytest.mark.parametrize(
    ("text", "context", "expected"),
    [
        ("", None, "kubeconfig {file} is empty"),
        (
            "a: [",
            None,
            (
                "kubeconfig {file}: while parsing a flow node expected the node content, but found"
                " '<stream end>' in \"{file}\", line 1, column 5"
            ),
        ),
        ("clusters: []", None, "kubeconfig {file} has no current-context"),
        (None, "nowhere", "kubeconfig {file} has no context named nowhere"),
    ],
)
def test_a_bad_kubeconfig_is_one_clear_error(
    server: ApiServer, tmp_path: Path, text: str | None, context: str | None, expected: str
) -> None:
    """An invalid kubeconfig raises a KubeconfigError that names the file."""
    file = server.kubeconfig(tmp_path)
    if text is not None:
        file.write_text(text, encoding="utf-8")
    with pytest.raises(errors.KubeconfigError) as caught:
        Kube.connect(str(file), context)
    assert caught.value.message == expected.format(file=file)


def test_a_missing_kubeconfig_is_named(tmp_path: Path) -> None:
    """The error of a missing kubeconfig states that the file does not exist."""
    with pytest.raises(errors.KubeconfigError) as caught:
        Kube.connect(str(tmp_path / "none"))
    assert caught.value.message == f"kubeconfig {tmp_path / 'none'} does not exist"
