"""The request: which images go to which nodes, and how. One model for YAML, JSON, REST, flags and the UI form."""

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
from ips_flows.core.request import text_values
from ips_flows.core.request import types as fields
from ips_flows.core.request.document import Document, TextPosition, read_document
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

PullPolicy = Literal["IfNotPresent", "Always"]

# Argo keeps a Workflow's arguments twice in an object that it wants below 1 MiB.
_LARGEST_STORED = 448 * 1024
_TOO_LARGE = "allowed: at most 448 KiB as JSON; list fewer nodes, or select them by label"

_FORM_FIELDS = {  # parameters of the WorkflowTemplate that the Argo UI's form shows
    "images": "images",
    "batch-size": "batchSize",
    "priority": "priority",
    "node-selector": "nodeSelector",
    "selector": "selector",
    "nodes": "nodes",
    "exclude-nodes": "excludeNodes",
    "include-cordoned": "includeCordoned",
    "pull-policy": "pullPolicy",
    "pull-secrets": "pullSecrets",
    "waves": "waves",
    "order": "order",
    "max-failed-nodes": "maxFailedNodes",
    "max-retries": "maxRetries",
    "retry-strategy": "retryStrategy",
    "retry-delay": "retryDelay",
    "webhook-url": "webhookUrl",
    "webhook-secret-name": "webhookSecretName",
    "webhook-format": "webhookFormat",
    "node-timeout": "nodeTimeout",
    "task-timeout": "timeout",
}


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)


class ImageSpec(_Model):
    """One image. `pull_policy` None means the request's own."""

    model_config = ConfigDict(
        json_schema_extra={"description": "an image reference, or a mapping with image and pullPolicy"}
    )

    image: fields.Image = Field(description='an image reference such as "registry.example.com/team/app:1.2"')
    pull_policy: PullPolicy | None = Field(None, description="IfNotPresent or Always")

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
    value: fields.LabelValue = Field("", description="a label value")
    effect: Literal["", "NoSchedule", "PreferNoSchedule", "NoExecute"] = Field(
        "", description="NoSchedule, PreferNoSchedule or NoExecute; left out, all of them"
    )
    toleration_seconds: fields.Whole | None = Field(None, description="a number of seconds")

    @model_validator(mode="after")
    def _agrees(self) -> Toleration:
        if self.key and not is_label_key(self.key):
            raise FieldError([(("key",), f"got {shown(self.key)}; allowed: a label key")])
        if not self.key and self.operator == "Equal":
            raise FieldError([((), "got no key; allowed: no key only with operator Exists")])
        if self.value and self.operator == "Exists":
            raise FieldError(
                [(("value",), f"got {shown(self.value)}; allowed: no value with operator Exists")]
            )
        if self.toleration_seconds is not None and self.effect != "NoExecute":
            got = shown(self.toleration_seconds)
            raise FieldError([(("tolerationSeconds",), f"got {got}; allowed: only with effect NoExecute")])
        return self


class PrewarmRequest(_Model):
    """What a user asks for. The description of a field says what it allows, in errors and in the schema."""

    images: Annotated[
        tuple[ImageSpec, ...], Field(min_length=1, max_length=50), AfterValidator(fields.no_duplicates)
    ] = Field(description="a list of 1 to 50 image references")
    batch_size: fields.Window = Field(
        10, description='a number from 1 to 1000, or a percentage such as "10%"'
    )
    priority: Annotated[fields.Whole, Field(ge=1, le=10)] = Field(
        5, description="a number from 1 to 10; 10 goes first"
    )
    node_selector: fields.NodeLabels = Field({}, description="a mapping of at most 100 label keys to values")
    nodes: fields.NodeNames = Field((), description="a list of at most 10000 node names")
    selector: fields.LabelSelector = Field(
        "", description=f"a label selector such as {fields.SELECTOR_EXAMPLE}"
    )
    exclude_nodes: fields.NodeNames = Field((), description="a list of at most 10000 node names")
    include_cordoned: fields.Flag = Field(default=False, description="true or false")
    tolerations: Annotated[tuple[Toleration, ...], Field(max_length=100)] | None = Field(
        None,
        description="a list of at most 100 tolerations as in a pod's spec; left out, all taints are tolerated",
    )
    max_retries: Annotated[fields.Whole, Field(ge=0, le=5)] = Field(0, description="a number from 0 to 5")
    retry_strategy: Literal["linear", "exponential"] = Field("linear", description="linear or exponential")
    retry_delay: Annotated[fields.Whole, Field(ge=1, le=300)] = Field(
        30, description="a number of seconds from 1 to 300"
    )
    webhook_url: fields.WebAddress = Field("", description="an http or https URL")
    webhook_secret_name: fields.SecretName = Field("", description="the name of a Secret")
    webhook_format: fields.WebhookFormat = Field("json", description="json, cloudevents, slack or dingtalk")
    pull_secrets: fields.SecretNames = Field((), description="a list of at most 100 names of Secrets")
    pull_policy: PullPolicy = Field("IfNotPresent", description="IfNotPresent or Always")
    waves: fields.Waves = Field((), description="a list of at most 20 cumulative sizes")
    order: Literal["rolling", "batch"] = Field("rolling", description="rolling or batch")
    max_failed_nodes: fields.AllowedLosses = Field(
        0, description='a number from 0, or a percentage such as "5%"'
    )
    timeout: fields.TaskDuration = Field("2h", description="a duration from 30s to 7d")
    node_timeout: fields.NodeDuration = Field(
        "10m", validate_default=True, description="a duration from 10s to 24h, at most timeout"
    )
    name: fields.TaskName = Field("", description="a name of lower-case letters, digits and '-', at most 52")
    labels: fields.TaskLabels = Field({}, description="a mapping of at most 100 label keys to values")

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
        """The pull policy that counts for the image at this index."""
        return self.images[index].pull_policy or self.pull_policy


