"""Closed sets of words that a field may have. No third-party import: help pages read them too."""

from __future__ import annotations

from typing import Any, Literal, get_args

PullPolicy = Literal["IfNotPresent", "Always"]
RolloutOrder = Literal["rolling", "batch"]
RetryStrategy = Literal["linear", "exponential"]
WebhookFormat = Literal["json", "cloudevents", "slack", "dingtalk"]


def words(choice: Any) -> tuple[str, ...]:
    """The words of one of these sets, the default first."""
    return get_args(choice)


def either(choice: Any) -> str:
    """The words as a text: `json, cloudevents, slack or dingtalk`."""
    *first, last = words(choice)
    return f"{', '.join(first)} or {last}"
