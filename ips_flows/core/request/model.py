"""The model of a request: images, nodes and options. YAML, JSON, REST, flags and the UI form share it."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic.alias_generators import to_camel

from ips_flows.core.errors import FieldProblem
from ips_flows.core.k8s.names import is_label_key
from ips_flows.core.request import text_values, types
from ips_flows.core.request.choices import PullPolicy, RetryStrategy, RolloutOrder, WebhookFormat, either
from ips_flows.core.request.document import Document, TextPosition, read_document
from ips_flows.core.request.fields import FORM_NAMES, flag_of
from ips_flows.core.request.limits import (
    BATCH_SIZE,
    DEFAULT_PRIORITY,
    IMAGES,
    MAX_LABELS,
    MAX_NAME_LENGTH,
    MAX_NODES,
    MAX_SECRETS,
    MAX_STORED_BYTES,
    MAX_TOLERATIONS,
    MAX_WAVES,
    NODE_TIMEOUT,
    PRIORITY,
    RETRIES,
    RETRY_DELAY,
    TASK_TIMEOUT,
)
from ips_flows.core.request.types import FieldError, seconds_of, shown
from ips_flows.core.request.validation import (
    RequestErrors,
    check_duplicates,
    check_keys,
    check_sizes,
    check_texts,
    encodable,
    explain,
)

_TOO_LARGE = (
    f"allowed: at most {MAX_STORED_BYTES // 1024} KiB as JSON; list fewer nodes, or select them by label"
)


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)


class ImageSpec(_Model):
    """An image. If `pull_policy` is None, the pull policy of the request applies."""

    model_config = ConfigDict(
        json_schema_extra={"description": "an image reference, or a mapping with image and pullPolicy"}
    )

    image: types.Image = Field(description='an image reference such as "registry.example.com/team/app:1.2"')
    pull_policy: PullPolicy | None = Field(None, description=either(PullPolicy))

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        return {"image": value} if isinstance(value, str) else value


class Toleration(_Model):
    """A toleration of the pull pods, as in a pod's spec."""

    model_config = ConfigDict(
        json_schema_extra={"description": "a mapping with key, operator, value, effect, tolerationSeconds"}
    )

    key: str = Field("", description="a label key")
    operator: Literal["Exists", "Equal"] = Field("Equal", description="Exists or Equal")
    value: types.LabelValue = Field("", description="a label value")
    effect: Literal["", "NoSchedule", "PreferNoSchedule", "NoExecute"] = Field(
        "", description="NoSchedule, PreferNoSchedule or NoExecute; if omitted, all effects"
    )
    toleration_seconds: types.Whole | None = Field(None, description="a number of seconds")

    @model_validator(mode="after")
    def _agrees(self) -> Toleration:
        if self.key and not is_label_key(self.key):
            raise FieldError([(("key",), f"got {shown(self.key)}; allowed: a label key")])
        if not self.key and self.operator == "Equal":
            raise FieldError([((), "got no key; allowed: only with operator Exists")])
        if self.value and self.operator == "Exists":
            raise FieldError(
                [(("value",), f"got {shown(self.value)}; allowed: no value with operator Exists")]
            )
        if self.toleration_seconds is not None and self.effect != "NoExecute":
            got = shown(self.toleration_seconds)
            raise FieldError([(("tolerationSeconds",), f"got {got}; allowed: only with effect NoExecute")])
        return self


