"""The errors that IPS Flow raises: a message (subject, got, expected) and a hint."""

from __future__ import annotations

from dataclasses import dataclass

from ips_flows.core.counts import several
from ips_flows.core.escape import escape

_MOST_TOLD = 20  # problems in one message; an annotation stores the message too


class IpsFlowError(Exception):
    """An error with a message for the user and an optional hint at what to do.

    `exit_code` is the exit code of the command line: 1 for a failure, 2 for bad usage or a bad request.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """A problem of a request: its position, its field, the value that was got and the allowed values.

    `line` and `column` count from 1; 0 means that the request has no text (flags, REST body, UI form).
    """

    source: str
    line: int
    column: int
    field: str
    message: str

    def __str__(self) -> str:
        place = f"{self.source}:{self.line}:{self.column}" if self.line else self.source
        return escape(f"{place}: {self.field}: {self.message}" if self.field else f"{place}: {self.message}")


class BadRequestError(IpsFlowError):
    """An invalid request. `problems` holds all its problems, in the order of the text.

    The message lists the first 20 problems, one per line.
    """

    exit_code = 2

    def __init__(self, problems: list[FieldProblem], hint: str = "") -> None:
        lines = [str(problem) for problem in problems[:_MOST_TOLD]]
        if len(problems) > _MOST_TOLD:
            lines.append(f"{problems[0].source}: and {several(len(problems) - _MOST_TOLD, 'more problem')}")
        super().__init__("\n".join(lines), hint)
        self.problems = problems


class UsageError(IpsFlowError):
    """A command with invalid arguments."""

    exit_code = 2


class NameTakenError(IpsFlowError):
    """A task with this name and another request exists."""


class TaskEndedError(IpsFlowError):
    """The task has ended, so it can't be changed. `status` is its final status."""

    def __init__(self, message: str, status: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.status = status


class WaitTimeoutError(IpsFlowError):
    """A task did not end before the timeout. The task continues."""


class TaskStartedError(IpsFlowError):
    """The task has started, so its position in the queue can't be changed."""


class TaskNotEndedError(IpsFlowError):
    """The task has not ended, so it can't be retried."""


class NothingToRetryError(IpsFlowError):
    """No node of the task failed, so there is nothing to retry."""


class NotInstalledError(IpsFlowError):
    """An object that IPS Flow needs is missing in the cluster or the namespace."""


class TasksRunError(IpsFlowError):
    """The operation is refused because tasks have not ended."""


class NewerFormatError(IpsFlowError):
    """A stored document has a format of a newer IPS Flow, which this version does not support."""


class PlanError(IpsFlowError):
    """The request can't be planned on this cluster."""


class ApiError(IpsFlowError):
    """A request to the Kubernetes API failed. `status` is the HTTP status, 0 if there was no response.

    `reason` is the machine-readable reason of the API (`NotFound`, `AlreadyExists`, `Expired`, …). `retry_after` is
    the value of Retry-After in seconds, 0 if the response has none.
    """

    def __init__(
        self, message: str, hint: str = "", *, status: int = 0, reason: str = "", retry_after: float = 0
    ) -> None:
        super().__init__(message, hint)
        self.status = status
        self.reason = reason
        self.retry_after = retry_after


class NotFoundError(ApiError):
    """404: the object or its kind does not exist."""


class ConflictError(ApiError):
    """409: the object exists already, or has changed since it was read."""


class ForbiddenError(ApiError):
    """403: the credentials do not permit the request."""


class UnauthorizedError(ApiError):
    """401: the credentials are missing or invalid."""


class InvalidError(ApiError):
    """422 or 400: the API rejected the object as invalid."""


class GoneError(ApiError):
    """410: the resourceVersion or continue token is too old; list again."""


class UnavailableError(ApiError):
    """No response, 429 or 5xx: the same request may succeed later."""


class KubeconfigError(IpsFlowError):
    """No usable cluster configuration was found."""
