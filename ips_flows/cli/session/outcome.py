"""The outcomes of the tasks of a command, and the exit code and verdict of all: pure functions of values."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ips_flows.cli.session.follow import exit_code
from ips_flows.cli.session.targets import ConnectedTarget
from ips_flows.core.errors import IpsFlowError
from ips_flows.core.escape import escape
from ips_flows.core.task.task import Task
from ips_flows.operations.submit import Submission

CANCELLED = 3
_COMPLETED = "completed"
# The outcome of a cluster is the first of these that applies to one of its tasks.
_WORST_FIRST = (
    "failed",
    "not submitted",
    "not followed until it ended",
    "cancelled",
    "not ended",
    _COMPLETED,
)


@dataclass(slots=True)
class Outcome:
    """A task of the command: its submission, and its end or the error that hides the end.

    Without a submission, `end` is the error of submitting. It is None while the end is not known.
    """

    target: ConnectedTarget
    submission: Submission | None
    end: Task | IpsFlowError | None = None
    cancelled: bool = False  # by this command, even if its end was not seen

    @property
    def name(self) -> str:
        """The task's name; empty if it was not submitted."""
        return self.submission.task.name if self.submission else ""

    @property
    def code(self) -> int:
        """The exit code for this outcome; 0 for a task that continues."""
        match self.end:
            case IpsFlowError() as error:
                return error.exit_code
            case Task() as ended:
                return exit_code(ended)
        return CANCELLED if self.cancelled else 0

    @property
    def word(self) -> str:
        """The outcome in words, as in `_WORST_FIRST`."""
        match self.end:
            case IpsFlowError():
                return "not followed until it ended" if self.submission else "not submitted"
            case Task() as ended:
                return ended.status
        return "cancelled" if self.cancelled else "not ended"


def code_of(outcomes: Iterable[Outcome]) -> int:
    """Return the exit code: 1 if a task failed, else that of the first error, else 3 if one was cancelled, else 0."""
    outcomes = list(outcomes)
    if any(outcome.word == "failed" for outcome in outcomes):
        return 1
    errors = [outcome.code for outcome in outcomes if isinstance(outcome.end, IpsFlowError)]
    return errors[0] if errors else max((outcome.code for outcome in outcomes), default=0)


def verdict_line(outcomes: Sequence[Outcome]) -> str:
    """Return the outcomes of several clusters, named by their contexts: `2 of 3 clusters completed: a, b; failed: c`."""
    worst: dict[str, str] = {}
    for word in reversed(_WORST_FIRST):
        worst |= {outcome.target.context: word for outcome in outcomes if outcome.word == word}
    contexts = list(dict.fromkeys(outcome.target.context for outcome in outcomes))

    def those(word: str) -> str:
        return ", ".join(escape(one) for one in contexts if worst[one] == word)

    completed = sum(word == _COMPLETED for word in worst.values())
    head = f"{completed} of {len(contexts)} clusters completed"
    head += f": {those(_COMPLETED)}" if completed else ""
    return "; ".join([head, *(f"{word}: {those(word)}" for word in _WORST_FIRST[:-1] if those(word))])