class PrewarmRequest(_Model):
    """A request of a user. Errors and the schema show a field's description as its allowed values."""

    images: Annotated[
        tuple[ImageSpec, ...],
        Field(min_length=IMAGES.low, max_length=IMAGES.high),
        AfterValidator(types.no_duplicates),
    ] = Field(description=f"a list of {IMAGES} image references")
    batch_size: types.Window = Field(
        10, description=f'a number from {BATCH_SIZE}, or a percentage such as "10%"'
    )
    priority: Annotated[types.Whole, Field(ge=PRIORITY.low, le=PRIORITY.high)] = Field(
        DEFAULT_PRIORITY, description=f"a number from {PRIORITY}; {PRIORITY.high} goes first"
    )
    node_selector: types.NodeLabels = Field(
        {}, description=f"a mapping of at most {MAX_LABELS} label keys to values"
    )
    nodes: types.NodeNames = Field((), description=f"a list of at most {MAX_NODES} node names")
    selector: types.LabelSelector = Field(
        "", description=f"a label selector such as {types.SELECTOR_EXAMPLE}"
    )
    exclude_nodes: types.NodeNames = Field((), description=f"a list of at most {MAX_NODES} node names")
    include_cordoned: types.Flag = Field(default=False, description="true or false")
    tolerations: Annotated[tuple[Toleration, ...], Field(max_length=MAX_TOLERATIONS)] | None = Field(
        None,
        description=f"a list of at most {MAX_TOLERATIONS} tolerations as in a pod's spec; if omitted, all taints are tolerated",
    )
    max_retries: Annotated[types.Whole, Field(ge=RETRIES.low, le=RETRIES.high)] = Field(
        0, description=f"a number from {RETRIES}"
    )
    retry_strategy: RetryStrategy = Field("linear", description=either(RetryStrategy))
    retry_delay: Annotated[types.Whole, Field(ge=RETRY_DELAY.low, le=RETRY_DELAY.high)] = Field(
        30, description=f"a number of seconds from {RETRY_DELAY}"
    )
    webhook_url: types.WebAddress = Field("", description="an http or https URL")
    webhook_secret_name: types.SecretName = Field("", description="the name of a Secret")
    webhook_format: WebhookFormat = Field("json", description=either(WebhookFormat))
    pull_secrets: types.SecretNames = Field(
        (), description=f"a list of at most {MAX_SECRETS} names of Secrets"
    )
    pull_policy: PullPolicy = Field("IfNotPresent", description=either(PullPolicy))
    waves: types.Waves = Field((), description=f"a list of at most {MAX_WAVES} cumulative sizes")
    order: RolloutOrder = Field("rolling", description=either(RolloutOrder))
    max_failed_nodes: types.AllowedLosses = Field(
        0, description='a number from 0, or a percentage such as "5%"'
    )
    timeout: types.TaskDuration = Field("2h", description=f"a duration from {' to '.join(TASK_TIMEOUT)}")
    node_timeout: types.NodeDuration = Field(
        "10m",
        validate_default=True,
        description=f"a duration from {' to '.join(NODE_TIMEOUT)}, at most timeout",
    )
    name: types.TaskName = Field(
        "", description=f"a name of lower-case letters, digits and '-', at most {MAX_NAME_LENGTH}"
    )
    labels: types.TaskLabels = Field(
        {}, description=f"a mapping of at most {MAX_LABELS} label keys to values"
    )

    @field_validator("node_timeout")
    @classmethod
    def _fits_into_task(cls, value: str, info: ValidationInfo) -> str:
        timeout = info.data.get("timeout")
        if timeout is not None and seconds_of(value) > seconds_of(timeout):
            raise ValueError(f"got {shown(value)}; allowed: at most timeout, which is {shown(timeout)}")
        return value

    @property
    def node_timeout_seconds(self) -> int:
        """`node_timeout` in seconds."""
        return seconds_of(self.node_timeout)

    @property
    def timeout_seconds(self) -> int:
        """`timeout` in seconds."""
        return seconds_of(self.timeout)

    def pull_policy_of(self, index: int) -> PullPolicy:
        """Return the pull policy that applies to the image at this index."""
        return self.images[index].pull_policy or self.pull_policy


def parse_request(text: str, source: str = "<stdin>") -> PrewarmRequest:
    """Parse a YAML or JSON text: a mapping, or a list of images.

    Raises BadRequestError with all problems, in the order of the text.
    """
    return _validated(_request_document(text, source), source)


def parse_json(text: str, source: str) -> PrewarmRequest:
    """Parse a JSON text as `parse_request` does. Raises BadRequestError for YAML too."""
    return _validated(_request_document(text, source, only_json=True), source)


def merge_overrides(text: str | None, source: str, overrides: Mapping[str, Any]) -> PrewarmRequest:
    """Parse a text, if any, and replace whole fields by the values of flags.

    `overrides` maps wire names to texts, sequences of texts, or values; None is a flag that was not given.
    The source of a problem in a flag is the flag's name, as `flag_of` returns it.
    """
    document = Document(data={}) if text is None else _request_document(text, source)
    given = {field: value for field, value in overrides.items() if value is not None}
    _replace(document, source, given, {field: flag_of(field) for field in given})
    return _validated(document, source)


def from_form(parameters: Mapping[str, str]) -> PrewarmRequest:
    """Parse the plain parameters of the Argo UI's form. An empty parameter means the default.

    A parameter has its name in the form or its wire name. A field that is given under both names is a problem.
    """
    filled = {name: text for name, text in parameters.items() if text.strip() and name != "request"}
    doubled = {
        field: name for field, name in FORM_NAMES.items() if field != name and {field, name} <= filled.keys()
    }
    wire_names = {name: field for field, name in FORM_NAMES.items()}
    fields = {wire_names.get(name, name): text for name, text in filled.items()}
    given = {field: text for field, text in fields.items() if field not in doubled}
    document = Document(data={})
    _replace(document, "form", given, dict.fromkeys(given, "form"), FORM_NAMES)
    for field, name in doubled.items():
        message = f"got both {name} and {field}; allowed: one of them"
        document.problems.append(FieldProblem("form", 0, 0, name, message))
        document.muted.add((field,))
    return _validated(document, "form", FORM_NAMES)


