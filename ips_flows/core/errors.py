"""Every error that IPS Flow raises on purpose: one sentence (subject, got, expected), then what to do next."""

from __future__ import annotations

from dataclasses import dataclass

from ips_flows.core.escape import escape

_MOST_TOLD = 20  # problems in one message, which an annotation has to hold too


class IpsFlowError(Exception):
    """An error with a message for people and, where there is one, a hint at what to do.

    `exit_code` is what the command line exits with: 1 for a failure, 2 for bad usage or a bad request.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """One thing wrong with a request: where it stands, which field, and what was got and is allowed.

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
    """A request that can't be accepted. `problems` holds all that is wrong with it, in the order of the text.

    The message tells the first 20, one a line.
    """

    exit_code = 2

    def __init__(self, problems: list[FieldProblem], hint: str = "") -> None:
        lines = [str(problem) for problem in problems[:_MOST_TOLD]]
        if len(problems) > _MOST_TOLD:
            lines.append(f"{problems[0].source}: and {len(problems) - _MOST_TOLD} more problems")
        super().__init__("\n".join(lines), hint)
        self.problems = problems


class UsageError(IpsFlowError):
    """A command that can't be carried out as it was typed."""

    exit_code = 2


class NameTakenError(IpsFlowError):
    """A task of this name exists, with another request."""


class TaskEndedError(IpsFlowError):
    """The task has ended already, so it can't be changed. `status` is its true end."""

    def __init__(self, message: str, status: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.status = status


class WaitTimeoutError(IpsFlowError):
    """A task has not ended in the time there was; it goes on."""


class TaskStartedError(IpsFlowError):
    """The task waits no longer, so its place in the queue can't be changed."""


class TaskNotEndedError(IpsFlowError):
    """The task has not ended yet, so it can't be tried again."""


class NothingToRetryError(IpsFlowError):
    """The task lost no node, so there is nothing to try again."""


class NotInstalledError(IpsFlowError):
    """A part that IPS Flow needs is missing in the cluster or the namespace."""


class TasksRunError(IpsFlowError):
    """Tasks that have not ended stand in the way."""


class NewerFormatError(IpsFlowError):
    """Something in the cluster was written by a newer IPS Flow, in a format that this one does not know."""


class PlanError(IpsFlowError):
    """No plan can be made for this request on this cluster."""


class ApiError(IpsFlowError):
    """The Kubernetes API refused or failed a call. `status` is the HTTP status, 0 when there was no answer.

    `reason` is the API's own machine-readable reason (`NotFound`, `AlreadyExists`, `Expired`, …); `retry_after` is
    for how many seconds it asks not to be asked again, 0 where it does not say.
    """

    def __init__(
        self, message: str, hint: str = "", *, status: int = 0, reason: str = "", retry_after: float = 0
    ) -> None:
        super().__init__(message, hint)
        self.status = status
        self.reason = reason
        self.retry_after = retry_after


class NotFoundError(ApiError):
    """404: no such object, or no such kind."""


class ConflictError(ApiError):
    """409: the object exists already, or was changed since it was read."""


class ForbiddenError(ApiError):
    """403: these credentials may not do that."""


class UnauthorizedError(ApiError):
    """401: these credentials are not known."""


class InvalidError(ApiError):
    """422 or 400: the API refused the object itself."""


class GoneError(ApiError):
    """410: the resourceVersion or continue token is too old; list again."""


class UnavailableError(ApiError):
    """No answer, 429 or 5xx: the same call may succeed later."""


class KubeconfigError(IpsFlowError):
    """No usable way to reach a cluster was configured."""
