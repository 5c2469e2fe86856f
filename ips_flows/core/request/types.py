"""The types of request fields. An error has the value that was got and the allowed values."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from ips_flows.core.images.reference import parse_reference
from ips_flows.core.k8s.names import is_dns_label, is_dns_name, is_label_key, is_label_value
from ips_flows.core.k8s.selectors import parse_selector
from ips_flows.core.request.limits import (
    BATCH_SIZE,
    MAX_LABELS,
    MAX_NAME_LENGTH,
    MAX_NODES,
    MAX_SECRETS,
    MAX_URL_LENGTH,
    MAX_WAVES,
    NODE_TIMEOUT,
    TASK_TIMEOUT,
)

_RESERVED = ("kubernetes.io", "k8s.io", "argoproj.io", "ips-flow.io")
_LONGEST_SHOWN = 120  # characters of a value in a message; enough for an image with a digest
SELECTOR_EXAMPLE = '"disk=ssd,zone in (a,b),!gpu"'
_DURATION = re.compile(r"(?=[0-9])(?:([0-9]{1,6})d)?(?:([0-9]{1,6})h)?(?:([0-9]{1,6})m)?(?:([0-9]{1,6})s)?")
_UNITS = (86400, 3600, 60, 1)


class FieldError(ValueError):
    """The problems of a field's value, as pairs (path below the field, message)."""

    def __init__(self, parts: Sequence[tuple[tuple[str | int, ...], str]]) -> None:
        super().__init__("; ".join(message for _, message in parts))
        self.parts = parts


