"""The WorkflowTemplate `ips-submit`: a step for other Workflows, which submits a task and waits until it ends.

A templateRef to `ips-prewarm` itself would bypass the queue, the exit handler and the priority. The step's pod gets the
request in an environment variable, so that no shell or expression evaluates it.
"""

from __future__ import annotations

from hera.workflows import Container, EmptyDirVolume, Env, Parameter, WorkflowTemplate

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
    DEFAULT_IMAGE,
    TEMPLATE_SUBMIT,
)
from ips_flows.core.version import __version__

# Argo replaces a failed or evicted pod, and the new pod resumes the task. Exit codes up to 3 are final results.
_LOST = "lastRetry.status == 'Error' || asInt(lastRetry.exitCode) > 3"


def submit_template() -> WorkflowTemplate:
    """Return the template. Its step fails if the task fails. If its Workflow is stopped, the task is cancelled."""
    with WorkflowTemplate(
        name=TEMPLATE_SUBMIT,
        labels={"app.kubernetes.io/part-of": "ips-flow"},
        annotations={
            ANNOTATION_VERSION: __version__,
            ANNOTATION_TITLE: "Submit a task and wait for it",
            ANNOTATION_DESCRIPTION: "For other Workflows: templateRef {name: ips-submit, template: submit}",
        },
    ) as template:
        Container(
            name="submit",
            inputs=[
                Parameter(name="request", description="The request as YAML or JSON"),
                Parameter(name="key", description="A key of the task, unique within the Workflow"),
            ],
            image=DEFAULT_IMAGE,
            image_pull_policy="IfNotPresent",
            command=["ips-flow", "run"],
            args=[
                *("--cancel-with", "{{workflow.name}}"),
                *("--name-from", "{{workflow.uid}}/{{inputs.parameters.key}}"),
            ],
            env=[
                Env(name="IPS_FLOW_REQUEST", value="{{inputs.parameters.request}}"),
                Env(name="IPS_FLOW_NAMESPACE", value="{{workflow.namespace}}"),
            ],
            service_account_name="ips-flow-submit",
            retry_strategy=replaced_when(_LOST),
            tolerations=short_tolerations(),
            pod_security_context=pod_security(),
            pod_spec_patch=executor_security(),
            security_context=restricted(),
            resources=small(),
            volumes=[EmptyDirVolume(name="tmp", mount_path=TMP)],
        )
    return template
