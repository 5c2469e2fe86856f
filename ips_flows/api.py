"""Python API: submit a request, and wait until its task ends.

```python
from ips_flows import PrewarmRequest, submit, wait

request = PrewarmRequest.model_validate({"images": ["busybox:1.37"], "batchSize": 20})
ended = wait(submit(request, namespace="ips-flow"), timeout=1800)
print(ended.status, ended.message)
```
"""

from __future__ import annotations

from ips_flows.core.request.model import PrewarmRequest, canonical_json, from_canonical
from ips_flows.core.task.task import Task
from ips_flows.kube.client import Kube
from ips_flows.operations import tasks
from ips_flows.operations.follow import wait_for_end
from ips_flows.operations.submit import submit_request


def submit(
    request: PrewarmRequest,
    *,
    namespace: str | None = None,
    kubeconfig: str | None = None,
    context: str | None = None,
) -> Task:
    """Submit a request and return its task. If a task with the same name and request exists, return that task.

    The default namespace is that of the kubeconfig context or of the pod. Raises NameTakenError if the name belongs to
    another request, BadRequestError if the request is invalid (such as `{{`, which Argo would expand),
    NotInstalledError if IPS Flow is not installed, and ApiError if the cluster can't be reached or rejects the task.
    """
    checked = from_canonical(canonical_json(request))
    kube = Kube.connect(kubeconfig, context)
    return submit_request(kube, namespace or kube.namespace, checked).task


def wait(
    task: Task | str,
    *,
    timeout: float | None = None,
    namespace: str | None = None,
    kubeconfig: str | None = None,
    context: str | None = None,
) -> Task:
    """Wait until a task ends and return it with the result of each image on each node.

    `task` is a task that `submit` returned, or its name. Raises WaitTimeoutError after `timeout` seconds (the task
    continues), and NotFoundError if the task does not exist or is deleted during the wait.
    """
    kube = Kube.connect(kubeconfig, context)
    name, where = (task, "") if isinstance(task, str) else (task.name, task.namespace)
    where = namespace or where or kube.namespace
    ended = wait_for_end(kube, where, name, timeout=timeout)
    return tasks.with_results(kube, ended)