def from_canonical(text: str) -> PrewarmRequest:
    """Parse the output of `canonical_json`."""
    return parse_request(text, "request")


def canonical_json(request: PrewarmRequest) -> str:
    """Return a request as compact JSON with wire names and sorted keys, without fields that have the default."""
    content = request.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    content["images"] = [
        spec.model_dump(mode="json", by_alias=True, exclude_none=True) if spec.pull_policy else spec.image
        for spec in request.images
    ]
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def request_hash(request: PrewarmRequest) -> str:
    """Return the identity of a request: the SHA-256 of all fields except the name, in hex."""
    nameless = request.model_copy(update={"name": ""})
    return hashlib.sha256(canonical_json(nameless).encode()).hexdigest()


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of a request, with wire names. An image may be a plain reference."""
    schema = PrewarmRequest.model_json_schema()
    spec = schema["$defs"]["ImageSpec"]
    schema["$defs"]["ImageSpec"] = {
        "anyOf": [{"type": "string"}, spec],
        "description": spec.pop("description"),
    }
    return schema


def default_text(field: str) -> str:
    """Return a field's default as text, for forms; empty if the field has no default or an empty default."""
    default = _schema()["properties"][field].get("default")
    if isinstance(default, bool):
        return str(default).lower()
    return str(default) if isinstance(default, str | int) else ""


def choices(field: str) -> tuple[str, ...]:
    """Return the allowed values of a field that is a choice; empty for other fields."""
    return tuple(_schema()["properties"][field].get("enum", ()))


@functools.cache
def _schema() -> dict[str, Any]:
    return json_schema()


def _request_document(text: str, source: str, *, only_json: bool = False) -> Document:
    """Read a text into a document. A plain list becomes the list of images."""
    document = read_document(text, source, only_json=only_json)
    if isinstance(document.data, list):
        document.data = {"images": document.data}
        document.values = {("images", *path): position for path, position in document.values.items()}
        document.keys = {("images", *path): position for path, position in document.keys.items()}
        document.muted = {("images", *path) for path in document.muted}
        document.problems = [replace(one, field=f"images{one.field}") for one in document.problems]
    return document


def _replace(
    document: Document,
    source: str,
    given: Mapping[str, Any],
    sources: Mapping[str, str],
    names: Mapping[str, str] | None = None,
) -> None:
    """Replace fields of a document by values from flags or a form."""
    if not isinstance(document.data, dict):
        return
    for field, value in given.items():
        for positions in (document.values, document.keys):
            for path in [path for path in positions if path[:1] == (field,)]:
                del positions[path]
        document.muted = {path for path in document.muted if path[:1] != (field,)}
        document.values[(field,)] = document.keys[(field,)] = TextPosition(sources[field])
        document.data[field] = None
        try:
            document.data[field] = text_values.parse_text_value(field, value)
        except FieldError as error:
            shown_field = "" if sources[field] != source else (names or {}).get(field, field)
            document.problems.append(FieldProblem(sources[field], 0, 0, shown_field, str(error)))
            document.muted.add((field,))


def _validated(document: Document, source: str, names: Mapping[str, str] | None = None) -> PrewarmRequest:
    """Return the request of a document. Raises BadRequestError with all problems.

    `names` maps wire names to the names in a form.
    """
    errors = RequestErrors(document, source, names)
    data = document.data
    if not isinstance(data, dict):
        got = "an empty text" if data is None else shown(data, errors.text_of(()))
        errors.add((), f"got {got}; allowed: a mapping with the field images, or a list of images")
        raise errors.error()
    check_texts(errors, data)
    data = check_keys(errors, (), encodable(data), PrewarmRequest)
    check_sizes(errors, data, _schema())
    for field, model in (("images", ImageSpec), ("tolerations", Toleration)):
        if isinstance(data.get(field), list):
            data[field] = [
                check_keys(errors, (field, index), item, model) for index, item in enumerate(data[field])
            ]
    check_duplicates(errors, data)
    request = None
    try:
        request = PrewarmRequest.model_validate(data)
    except ValidationError as error:
        explain(errors, error, data, _schema())
    if request is not None and (size := len(json.dumps(canonical_json(request)))) > MAX_STORED_BYTES:
        errors.add((), f"got a request of {size // 1024} KiB; {_TOO_LARGE}")
    if request is None or errors.found:
        raise errors.error()
    return request
