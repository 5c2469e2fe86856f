"""The WorkflowTemplate `ips-prewarm`: filter, then a fan-out over groups, and finish whatever happens.

```
main       Steps
  filter        container
  fan-out       Steps, parallelism 1, failFast: one wave after another
    group       Steps of one step, no flags: else failFast would count a failed attempt as a failed child
      attempt   Steps with the user's retryStrategy
        drive   container with the driver's retryStrategy: a lost driver costs no attempt
finish     onExit: Steps of one step that may fail, so that a lost finish pod can't fail the task; skipped where
           filter found nothing to do and nobody to tell
```

The steps get the Workflow's name and uid, a wave's name and the number of the attempt: never a user's text.
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
from ips_flows.core.results.attempts import CAP_SECONDS
from ips_flows.core.version import __version__

_FILTER_OUTPUTS = ("waves", "retries", "delay", "factor", "timeout")
# Argo replaces a step pod that was lost or asks to be replaced: our exit codes above 1 ask for that.
_LOST = "lastRetry.status == 'Error' || asInt(lastRetry.exitCode) > 1"
# A filter that found every image in place has ended the task; one that was lost has said nothing.
_NOT_ENDED = "{{=workflow.outputs?.parameters?.ended ?? 'no'}} != yes"
_BACKOFF_CAP = f"{CAP_SECONDS // 60}m"
# The arguments of the Argo UI's form; they count where `request` is empty.
_FORM: Sequence[tuple[str, str, str]] = (
    (
        "request",
        "",
        "The whole request as JSON, as `ips-flow run` submits it; leave it empty to use the fields below",
    ),
    ("images", "", "Images, one per line"),
    ("batch-size", "10", "How many nodes may pull at once: 1-1000, or a percentage such as 10%"),
    ("priority", "5", "1-10, 10 first"),
    ("node-selector", "", "Labels that nodes must have: disk=ssd,zone=a"),
    ("selector", "", "A set-based label selector: zone in (a,b),!gpu"),
    ("nodes", "", "Names of nodes, separated by commas; empty: all"),
    ("exclude-nodes", "", "Names of nodes to leave out, separated by commas"),
    ("include-cordoned", "false", "Whether cordoned nodes are warmed too"),
    ("pull-policy", "IfNotPresent", "IfNotPresent, or Always to check moving tags again"),
    ("pull-secrets", "", "Names of image pull Secrets, separated by commas"),
    ("waves", "", "Cumulative sizes: 1, 10%, 100%; empty: all nodes in one wave"),
    ("order", "rolling", "rolling, or batch: the next nodes start when all of a batch have finished"),
    ("max-failed-nodes", "0", "How many nodes may be lost: a number, or a percentage such as 5%"),
    ("max-retries", "0", "How often failed nodes are tried again: 0-5"),
    (
        "retry-strategy",
        "linear",
        "linear: the same delay each time; exponential: twice as long each time, at most 10m",
    ),
    ("retry-delay", "30", "Seconds before the first retry: 1-300"),
    ("webhook-url", "", "Who is told of the end: an http or https URL"),
    (
        "webhook-secret-name",
        "",
        "A Secret labelled ips-flow.io/webhook=true with the webhook's url, secret, or both",
    ),
    ("webhook-format", "json", "json, cloudevents, slack or dingtalk"),
    ("node-timeout", "10m", "How long one node may take"),
    ("task-timeout", "2h", "How long the whole task may take"),
)


def prewarm_template(*, backoff_cap: str = _BACKOFF_CAP) -> WorkflowTemplate:
    """The WorkflowTemplate that every task refers to. `backoff_cap` is the longest delay between two attempts."""
    with WorkflowTemplate(
        name=TEMPLATE_PREWARM,
        labels={"app.kubernetes.io/name": "ips-flow", "app.kubernetes.io/part-of": "ips-flow"},
        annotations={
            ANNOTATION_VERSION: __version__,
            ANNOTATION_TITLE: "**IPS Flow**: warm images",
            ANNOTATION_DESCRIPTION: "Puts container images on nodes before pods need them",
        },
        entrypoint="main",
        on_exit="finish",
        arguments=[
            Parameter(name=name, value=value, description=description) for name, value, description in _FORM
        ],
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


def _step(
    name: str, *, module: str = "", extra: Sequence[str] = (), retry: RetryStrategy | None = None
) -> Container:
    """A container of our image that runs one step, with a ServiceAccount of its own."""
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


def _int(number: int) -> IntOrString:
    return IntOrString(root=number)
