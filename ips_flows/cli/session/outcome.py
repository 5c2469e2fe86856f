"""What became of the tasks that a command wanted, one by one and together: pure functions, from values to values."""

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
# What is said of a cluster is the first of these that is so for one of its tasks.
_WORST_FIRST = (
    "failed",
    "not submitted",
    "not followed to the end",
    "cancelled",
    "not at the end",
    _COMPLETED,
)


@dataclass(slots=True)
class Outcome:
    """A wanted task: what submitting it gave, and its end, or the error because of which that is not known.

    Without a submission it is the error because of which there is none; None while nothing is known.
    """

    target: ConnectedTarget
    submission: Submission | None
    end: Task | IpsFlowError | None = None
    cancelled: bool = False  # by us, whether we see its end or not

    @property
    def name(self) -> str:
        """The task's name; empty where it was not submitted."""
        return self.submission.task.name if self.submission else ""

    @property
    def code(self) -> int:
        """What it says of the exit code: 0 for a task that goes on."""
        match self.end:
            case IpsFlowError() as error:
                return error.exit_code
            case Task() as ended:
                return exit_code(ended)
        return CANCELLED if self.cancelled else 0

    @property
    def word(self) -> str:
        """What became of it."""
        match self.end:
            case IpsFlowError():
                return "not followed to the end" if self.submission else "not submitted"
            case Task() as ended:
                return ended.status
        return "cancelled" if self.cancelled else "not at the end"


def code_of(outcomes: Iterable[Outcome]) -> int:
    """The exit code: 1 if a task failed, else that of the first error, else 3 if one was cancelled, else 0."""
    outcomes = list(outcomes)
    if any(outcome.word == "failed" for outcome in outcomes):
        return 1
    errors = [outcome.code for outcome in outcomes if isinstance(outcome.end, IpsFlowError)]
    return errors[0] if errors else max((outcome.code for outcome in outcomes), default=0)


def verdict_line(outcomes: Sequence[Outcome]) -> str:
    """What became of several clusters, each known by its context: `2 of 3 clusters completed: a, b; failed: c`."""
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