def shown(value: Any, text: str = "") -> str:
    """Format a value for a message. `text` is a plain scalar as it was written."""
    if value is None:
        return "nothing"
    if isinstance(value, str):
        # ASCII only, so that no letter looks like another letter. Only URLs may have other characters.
        cut = len(value) > _LONGEST_SHOWN
        return json.dumps(value[: _LONGEST_SHOWN - 1])[:-1] + '…"' if cut else json.dumps(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        number = text or str(value)
        return number if len(number) <= _LONGEST_SHOWN else number[: _LONGEST_SHOWN - 1] + "…"
    return "a mapping" if isinstance(value, Mapping) else "a list"


def seconds_of(duration: str) -> int:
    """Convert a duration such as `90s` or `1h30m` to seconds. Raises ValueError for an invalid one."""
    match = _DURATION.fullmatch(duration)
    if not match:
        raise ValueError(f'got {shown(duration)}; allowed: a duration such as "90s", "10m" or "1h30m"')
    return sum(int(count or 0) * unit for count, unit in zip(match.groups(), _UNITS, strict=True))


def duplicates(items: Sequence[Any], identity: Callable[[str], str] = str) -> list[tuple[int, str]]:
    """Return (index, message) of each item with the identity of an earlier item. Skip items that can't be parsed."""
    first: dict[str, str] = {}
    found = []
    kind = "image" if identity is image_identity else "name"
    for index, item in enumerate(items):
        text = item.get("image") if isinstance(item, Mapping) else getattr(item, "image", item)
        if not isinstance(text, str):
            continue
        try:
            key = identity(text)
        except ValueError:
            continue
        if key in first:
            same = "" if first[key] == text else f", the same as {shown(first[key])}"
            found.append((index, f"duplicate {kind} {shown(text)}{same}"))
        else:
            first[key] = text
    return found


def image_identity(text: str) -> str:
    """Return the identity of an image reference. References of the same image have the same identity."""
    return parse_reference(text).identity


def no_duplicates(items: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return a list if it has no duplicates. Raises FieldError."""
    identity = str if not items or isinstance(items[0], str) else image_identity
    if found := duplicates(items, identity):
        raise FieldError([((index,), message) for index, message in found])
    return items


def _text(fits: Callable[[str], bool], allowed: str) -> AfterValidator:
    """Return a validator for texts that a predicate accepts."""

    def check(value: str) -> str:
        if not fits(value):
            raise ValueError(f"got {shown(value)}; allowed: {allowed}")
        return value

    return AfterValidator(check)


def _image(value: str) -> str:
    parse_reference(value)
    return value


def _selector(value: str) -> str:
    try:
        parse_selector(value)
    except ValueError as error:
        raise ValueError(
            f"got {shown(value)}: {error}; allowed: a label selector such as {SELECTOR_EXAMPLE}"
        ) from error
    return value


def _duration(shortest: str, longest: str) -> AfterValidator:
    def check(value: str) -> str:
        if not seconds_of(shortest) <= seconds_of(value) <= seconds_of(longest):
            raise ValueError(f"got {shown(value)}; allowed: a duration from {shortest} to {longest}")
        return value

    return AfterValidator(check)


def _rising(sizes: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """Check that sizes rise. Numbers are compared only with numbers, percentages only with percentages."""
    last: dict[type, int] = {}
    parts = []
    for index, size in enumerate(sizes):
        number = size if isinstance(size, int) else int(size.removesuffix("%"))
        before = last.get(type(size), 0)
        if number <= before:
            unit = "" if isinstance(size, int) else "%"
            parts.append(
                (
                    (index,),
                    f"got {size}; allowed: more than the {before}{unit} before it, as sizes are cumulative",
                )
            )
        last[type(size)] = max(number, before)
    if parts:
        raise FieldError(parts)
    return sizes


def _web_address(value: str) -> str:
    try:
        parts = urlsplit(value)
        fits = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        fits = False
    if not value or (
        fits and len(value) <= MAX_URL_LENGTH and value.isprintable() and not set(value) & set(' "<>\\{}')
    ):
        if value and parts.username is not None:
            raise ValueError(
                "got a URL with credentials; allowed: a URL without credentials; use a Secret and webhookSecretName"
            )
        return value
    raise ValueError(
        f"got {shown(value)}; allowed: an http or https URL of at most {MAX_URL_LENGTH} characters"
    )


def _is_free_key(key: str) -> bool:
    prefix = key.rpartition("/")[0]
    return not any(prefix == domain or prefix.endswith("." + domain) for domain in _RESERVED)


_LABEL_KEY = _text(is_label_key, 'a label key such as "disk" or "example.com/disk"')
_LABEL_VALUE = _text(is_label_value, "a label value: letters, digits, '-', '_' and '.', at most 63")
_FREE_KEY = _text(_is_free_key, f"a label key of your own; those of {', '.join(_RESERVED)} are reserved")
_OBJECT_NAME = "the name of a Secret: lower-case letters, digits, '-' and '.'"
_PERCENT = r"^([1-9][0-9]?|100)%$"

Whole = Annotated[int, Field(strict=True)]
Flag = Annotated[bool, Field(strict=True)]
Image = Annotated[str, AfterValidator(_image)]
LabelKey = Annotated[str, _LABEL_KEY]
LabelValue = Annotated[str, _LABEL_VALUE]
NodeLabels = Annotated[dict[LabelKey, LabelValue], Field(max_length=MAX_LABELS)]
TaskLabels = Annotated[dict[Annotated[str, _LABEL_KEY, _FREE_KEY], LabelValue], Field(max_length=MAX_LABELS)]
NodeNames = Annotated[
    tuple[
        Annotated[str, _text(is_dns_name, "the name of a node: lower-case letters, digits, '-' and '.'")], ...
    ],
    Field(max_length=MAX_NODES),
    AfterValidator(no_duplicates),
]
SecretNames = Annotated[
    tuple[Annotated[str, _text(is_dns_name, _OBJECT_NAME)], ...],
    Field(max_length=MAX_SECRETS),
    AfterValidator(no_duplicates),
]
SecretName = Annotated[str, _text(lambda value: not value or is_dns_name(value), _OBJECT_NAME)]
TaskName = Annotated[
    str,
    _text(
        lambda value: not value or is_dns_label(value, MAX_NAME_LENGTH),
        f"a name of lower-case letters, digits and '-', at most {MAX_NAME_LENGTH}, with a letter or digit at both ends",
    ),
]
LabelSelector = Annotated[str, AfterValidator(_selector)]
WebAddress = Annotated[str, AfterValidator(_web_address)]
NodeDuration = Annotated[str, _duration(*NODE_TIMEOUT)]
TaskDuration = Annotated[str, _duration(*TASK_TIMEOUT)]
Window = (
    Annotated[int, Field(strict=True, ge=BATCH_SIZE.low, le=BATCH_SIZE.high)]
    | Annotated[str, Field(pattern=_PERCENT)]
)
AllowedLosses = (
    Annotated[int, Field(strict=True, ge=0)] | Annotated[str, Field(pattern=r"^([1-9]?[0-9]|100)%$")]
)
Size = Annotated[
    Annotated[int, Field(strict=True, ge=1)] | Annotated[str, Field(pattern=_PERCENT)],
    Field(description='a number from 1, or a percentage from "1%" to "100%"'),
]
Waves = Annotated[tuple[Size, ...], Field(max_length=MAX_WAVES), AfterValidator(_rising)]