def parse_request(text: str, source: str = "<stdin>") -> PrewarmRequest:
    """Read a YAML or JSON text: a mapping, or just a list of images.

    Raises BadRequestError with all that is wrong, in the order of the text.
    """
    return _validated(_request_document(text, source), source)


def parse_json(text: str, source: str) -> PrewarmRequest:
    """Read a text that must be JSON, as `parse_request` does; the same error, also where it is YAML."""
    return _validated(_request_document(text, source, only_json=True), source)


def merge_overrides(text: str | None, source: str, overrides: Mapping[str, Any]) -> PrewarmRequest:
    """Read a text, if there is one, and let flags replace its fields, each as a whole.

    `overrides` has wire names, and what was typed: texts, sequences of texts, or values; None is a flag not given.
    A problem of a flag has the flag as its source, as `flag_of` spells it.
    """
    document = Document(data={}) if text is None else _request_document(text, source)
    given = {field: value for field, value in overrides.items() if value is not None}
    _replace(document, source, given, {field: flag_of(field) for field in given})
    return _validated(document, source)


def from_form(parameters: Mapping[str, str]) -> PrewarmRequest:
    """Read the plain parameters of the Argo UI's form; an empty one means the default.

    A field may go by its name in the form or by its wire name, but not by both at once.
    """
    filled = {name: text for name, text in parameters.items() if text.strip() and name != "request"}
    names = {field: name for name, field in _FORM_FIELDS.items()}
    doubled = {
        field: name for field, name in names.items() if field != name and {field, name} <= filled.keys()
    }
    fields = {name: _FORM_FIELDS.get(name, name) for name in filled}
    given = {field: filled[name] for name, field in fields.items() if field not in doubled}
    document = Document(data={})
    _replace(document, "form", given, dict.fromkeys(given, "form"), names)
    for field, name in doubled.items():
        message = f"given twice, as {name} and as {field}; allowed: one of them"
        document.problems.append(FieldProblem("form", 0, 0, name, message))
        document.muted.add((field,))
    return _validated(document, "form", names)


def from_canonical(text: str) -> PrewarmRequest:
    """Read what `canonical_json` wrote."""
    return parse_request(text, "request")


def flag_of(field: str) -> str:
    """The flag that overrides a field: its name in kebab-case, but `--image`, and `--task-timeout` for `timeout`."""
    special = {"images": "--image", "timeout": "--task-timeout"}
    return special.get(field) or "--" + "".join(f"-{c.lower()}" if c.isupper() else c for c in field)


def canonical_json(request: PrewarmRequest) -> str:
    """A request as short JSON with sorted keys: wire names, and only what differs from the default."""
    content = request.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    content["images"] = [
        spec.model_dump(mode="json", by_alias=True, exclude_none=True) if spec.pull_policy else spec.image
        for spec in request.images
    ]
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def request_hash(request: PrewarmRequest) -> str:
    """What decides "the same request": SHA-256 over all but the name, in hex."""
    nameless = request.model_copy(update={"name": ""})
    return hashlib.sha256(canonical_json(nameless).encode()).hexdigest()


def json_schema() -> dict[str, Any]:
    """The JSON schema of a request, with wire names. An image may be just its reference."""
    schema = PrewarmRequest.model_json_schema()
    spec = schema["$defs"]["ImageSpec"]
    schema["$defs"]["ImageSpec"] = {
        "anyOf": [{"type": "string"}, spec],
        "description": spec.pop("description"),
    }
    return schema


@functools.cache
def _schema() -> dict[str, Any]:
    return json_schema()


def _request_document(text: str, source: str, *, only_json: bool = False) -> Document:
    """A text's document, with a plain list taken as the list of images."""
    document = read_document(text, source, only_json=only_json)
    if isinstance(document.data, list):
        document.data = {"images": document.data}
        document.values = {("images", *path): place for path, place in document.values.items()}
        document.keys = {("images", *path): place for path, place in document.keys.items()}
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
    """Put values from outside the text into a document, in place of what it says."""
    if not isinstance(document.data, dict):
        return
    for field, value in given.items():
        for places in (document.values, document.keys):
            for path in [path for path in places if path[:1] == (field,)]:
                del places[path]
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
    """The request of a document. Raises BadRequestError with all that is wrong.

    `names` are those under which a form knows the fields.
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
    if request is not None and (size := len(json.dumps(canonical_json(request)))) > _LARGEST_STORED:
        errors.add((), f"got a request of {size // 1024} KiB; {_TOO_LARGE}")
    if request is None or errors.found:
        raise errors.error()
    return request
