"""The WorkflowTemplate `ips-prewarm`: filter, then a fan-out over groups, and finish in every case.

```
main       Steps
  filter        container
  fan-out       Steps, parallelism 1, failFast: one wave after another
    group       Steps with one step and no flags: else failFast would count a failed attempt as a failed child
      attempt   Steps with the user's retryStrategy
        drive   container with the driver's retryStrategy: a failed driver pod uses no attempt
finish     onExit: Steps with one step that may fail, so that a failed finish pod can't fail the task; skipped if
           filter found nothing to do and there is no webhook
```

The steps get the Workflow's name and uid, a wave's name and the number of the attempt, but never a user's text.
"""

from __future__ import annotations

from collections.abc import Sequence

from hera.workflows import Container, EmptyDirVolume, Parameter, RetryStrategy, Step, Steps, WorkflowTemplate
from hera.workflows.models import (
    Backoff,
    ConfigMapKeySelector,
    ContinueOn,
    IntOrString,
    SemaphoreRef,
    Synchronization,
    TTLStrategy,
    ValueFrom,
    WorkflowMetadata,
)

from ips_flows.argo.pods import (
    TMP,
    executor_security,
    pod_security,
    replaced_when,
    restricted,
    short_tolerations,
    small,
)
from ips_flows.core.constants import (
    ANNOTATION_DESCRIPTION,
    ANNOTATION_TITLE,
    ANNOTATION_VERSION,
    CONFIG_MAP,
    DEFAULT_IMAGE,
    DEFAULT_KEEP_DAYS,
    LABEL_STEP,
    LABEL_TASK,
    TEMPLATE_PREWARM,
)
from ips_flows.core.request.fields import form_parameters
from ips_flows.core.request.limits import LONGEST_RETRY_DELAY
from ips_flows.core.request.model import default_text
from ips_flows.core.version import __version__

_FILTER_OUTPUTS = ("waves", "retries", "delay", "factor", "timeout")
# Argo replaces a step pod that ended in an error or with an exit code above 1.
_LOST = "lastRetry.status == 'Error' || asInt(lastRetry.exitCode) > 1"
# The filter sets `ended` to "yes" if every image is on every node. A filter pod that failed sets nothing.
_NOT_ENDED = "{{=workflow.outputs?.parameters?.ended ?? 'no'}} != yes"
_BACKOFF_CAP = f"{LONGEST_RETRY_DELAY // 60}m"
# The parameter with a whole request. If it is empty, the parameters of the request's fields are used.
_REQUEST = Parameter(
    name="request",
    value="",
    description="The whole request as JSON, as `ips-flow run` submits it; leave empty to use the fields below",
)


def prewarm_template(*, backoff_cap: str = _BACKOFF_CAP) -> WorkflowTemplate:
    """Return the WorkflowTemplate of every task. `backoff_cap` is the maximum delay between two attempts."""
    with WorkflowTemplate(
        name=TEMPLATE_PREWARM,
        labels={"app.kubernetes.io/name": "ips-flow", "app.kubernetes.io/part-of": "ips-flow"},
        annotations={
            ANNOTATION_VERSION: __version__,
            ANNOTATION_TITLE: "**IPS Flow**: warm images",
            ANNOTATION_DESCRIPTION: "Pulls container images to nodes before pods need them",
        },
        entrypoint="main",
        on_exit="finish",
        arguments=[_REQUEST, *_form()],
        synchronization=Synchronization(
            semaphores=[
                SemaphoreRef(
                    config_map_key_ref=ConfigMapKeySelector(name=CONFIG_MAP, key="max-concurrent-tasks")
                )
            ]
        ),
        ttl_strategy=TTLStrategy(seconds_after_completion=DEFAULT_KEEP_DAYS * 86400),
        workflow_metadata=WorkflowMetadata(labels={LABEL_TASK: "true"}),
        security_context=pod_security(),
        pod_spec_patch=executor_security(),
        tolerations=short_tolerations(),
    ) as template:
        lost = replaced_when(_LOST)
        step_filter = _step("filter", retry=lost)
        step_filter.outputs = [
            *(
                Parameter(name=name, value_from=ValueFrom(path=f"{TMP}/outputs/{name}"))
                for name in _FILTER_OUTPUTS
            ),
            Parameter(name="ended", global_name="ended", value_from=ValueFrom(path=f"{TMP}/outputs/ended")),
        ]
        step_drive = _step("drive", extra=("wave", "attempt"), retry=lost)
        passed_on = ("wave", *_FILTER_OUTPUTS[1:])
        with Steps(
            name="attempt",
            inputs=_inputs(passed_on),
            retry_strategy=RetryStrategy(
                limit=_input("retries"),
                retry_policy="Always",
                backoff=Backoff(
                    duration=_input("delay"),
                    factor=IntOrString(root=_input("factor")),
                    cap=backoff_cap,
                    max_duration=_input("timeout"),
                ),
            ),
        ) as attempt:
            Step(
                name="drive",
                template=step_drive,
                arguments={"wave": _input("wave"), "attempt": "{{retries}}"},
            )
        with Steps(name="group", inputs=_inputs(passed_on)) as group:
            Step(name="attempt", template=attempt, arguments={name: _input(name) for name in passed_on})
        with Steps(name="fan-out", inputs=_inputs(_FILTER_OUTPUTS), parallelism=1, fail_fast=True) as fan_out:
            Step(
                name="group",
                template=group,
                arguments={"wave": "{{item}}", **{name: _input(name) for name in passed_on[1:]}},
                with_param=_input("waves"),
            )
        with Steps(name="main"):
            Step(name="filter", template=step_filter)
            Step(
                name="fan-out",
                template=fan_out,
                arguments={
                    name: f"{{{{steps.filter.outputs.parameters.{name}}}}}" for name in _FILTER_OUTPUTS
                },
            )
        step_finish = _step("verdict", module="finish")
        with Steps(name="finish"):
            Step(
                name="verdict",
                template=step_finish,
                when=_NOT_ENDED,
                continue_on=ContinueOn(failed=True, error=True),
            )
    return template


def _form() -> list[Parameter]:
    """Return a parameter for each field of a request in the Argo UI's form, with the field's default."""
    return [
        Parameter(name=one.name, value=default_text(field.name), description=one.help)
        for field, one in form_parameters()
    ]


def _step(
    name: str, *, module: str = "", extra: Sequence[str] = (), retry: RetryStrategy | None = None
) -> Container:
    """Return a container of IPS Flow's image that runs one step with its own ServiceAccount."""
    module = module or name
    return Container(
        name=name,
        image=DEFAULT_IMAGE,
        image_pull_policy="IfNotPresent",
        command=["python", "-m", f"steps.{module}"],
        args=["{{workflow.name}}", "{{workflow.uid}}", *(_input(argument) for argument in extra)],
        inputs=_inputs(extra) or None,
        labels={LABEL_STEP: module},
        service_account_name=f"ips-flow-{module}",
        retry_strategy=retry,
        security_context=restricted(),
        resources=small(),
        volumes=[EmptyDirVolume(name="tmp", mount_path=TMP)],
    )


def _inputs(names: Sequence[str]) -> list[Parameter]:
    return [Parameter(name=name) for name in names]


def _input(name: str) -> str:
    return f"{{{{inputs.parameters.{name}}}}}"
