"""The webhook notification, the last stage of finish: sends the verdict, and records the outcome.

A failed webhook changes neither the verdict nor the exit code: the outcome is recorded, and the keeper retries.
"""

from __future__ import annotations

import base64
import binascii
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from ips_flows.core import clock
from ips_flows.core.constants import (
    ANNOTATION_NOTICE,
    ANNOTATION_VERDICT,
    CONFIG_MAP,
    LABEL_KIND,
    LABEL_WEBHOOK,
    LABEL_WORKFLOW_UID,
    NETWORKS_KEY,
)
from ips_flows.core.errors import (
    ApiError,
    ConflictError,
    GoneError,
    IpsFlowError,
    NotFoundError,
    UnavailableError,
)
from ips_flows.core.k8s import objects
from ips_flows.core.k8s.objects import Json
from ips_flows.core.notice import notice
from ips_flows.core.notice.event import Event
from ips_flows.core.notice.formats import FORMATS
from ips_flows.core.notice.notice import Notice, Webhook
from ips_flows.core.notice.targets import Address, Rules, endpoint, parse_networks, shown_url
from ips_flows.core.reconcile.finish_job import (
    KIND_NOTICE,
    copy_name,
    copy_owner,
    latest_notice,
    notice_map,
    read_copy,
)
from ips_flows.core.results.attempts import recorded_attempts
from ips_flows.core.results.records import Verdict
from ips_flows.core.results.results import fold
from ips_flows.core.task import task
from ips_flows.core.task.as_json import task_json
from ips_flows.kube.client import core
from ips_flows.operations.settings import Settings, read_settings
from ips_flows.webhook.delivery import BUDGET_SECONDS, Delivery, DeliveryIO, Message, deliver, resolve_host
from steps.context import StepContext, say, webhook_of
from steps.finish.timings import FinishTimings

DELIVERY_IO = DeliveryIO()
_DELETED = "the Workflow was deleted before its verdict"


class UnusableWebhookError(IpsFlowError):
    """The webhook can't be used: its Secret is missing, or the content of the Secret is not valid."""


@dataclass(frozen=True, slots=True)
class _ResolvedWebhook:
    """The URL of a webhook, and the key that signs its messages."""

    url: str
    secret: str


def send_notice(context: StepContext, timings: FinishTimings) -> None:
    """Send the notification of the task's verdict, unless it is already delivered or given up."""
    workflow = context.workflow()
    annotations = objects.annotations(workflow)
    webhook = webhook_of(workflow) or notice.recorded_webhook(annotations)
    if not notice.is_open(annotations, clock.now()) or webhook is None:
        return
    verdict = Verdict.from_json(annotations[ANNOTATION_VERDICT])
    chunks = context.stored_chunks()
    seen = task.read_task(workflow, results=fold(chunks), attempts=recorded_attempts(chunks))
    event = Event(
        verdict.event_id,
        notice.event_name(verdict.status),
        verdict.at,
        verdict.message,
        task_json(seen, clock.now()),
    )
    made = _deliver_round(context, webhook, event, notice.recorded_notice(annotations))
    _retry_while_unavailable(lambda: _record_notice(context, made), timings)


def send_notice_of_deleted(context: StepContext, timings: FinishTimings) -> None:
    """Send the notification of a task whose Workflow was deleted, if the keeper's copy shows that it is due.

    The outcome is stored as a new object: a change of the copy would need the permission to change every ConfigMap.
    """
    path = core(context.namespace, "configmaps")
    try:
        copy = context.kube.get(core(context.namespace, "configmaps", copy_name(context.uid)))
    except NotFoundError:
        say("no copy of the deleted Workflow exists; if a notification is due, the keeper sends it")
        return
    metadata, deleted_at = read_copy(copy)
    labels = f"{LABEL_WORKFLOW_UID}={context.uid},{LABEL_KIND}={KIND_NOTICE}"
    known = latest_notice(context.kube.list(path, labels=labels)).get(context.uid, "")
    annotations = (metadata.get("annotations") or {}) | ({ANNOTATION_NOTICE: known} if known else {})
    webhook = notice.recorded_webhook(annotations)
    if not notice.is_open(annotations, clock.now(), deleted_at) or webhook is None:
        return
    made = _deliver_round(
        context,
        webhook,
        _event_of_deleted(metadata, deleted_at, webhook),
        notice.recorded_notice(annotations),
    )

    def record_round() -> None:
        try:
            context.kube.create(path, notice_map(context.uid, made, copy_owner(copy)))
        except ConflictError:
            say("another finish has already recorded this round")

    _retry_while_unavailable(record_round, timings)


def _event_of_deleted(metadata: Json, deleted_at: str, webhook: Webhook) -> Event:
    """Return the event of a task of which only the metadata is left: its verdict, else `cancelled`."""
    seen = task.read_task({"metadata": metadata})
    verdict = seen.verdict
    if verdict is None:
        seen = replace(
            seen,
            status="cancelled",
            ended=True,
            message=_DELETED,
            finished_at=deleted_at,
            queue_position=None,
        )
        event_id = notice.deletion_id(seen.uid, seen.created_at)
    else:
        event_id = verdict.event_id
    seen = replace(seen, request=seen.request | {"webhookUrl": webhook.url or None})
    at = verdict.at if verdict else deleted_at
    document = task_json(seen, clock.now())
    return Event(event_id, notice.event_name(seen.status), at, seen.message, document)


