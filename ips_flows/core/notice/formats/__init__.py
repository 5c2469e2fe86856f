"""Webhook formats, one module for each. A unit test checks that every `WebhookFormat` has a module."""

from __future__ import annotations

from collections.abc import Mapping

from ips_flows.core.notice.formats.cloudevents import CLOUDEVENTS
from ips_flows.core.notice.formats.dingtalk import DINGTALK
from ips_flows.core.notice.formats.format import Format
from ips_flows.core.notice.formats.json import JSON
from ips_flows.core.notice.formats.slack import SLACK
from ips_flows.core.request.choices import WebhookFormat

FORMATS: Mapping[WebhookFormat, Format] = {
    "json": JSON,
    "cloudevents": CLOUDEVENTS,
    "slack": SLACK,
    "dingtalk": DINGTALK,
}
