"""IPS Flow from Python: submit a request, wait for the end of its task.

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
    """Submit a request; the task that came of it, or the one of the same name and request that was there.

    The namespace is that of the context, or of the pod, where none is named. Raises NameTakenError where the name
    belongs to another request, BadRequestError for what no text of a request could say (such as `{{`, which Argo
    would expand), NotInstalledError, and ApiError where the cluster can't be reached or refuses.
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
    """Wait for the end of a task; the ended task with what became of each image on each node.

    `task` is one that `submit` gave, or its name. Raises WaitTimeoutError after `timeout` seconds (the task goes
    on), NotFoundError where there is no such task, or where it is deleted meanwhile.
    """
    kube = Kube.connect(kubeconfig, context)
    name, where = (task, "") if isinstance(task, str) else (task.name, task.namespace)
    where = namespace or where or kube.namespace
    ended = wait_for_end(kube, where, name, timeout=timeout)
    return tasks.with_results(kube, ended)
