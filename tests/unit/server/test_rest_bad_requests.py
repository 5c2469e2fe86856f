"""The table of bad requests, over REST: the same messages as on the command line, and no change."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ips_flows.core.errors import BadRequestError
from ips_flows.core.request.document import read_document
from ips_flows.kube.client import Kube
from ips_flows.server.auth import NoAuthorizer
from tests.fakes.apiserver import ApiServer, running
from tests.support.bad_requests import DOCUMENTS
from tests.support.rest_harness import Rest, serving


@pytest.fixture(scope="module")
def server() -> Iterator[ApiServer]:
    with running() as one:
        yield one


@pytest.fixture(scope="module")
def rest(server: ApiServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rest]:
    """A server without auth, so that it sends no reviews."""
    kube = Kube.connect(str(server.kubeconfig(Path(tmp_path_factory.mktemp("kube")))))
    with serving(server, kube, NoAuthorizer(())) as one:
        yield one


def is_json(text: str) -> bool:
    def refuse(constant: str) -> None:
        raise ValueError(constant)  # NaN and the like

    try:
        json.loads(text, parse_constant=refuse)
    except (ValueError, RecursionError):
        return False
    return True


def as_json(text: str) -> str | None:
    """Return a YAML text as JSON, or None if JSON can't express it in the same way."""
    try:
        document = read_document(text, "f")
    except BadRequestError:
        return None
    if document.problems or document.data is None:
        return None
    sent = json.dumps(document.data)
    again = read_document(sent, "f")
    written = {
        path: place.text for path, place in document.values.items() if not is_text(document.data, path)
    }
    return sent if all(again.values[path].text == text for path, text in written.items()) else None


def is_text(data: Any, path: tuple[str | int, ...]) -> bool:
    for part in path:
        data = data[part]
    return isinstance(data, str)


def rows() -> Iterator[tuple[str, str, str]]:
    for name, text, said in DOCUMENTS:
        sent = text if is_json(text) else as_json(text)
        if sent is not None:
            yield name, sent, said


ROWS = list(rows())


def bare(said: str) -> list[str]:
    """Return the messages without positions, which differ between YAML and JSON."""
    return sorted(re.sub(r"^f(:\d+:\d+)?: ", "", line) for line in said.split("\n"))


def test_the_table_reaches_rest() -> None:
    """JSON can express most rows; the others are about the syntax of YAML."""
    assert len(ROWS) > 0.6 * len(DOCUMENTS)


@pytest.mark.parametrize(("sent", "said"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_a_bad_request(rest: Rest, server: ApiServer, sent: str, said: str) -> None:
    """400 with the same messages and the field names; no write reaches the cluster."""
    found = rest.call("POST", "/api/v1/tasks", sent.encode("utf-8", "surrogatepass"))
    assert found.status == 400, found.body
    details = [f"{one['field']}: {one['message']}".removeprefix(": ") for one in found.json["details"]]
    assert sorted(details) == bare(said)
    assert all(one["line"] for one in found.json["details"] if not one["message"].startswith("missing"))
    assert not [call for call in server.calls if not call.startswith("GET")]
