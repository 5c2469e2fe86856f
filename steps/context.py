"""Context shared by all steps: arguments, the task's Workflow, log lines and exit codes."""

from __future__ import annotations

import argparse
import json
import os
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn

from ips_flows.core.constants import ANNOTATION_VERDICT, UNTRACKED
from ips_flows.core.errors import BadRequestError, IpsFlowError
from ips_flows.core.escape import escape
from ips_flows.core.k8s import objects
from ips_flows.core.k8s.objects import Json
from ips_flows.core.notice.notice import Webhook
from ips_flows.core.request.model import PrewarmRequest, from_canonical, from_form
from ips_flows.core.results.results import Chunk
from ips_flows.core.task.workflow_status import is_stopped, parameters_of
from ips_flows.kube.client import Kube, workflows
from ips_flows.kube.patch import retry_on_conflict
from ips_flows.operations.results import stored_chunks

# With an exit code above 1, Argo replaces the pod without counting an attempt.
EXIT_REPLACE_POD = 4
EXIT_CRASHED = 70


class ReplacePodError(IpsFlowError):
    """The step can't go on in this pod, but may in another: its Job has another driver, or the API fails."""

    exit_code = EXIT_REPLACE_POD


@dataclass(frozen=True, slots=True)
class StepContext:
    """The task of a step, and the API client."""

    kube: Kube
    task: str
    uid: str

    @property
    def namespace(self) -> str:
        """The namespace of the task and all its objects."""
        return self.kube.namespace

    @property
    def path(self) -> str:
        """The API path of the task's Workflow."""
        return workflows(self.namespace, self.task)

    def workflow(self) -> Json:
        """Return the task's Workflow. Raises ReplacePodError if another Workflow has its name now."""
        workflow = self.kube.get(self.path)
        if workflow["metadata"]["uid"] != self.uid:
            raise ReplacePodError(f"Workflow {self.task} was replaced: it has another uid than {self.uid}")
        return workflow

    def stored_chunks(self) -> list[Chunk]:
        """Return the results of the task that are stored so far."""
        return stored_chunks(self.kube, self.namespace, self.uid)

    def annotate(self, annotations: Mapping[str, str]) -> None:
        """Write annotations on the task's Workflow, but never on another Workflow with the same name."""
        self.update_annotations(lambda _workflow: annotations)

    def update_annotations(self, change: Callable[[Json], Mapping[str, str] | None]) -> None:
        """Write the annotations that `change` returns for the task's Workflow; None leaves it as it is."""

        def patch(workflow: Json) -> Json | None:
            annotations = change(workflow)
            if annotations is None:
                return None
            return {"metadata": {"annotations": dict(annotations), "managedFields": UNTRACKED}}

        retry_on_conflict(self.kube, self.path, self.workflow, patch)


def is_over(workflow: Mapping[str, Any]) -> bool:
    """Return whether the task is stopped or has a verdict, so that nothing more may be started."""
    annotations = objects.annotations(workflow)
    return is_stopped(workflow) or ANNOTATION_VERDICT in annotations


def read_request(workflow: Mapping[str, Any]) -> PrewarmRequest:
    """Return the request of a Workflow: the argument `request`, else the arguments of Argo's submit form."""
    values = {name: _argo_text(value) for name, value in parameters_of(workflow).items()}
    document = values.pop("request", "")
    return from_canonical(document) if document.strip() else from_form(values)


def webhook_of(workflow: Json) -> Webhook | None:
    """Return the webhook in the request of a task; None if there is none."""
    try:
        return Webhook.of_request(read_request(workflow))
    except BadRequestError:  # without a valid request, no webhook is known
        return None


def _argo_text(value: Any) -> str:
    """Return the text of a parameter as Argo reads it: `kubectl create` also accepts numbers and booleans."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)


def say(text: str) -> None:
    """Print one line to the step's log; control characters are escaped."""
    print(escape(text), flush=True)  # noqa: T201  (a step's stdout is its log)


def say_error(error: IpsFlowError) -> None:
    """Print an error to the step's log. A bad request has one line per problem."""
    first, *rest = error.message.split("\n")
    say(f"error: {first}")
    for line in rest:
        say(f"       {line}")


def report_progress(done: int, total: int) -> None:
    """Report `done/total` to Argo's UI, if the controller has set a file for it."""
    path = os.environ.get("ARGO_PROGRESS_FILE")
    if path and total:
        Path(path).write_text(f"{done}/{total}", encoding="utf-8")


def start(step: Callable[[StepContext, Sequence[str]], int], extra: Sequence[str] = ()) -> NoReturn:
    """Run a step with the arguments TASK UID and its own, and exit with its code."""
    # An unexpected error must not look like a failed attempt (exit 1).
    sys.excepthook = _crash
    parser = argparse.ArgumentParser()
    for name in ("task", "uid", *extra):
        parser.add_argument(name)
    arguments = parser.parse_args()
    try:
        context = StepContext(Kube.connect(), arguments.task, arguments.uid)
        code = step(context, [getattr(arguments, name) for name in extra])
    except IpsFlowError as error:
        say_error(error)
        code = EXIT_REPLACE_POD
    sys.exit(code)


def _crash(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    text = "".join(traceback.format_exception(kind, error, trace))
    print(escape(text, keep="\n"), file=sys.stderr, flush=True)  # noqa: T201  (as above)
    os._exit(EXIT_CRASHED)
