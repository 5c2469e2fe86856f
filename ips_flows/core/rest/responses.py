"""The API's responses to errors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ips_flows.core.errors import (
    BadRequestError,
    ConflictError,
    ForbiddenError,
    InvalidError,
    IpsFlowError,
    NameTakenError,
    NotFoundError,
    NothingToRetryError,
    NotInstalledError,
    TaskEndedError,
    TaskNotEndedError,
    UnauthorizedError,
    UnavailableError,
    UsageError,
)
from ips_flows.core.escape import escape

RETRY_SECONDS = 5

# The first class that matches counts. 502: the API server refuses this server, not the caller.
_STATUS: tuple[tuple[type[IpsFlowError], int], ...] = (
    (BadRequestError, 400),
    (UsageError, 400),
    (NameTakenError, 409),
    (TaskEndedError, 409),
    (TaskNotEndedError, 409),
    (NothingToRetryError, 409),
    (NotInstalledError, 503),
    (UnavailableError, 503),
    (NotFoundError, 404),
    (ConflictError, 409),
    (InvalidError, 400),
    (ForbiddenError, 502),
    (UnauthorizedError, 502),
)


class HttpError(IpsFlowError):
    """A request refused before any action, with the status and the headers of the response."""

    def __init__(
        self,
        status: int,
        message: str,
        hint: str = "",
        *,
        headers: Mapping[str, str] | None = None,
        details: list[dict[str, Any]] | None = None,
    ) -> None:
        super().__init__(message, hint)
        self.status = status
        self.headers = headers or {}
        self.details = details


@dataclass(frozen=True, slots=True)
class ApiResponse:
    """Status, JSON and headers of a response."""

    status: int
    document: dict[str, Any]
    headers: Mapping[str, str] = field(default_factory=dict)

    def body(self, request_id: str) -> bytes:
        """Return the JSON with the ID of the request."""
        return encode_json({**self.document, "requestId": request_id})


def error_response(error: IpsFlowError) -> ApiResponse:
    """Return the response for an error."""
    document: dict[str, Any] = {"error": escape(error.message, keep="\n")}
    if error.hint:
        document["hint"] = escape(error.hint, keep="\n")
    headers: dict[str, str] = {}
    if isinstance(error, HttpError):
        headers |= error.headers
        if error.details:
            document["details"] = error.details
        status = error.status
    else:
        status = next((code for kind, code in _STATUS if isinstance(error, kind)), 500)
    if isinstance(error, BadRequestError):
        document["details"] = [
            {"field": one.field, "message": escape(one.message), "line": one.line, "column": one.column}
            for one in error.problems
        ]
    if isinstance(error, TaskEndedError):
        document["status"] = error.status
    if status == 503:
        headers.setdefault("Retry-After", str(RETRY_SECONDS))
    return ApiResponse(status, document, headers)


def encode_json(document: Any) -> bytes:
    """Return a document as JSON."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "backslashreplace")
