"""REST routes of tasks: check the request, call the operation, return JSON."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from fastapi import FastAPI, Request, Response
from fastapi.responses import StreamingResponse

from ips_flows.core import clock
from ips_flows.core.errors import NotFoundError, UnavailableError
from ips_flows.core.escape import escape
from ips_flows.core.request.model import parse_json
from ips_flows.core.rest.pagination import TaskPages, parse_query
from ips_flows.core.rest.responses import encode_json
from ips_flows.core.rest.task_store import Snapshot
from ips_flows.core.task.as_json import task_json
from ips_flows.core.task.task import Task
from ips_flows.kube.client import Kube
from ips_flows.operations import tasks
from ips_flows.operations.cancel import cancel_task
from ips_flows.operations.retry import retry_task
from ips_flows.operations.submit import Submission, submit_request
from ips_flows.server.auth import Authorizer, Verb
from ips_flows.server.body import SOURCE, decode_body, read_body
from ips_flows.server.middleware import USER
from ips_flows.server.sse import TaskStreams
from ips_flows.server.task_cache import TaskCache

ROOT = "/api/v1/tasks"
_JSON = "application/json"
_TASK_ID = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?")
_AT_ONCE = 16  # concurrent calls to the API server
_FRESH = {"Cache-Control": "no-store"}

T = TypeVar("T")


class TaskRoutes:
    """Handlers of the routes. Calls to the API server run in threads; lists come from the task cache."""

    def __init__(
        self, kube: Kube, namespace: str, task_cache: TaskCache, streams: TaskStreams, authorizer: Authorizer
    ) -> None:
        self._kube = kube
        self._namespace = namespace
        self._task_cache = task_cache
        self._streams = streams
        self._authorizer = authorizer
        self._listing = TaskPages()
        self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="rest")

    def add_to(self, app: FastAPI) -> None:
        """Add the routes to an application."""
        one = ROOT + "/{task_id}"
        for path, method, handler in (
            (ROOT, "GET", self.list_tasks),
            (ROOT, "POST", self.submit),
            (one, "GET", self.get_task),
            (one, "DELETE", self.cancel),
            (one + "/retry", "POST", self.retry),
            (one + "/events", "GET", self.events),
        ):
            code = 201 if method == "POST" else 200  # the usual response; its series exists from the start
            app.add_api_route(path, handler, methods=[method], status_code=code, response_model=None)

    async def list_tasks(self, request: Request) -> Response:
        """Return one page of tasks, newest first."""
        await self._authorize(request, "list")
        query = request.scope["query_string"]
        why = self._task_cache.not_ready()
        if why:
            parse_query(query)  # a wrong query is a 400 also while the cache is not ready
            raise UnavailableError(f"can't list the tasks yet: {why}", "Try again in a few seconds.")
        page = self._listing.page(self._task_cache.snapshot, query)
        return Response(page, media_type=_JSON, headers=_FRESH)

    async def submit(self, request: Request) -> Response:
        """Create a task from a request."""
        await self._authorize(request, "create")
        data = await read_body(request.headers, request.stream())

        def make() -> Submission:
            return submit_request(self._kube, self._namespace, parse_json(decode_body(data), SOURCE))

        return await self._submitted(make)

    async def get_task(self, request: Request, task_id: str) -> Response:
        """Return one task, read from the cluster, with the result of each image on each node."""
        await self._authorize(request, "get", task_id)
        return await self._answer(lambda: tasks.get_task(self._kube, self._namespace, task_id))

    async def cancel(self, request: Request, task_id: str) -> Response:
        """Cancel a task."""
        await self._authorize(request, "delete", task_id)
        response = await self._answer(lambda: cancel_task(self._kube, self._namespace, task_id))
        await self._streams.wait_until_shown(lambda snapshot: _is_cancelled(snapshot, task_id))
        return response

    async def retry(self, request: Request, task_id: str) -> Response:
        """Retry an ended task on its failed nodes."""
        await self._authorize(request, "create", task_id)
        return await self._submitted(lambda: retry_task(self._kube, self._namespace, task_id))

    async def events(self, request: Request, task_id: str) -> Response:
        """Stream a task's state, now and after each change, until it ends."""
        await self._authorize(request, "get", task_id)
        row = self._task_cache.snapshot.by_name.get(task_id)
        if row is not None:
            uid, first = row.uid, row.body()
        else:  # deleted, or too new for the task cache
            seen = await self._in_pool(lambda: tasks.get_task(self._kube, self._namespace, task_id))
            uid, first = seen.uid, encode_json(task_json(seen, clock.now(), brief=True))
        return StreamingResponse(
            self._streams.follow(task_id, uid, first),
            media_type="text/event-stream",
            headers={**_FRESH, "X-Accel-Buffering": "no"},
        )

    async def _authorize(self, request: Request, verb: Verb, task_id: str | None = None) -> None:
        request.scope[USER] = await self._authorizer.authorize(request.headers, verb)
        # The ID becomes part of a Kubernetes API path, where `..` and `?` have a meaning.
        if task_id is not None and not _TASK_ID.fullmatch(task_id):
            raise NotFoundError(f"task {escape(task_id[:253])} does not exist: not a valid Workflow name")

    async def _answer(self, work: Callable[[], Task]) -> Response:
        body = await self._in_pool(lambda: _document(work()))
        return Response(body, media_type=_JSON, headers=_FRESH)

    async def _submitted(self, make: Callable[[], Submission]) -> Response:
        def work() -> tuple[Submission, bytes]:
            made = make()
            return made, _document(made.task)

        made, body = await self._in_pool(work)
        name, uid = made.task.name, made.task.uid
        await self._streams.wait_until_shown(
            lambda snapshot: name in snapshot.by_name and snapshot.by_name[name].uid == uid
        )
        headers = {**_FRESH, "Location": f"{ROOT}/{name}"}
        return Response(body, 201 if made.created else 200, media_type=_JSON, headers=headers)

    async def _in_pool(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)


def _is_cancelled(snapshot: Snapshot, name: str) -> bool:
    """Return whether lists show the task as cancelled or ended, or no longer list it."""
    row = snapshot.by_name.get(name)
    return row is None or row.ended or row.status == "cancelled"


def _document(task: Task) -> bytes:
    return encode_json(task_json(task, clock.now()))
