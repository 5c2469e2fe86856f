"""Responses to errors, and pages of the list, without a server."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ips_flows.core import errors
from ips_flows.core.errors import FieldProblem, IpsFlowError
from ips_flows.core.request.model import parse_json
from ips_flows.core.rest.openapi import REQUEST_EXAMPLE, document
from ips_flows.core.rest.pagination import TaskPages, parse_query
from ips_flows.core.rest.responses import ApiResponse, HttpError, encode_json, error_response
from ips_flows.core.rest.schemas import Error, schemas
from ips_flows.core.rest.task_store import Snapshot


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.BadRequestError([FieldProblem("body", 1, 2, "images", "missing")]), 400),
        (errors.UsageError("x"), 400),
        (errors.NameTakenError("x"), 409),
        (errors.TaskEndedError("x", "failed"), 409),
        (errors.TaskNotEndedError("x"), 409),
        (errors.NothingToRetryError("x"), 409),
        (errors.NotInstalledError("x"), 503),
        (errors.UnavailableError("x"), 503),
        (errors.NotFoundError("x"), 404),
        (errors.ConflictError("x"), 409),
        (errors.InvalidError("x"), 400),
        (errors.ForbiddenError("x"), 502),
        (errors.UnauthorizedError("x"), 502),
        (errors.NewerFormatError("x"), 500),
        (errors.ApiError("x"), 500),
        (HttpError(418, "x"), 418),
    ],
)
def test_each_error_has_a_status(error: IpsFlowError, status: int) -> None:
    """The body has the schema `Error`; only 503 has `Retry-After`."""
    answer = error_response(error)
    assert answer.status == status
    assert ("Retry-After" in answer.headers) == (status == 503)
    Error.model_validate_json(answer.body("an-id"))


def test_the_content_of_an_error() -> None:
    """It has message, hint, fields with positions, final status and headers. Control characters are escaped."""
    bad = errors.BadRequestError(
        [FieldProblem("body", 3, 5, "images[0]", "got\x1b"), FieldProblem("body", 0, 0, "", "missing")],
        "Read the docs.",
    )
    assert json.loads(error_response(bad).body("i")) == {
        "error": "body:3:5: images[0]: got\\x1b\nbody: missing",
        "hint": "Read the docs.",
        "details": [
            {"field": "images[0]", "message": "got\\x1b", "line": 3, "column": 5},
            {"field": "", "message": "missing", "line": 0, "column": 0},
        ],
        "requestId": "i",
    }
    assert error_response(errors.TaskEndedError("x", "failed")).document["status"] == "failed"
    refused = HttpError(401, "no", headers={"A": "b"}, details=[{"field": "f", "message": "m"}])
    assert (error_response(refused).headers, error_response(refused).document["details"][0]["field"]) == (
        {"A": "b"},
        "f",
    )
    assert ApiResponse(200, {}).headers == {}


def test_json_with_a_lone_surrogate_is_encoded() -> None:
    """A lone surrogate, which UTF-8 can't encode, does not break a response."""
    assert encode_json({"a": "\ud800é"}) == b'{"a":"\\ud800\xc3\xa9"}'


class Row:
    """A row that counts how often its JSON was created."""

    def __init__(self, name: str, status: str = "pending") -> None:
        self.name, self.status, self.made = name, status, 0

    def body(self) -> bytes:
        """Return the JSON of the row."""
        self.made += 1
        return b'"%s"' % self.name.encode()


def test_pages_are_kept_until_the_snapshot_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The page of a query is created once per snapshot, and the number of stored pages is limited."""
    monkeypatch.setattr("ips_flows.core.rest.pagination._MOST_KEPT", 1)
    rows: Any = (Row("a"), Row("b", "failed"))
    listing, snapshot = TaskPages(), Snapshot(rows)
    whole = b'{"tasks":["a","b"],"total":2,"limit":10,"offset":0}'
    assert [listing.page(snapshot, b""), listing.page(snapshot, b"")] == [whole, whole]
    assert rows[0].made == 1
    assert (
        listing.page(snapshot, b"status=failed&limit=1") == b'{"tasks":["b"],"total":1,"limit":1,"offset":0}'
    )
    assert listing.page(snapshot, b"offset=1") == b'{"tasks":["b"],"total":2,"limit":10,"offset":1}'
    assert len(listing._pages) == 1
    assert listing.page(Snapshot(), b"") == b'{"tasks":[],"total":0,"limit":10,"offset":0}'


@pytest.mark.parametrize(
    ("query", "found"),
    [
        (b"", ("", "", 10, 0)),
        (b"status=&search=&limit=&offset=", ("", "", 10, 0)),
        (b"status=running&search=+a%2Fb+&limit=100&offset=7&more=x", ("running", "a/b", 100, 7)),
        (b"limit=1&limit=2", ("", "", 2, 0)),
    ],
)
def test_query_parameters(query: bytes, found: tuple[str, str, int, int]) -> None:
    """An empty value means the default; unknown parameters are ignored."""
    assert parse_query(query) == found


@pytest.mark.parametrize(
    "query",
    [b"\xff", b"&".join(b"a=%d" % number for number in range(101)), b"limit=1234567890123", b"status=done"],
)
def test_an_invalid_query(query: bytes) -> None:
    """The status is 400."""
    with pytest.raises(HttpError) as caught:
        parse_query(query)
    assert caught.value.status == 400


def test_the_description_is_created_once() -> None:
    """It contains all schemas, and its example is a valid request."""
    assert parse_json(encode_json(REQUEST_EXAMPLE).decode(), "body").priority == 7
    assert document() is document()
    assert schemas().keys() < document()["components"]["schemas"].keys()
