"""Submits a request as the Workflow of a task."""

from __future__ import annotations

import secrets
import string
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ips_flows.core.constants import (
    ANNOTATION_REQUEST_HASH,
    CONFIG_MAP,
    LIMIT_KEY,
    TEMPLATE_PREWARM,
)
from ips_flows.core.errors import (
    ApiError,
    ConflictError,
    ForbiddenError,
    NameTakenError,
    NotFoundError,
    NotInstalledError,
)
from ips_flows.core.k8s import objects
from ips_flows.core.k8s.objects import Json
from ips_flows.core.task import task
from ips_flows.core.task.task import Task
from ips_flows.kube.client import Kube, workflows
from ips_flows.operations.settings import read_settings
from ips_flows.operations.tasks import argo_errors, check_namespace

if TYPE_CHECKING:
    from ips_flows.core.request.model import PrewarmRequest

_NAME_CHARACTERS = string.ascii_lowercase + string.digits
_NAME_TRIES = 3


@dataclass(frozen=True, slots=True)
class Submission:
    """A task, and whether this call created it. If not, a task with the same request existed."""

    task: Task
    created: bool


def submit_request(kube: Kube, namespace: str, request: PrewarmRequest, *, retry_of: str = "") -> Submission:
    """Create the Workflow of a request. The same name with the same request returns the existing task.

    `retry_of` is the name of the first task, if this one retries its failed nodes.
    Raises NotInstalledError if Argo, the templates, the settings or the namespace are missing,
    and NameTakenError if the name belongs to another request.
    """
    from ips_flows.argo.task_workflow import task_workflow  # noqa: PLC0415  (hera takes 0.7 s)

    check_installed(kube, namespace)
    for _ in range(_NAME_TRIES):
        name = request.name or generated_name()
        manifest = task_workflow(request, name=name, namespace=namespace, retry_of=retry_of)
        try:
            with argo_errors(namespace):
                made = kube.create(workflows(namespace), manifest)
        except ConflictError as error:
            if error.reason != "AlreadyExists":
                raise
            if not request.name:
                continue
            return Submission(_same_or_taken(kube, namespace, name, manifest), created=False)
        return Submission(task.read_task(made), created=True)
    raise NameTakenError(f"all {_NAME_TRIES} generated names are taken", hint="Set a name with --name.")


def check_installed(kube: Kube, namespace: str) -> None:
    """Check that a task submitted to this namespace can run.

    Objects that these credentials may not read are assumed to exist: a submitter needs only `create workflows`.
    """
    try:
        with argo_errors(namespace):
            kube.get(workflows(namespace, TEMPLATE_PREWARM, "workflowtemplates"), metadata_only=True)
    except NotFoundError as error:
        check_namespace(kube, namespace)
        raise NotInstalledError(
            f"IPS Flow is not installed in namespace {namespace}: WorkflowTemplate {TEMPLATE_PREWARM} is missing",
            hint=f"Run `ips-flow install -n {namespace} --image IMAGE`, or select the namespace of an installation with -n.",
        ) from error
    except ForbiddenError:
        return
    try:
        settings = read_settings(kube, namespace)
    except NotFoundError as error:
        raise NotInstalledError(
            f"ConfigMap {CONFIG_MAP} is missing in namespace {namespace}, so no task can start",
            hint=f"Run `ips-flow install -n {namespace} --image IMAGE`.",
        ) from error
    except ForbiddenError:
        return
    if settings.task_limit is None:
        raise NotInstalledError(
            f"{LIMIT_KEY} in ConfigMap {CONFIG_MAP} of namespace {namespace} {settings.task_limit_found}, "
            "expected a number from 1",
            hint=f"kubectl -n {namespace} patch configmap {CONFIG_MAP} --type merge "
            f"""-p '{{"data":{{"{LIMIT_KEY}":"3"}}}}'""",
        )


def generated_name() -> str:
    """Return a random name, for a task without a name."""
    return "warm-" + "".join(secrets.choice(_NAME_CHARACTERS) for _ in range(6))


def _same_or_taken(kube: Kube, namespace: str, name: str, manifest: Json) -> Task:
    """Return the task of that name if its request is the same. Raises NameTakenError if not."""
    try:
        found = kube.get(workflows(namespace, name))
    except NotFoundError as error:
        raise ApiError(f"task {name} was deleted during the submit", hint="Submit again.") from error
    wanted = manifest["metadata"]["annotations"][ANNOTATION_REQUEST_HASH]
    if objects.annotations(found).get(ANNOTATION_REQUEST_HASH) != wanted:
        what = (
            "a task with another request"
            if task.is_task(found)
            else "a Workflow that is not a task of IPS Flow"
        )
        raise NameTakenError(
            f"name {name} is taken in namespace {namespace} by {what}",
            hint="Use another --name.",
        )
    return task.read_task(found)