def _deliver_round(context: StepContext, webhook: Webhook, event: Event, before: Notice | None) -> Notice:
    """Run one round of delivery tries, and return its record."""
    began, first = time.monotonic(), clock.stamp(clock.now())
    target = shown_url(webhook.url) if webhook.url else ""
    try:
        address = _resolve_webhook(context, webhook)
        target = shown_url(address.url)
        payload = FORMATS[webhook.format].render(event)
        message = Message(address.url, payload, event.id, webhook.format, address.secret)
        rules = _target_rules(context)
        left = BUDGET_SECONDS - (time.monotonic() - began)
        found = deliver(message, rules, DELIVERY_IO, seconds=left)
    except (UnavailableError, GoneError):
        raise  # from the Kubernetes API, not from the webhook: finish tries again
    except (ApiError, UnusableWebhookError) as error:
        found = Delivery("undelivered", reason=error.message)
    made = Notice(
        id=event.id,
        event=event.name,
        outcome=found.outcome,
        status=found.status,
        reason=found.reason,
        target=target,
        tries=found.tries + (before.tries if before else 0),
        rounds=(before.rounds if before else 0) + 1,
        first=before.first if before else first,
        last=clock.stamp(clock.now()),
        not_before=found.not_before,
    )
    why = f": {made.reason}" if made.reason else ""
    say(f"notification {made.event} {made.summary}{why}")
    return made


def _resolve_webhook(context: StepContext, webhook: Webhook) -> _ResolvedWebhook:
    """Return the URL and the key of a webhook. The URL in the request takes precedence over that in the Secret."""
    if not webhook.secret_name:
        return _ResolvedWebhook(webhook.url, "")
    name = f"Secret {webhook.secret_name} of namespace {context.namespace}"
    try:
        found = context.kube.get(core(context.namespace, "secrets", webhook.secret_name))
    except NotFoundError as error:
        raise UnusableWebhookError(f"{name} does not exist") from error
    if objects.labels(found).get(LABEL_WEBHOOK) != "true":
        raise UnusableWebhookError(f"{name} is not for webhooks: it lacks the label {LABEL_WEBHOOK}=true")
    values = {
        key: _decode_value(name, key, (found.get("data") or {}).get(key) or "") for key in ("url", "secret")
    }
    url = webhook.url or values["url"]
    if not url:
        raise UnusableWebhookError(f"{name} has no url, and the request has no webhookUrl")
    if not values["url"] and not values["secret"]:
        raise UnusableWebhookError(f"{name} has neither url nor secret")
    return _ResolvedWebhook(url, values["secret"])


def _decode_value(name: str, key: str, encoded: str) -> str:
    try:
        return base64.b64decode(encoded, validate=True).decode().strip()
    except (binascii.Error, UnicodeDecodeError) as error:
        raise UnusableWebhookError(f"{name}: {key} is not text") from error


def _target_rules(context: StepContext) -> Rules:
    """Return the networks that the settings allow, and the addresses of the API server, which are forbidden."""
    try:
        settings = read_settings(context.kube, context.namespace)
    except NotFoundError:
        settings = Settings({})
    allowed, unknown = parse_networks(settings.webhook_networks)
    if unknown:
        say(f"{NETWORKS_KEY} of ConfigMap {CONFIG_MAP}: ignoring invalid networks: {', '.join(unknown)}")
    return Rules(allowed, frozenset(_api_server_addresses(context)))


def _api_server_addresses(context: StepContext) -> Iterable[tuple[Address, int]]:
    """Return the addresses of the API server: its Service, to which pods connect, and the Service's endpoints.

    The endpoints are in EndpointSlice `kubernetes` of namespace `default`, which each API server writes itself.
    finish may read only this EndpointSlice; no narrower permission shows all API servers.
    """
    parts = urlsplit(context.kube.host)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        found = {endpoint(address, port) for address in resolve_host(parts.hostname or "", port)}
    except OSError as error:
        raise UnusableWebhookError(
            "the address of the API server can't be resolved, so nothing is sent"
        ) from error
    try:
        endpoints = context.kube.get("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes")
    except NotFoundError:  # the cluster does not publish them
        return found
    ports = [one.get("port") or port for one in endpoints.get("ports") or ()]
    return found | {
        endpoint(address, number)
        for one in endpoints.get("endpoints") or ()
        for address in one.get("addresses") or ()
        for number in ports
    }


def _record_notice(context: StepContext, made: Notice) -> None:
    """Annotate the Workflow with the outcome. A final outcome is not replaced."""

    def mark(workflow: Json) -> dict[str, str] | None:
        there = notice.recorded_notice(objects.annotations(workflow))
        return None if there is not None and there.final else {ANNOTATION_NOTICE: made.to_json()}

    context.update_annotations(mark)


def _retry_while_unavailable(write: Callable[[], None], timings: FinishTimings) -> None:
    """Write the outcome, and try again while the API is unavailable: without a record, it would be sent twice."""
    end = time.monotonic() + timings.record
    while True:
        try:
            write()
        except UnavailableError as error:
            if time.monotonic() > end:
                raise
            say(f"API request failed, trying again: {error.message}")
            time.sleep(timings.retry)
        else:
            return
