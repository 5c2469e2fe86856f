"""The allowed values of fields that are a choice. No third-party import, because every help page loads this module."""

from __future__ import annotations

from typing import Any, Literal, get_args

PullPolicy = Literal["IfNotPresent", "Always"]
RolloutOrder = Literal["rolling", "batch"]
RetryStrategy = Literal["linear", "exponential"]
WebhookFormat = Literal["json", "cloudevents", "slack", "dingtalk"]


def words(choice: Any) -> tuple[str, ...]:
    """Return the values of a choice, the default first."""
    return get_args(choice)


def either(choice: Any) -> str:
    """Return the values as a text: `json, cloudevents, slack or dingtalk`."""
    *first, last = words(choice)
    return f"{', '.join(first)} or {last}"
