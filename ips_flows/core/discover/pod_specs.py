"""Find the pod specs of an object, at any depth, and the templates of Argo Workflows."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ips_flows.core.discover.image_uses import EACH_NODE, Note, Pods, SourceLocation
from ips_flows.core.discover.manifests import Located, line_of, read_manifests
from ips_flows.core.request.types import shown

ObjectMap = Mapping[str, Any]

CONTAINERS = {
    "containers": "container",
    "initContainers": "init container",
    "ephemeralContainers": "ephemeral container",
}
_DEEPEST = 100
_MOST_VALUES = 200_000
_REPLICATED = ("Deployment", "StatefulSet", "ReplicaSet", "ReplicationController")
_WORKFLOWS = ("Workflow", "WorkflowTemplate", "ClusterWorkflowTemplate", "CronWorkflow")
_OF_CHARTS = ("HelmRelease", "HelmChart", "Application", "ApplicationSet", "Kustomization")
_FILLED_IN = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
_NOT_PLAIN = re.compile(r"[^A-Za-z0-9_.-]+")
_HOLDING = ("spec", "template", "jobTemplate", *CONTAINERS, "volumes")
_PLACING = ("image", "nodeSelector", "affinity", "tolerations", "nodeName")


@dataclass(frozen=True, slots=True)
class PodSpec:
    """Identical pods: their spec, the annotations of the object and of the pod template, and the number of pods."""

    location: SourceLocation
    spec: ObjectMap
    annotations: tuple[ObjectMap, ...]
    pods: Pods


@dataclass(frozen=True, slots=True)
class TemplateRef:
    """A reference of an object to the templates of another object: (kind, name)."""

    location: SourceLocation
    kind: str
    name: str


Part = PodSpec | Note | TemplateRef


def pod_specs(content: ObjectMap, location: SourceLocation) -> Iterator[Part]:
    """Yield the pods that an object creates, with notes on parts that may create pods. `location` is the object's."""
    try:
        yield from _Walk().of_object(content, location)
    except _TooMuchError as error:
        yield Note(location, f"only partly read: {error}", missing=True)


def annotations_of(value: Any) -> ObjectMap:
    """Return the annotations of an object or a pod template."""
    return mapping(mapping(mapping(value).get("metadata")).get("annotations"))


def mapping(value: Any) -> ObjectMap:
    """Return a value that should be a mapping; an empty mapping if it is not."""
    return value if isinstance(value, Mapping) else {}


def mappings(value: Any) -> list[ObjectMap]:
    """Return the mappings in a value that should be a list of mappings."""
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []


def named(content: ObjectMap, location: SourceLocation) -> SourceLocation:
    """Return a location with the kind and name of an object."""
    metadata = mapping(content.get("metadata"))
    return SourceLocation(
        location.source,
        line_of(content, location.line),
        _text(metadata.get("namespace")) or location.namespace,
        _text(content.get("kind")),
        _text(metadata.get("name")) or _text(metadata.get("generateName")),
        location.part,
    )


class _TooMuchError(Exception):
    """An object is too large or endless, for example because of a YAML alias."""


class _Walk:
    """Walks through one object, which may contain others."""

    def __init__(self) -> None:
        self._visited = 0

    def of_object(self, content: ObjectMap, location: SourceLocation, depth: int = 0) -> Iterator[Part]:
        location = named(content, location)
        version = _text(content.get("apiVersion"))
        group = version.rpartition("/")[0]
        if group == "argoproj.io" and location.kind in _WORKFLOWS:
            yield from self._workflow(content, location, depth)
            return
        if "." in group and location.kind in _OF_CHARTS:
            yield Note(
                location, "its images are known only after rendering; use the rendered manifests instead"
            )
        custom = not version or ("." in group and not group.endswith(".k8s.io"))
        rest = {key: value for key, value in content.items() if key not in ("metadata", "status")}
        yield from self._inside(rest, location, _Chain(custom, (content,)), depth)

    def _inside(
        self, value: ObjectMap | list[Any], location: SourceLocation, chain: _Chain, depth: int
    ) -> Iterator[Part]:
        self._visited += 1
        if self._visited > _MOST_VALUES or depth > _DEEPEST:
            most = f"{_MOST_VALUES} values" if self._visited > _MOST_VALUES else f"{_DEEPEST} levels"
            raise _TooMuchError(f"it has more than {most}")
        if isinstance(value, list):
            for item in value:
                yield from self._one(item, location, chain, depth + 1)
            return
        yield from _left_open(value, location)
        within = value
        if _is_pod_spec(value):
            yield PodSpec(
                location.part_at(location.part, line_of(value, location.line)),
                value,
                (annotations_of(chain.holders[0]), annotations_of(chain.holders[-1])),
                chain.pods(location.kind, value),
            )
            if not chain.custom:
                return
            within = {key: one for key, one in value.items() if key not in (*CONTAINERS, "volumes")}
        image = within.get("image")
        if chain.custom and isinstance(image, str) and image:
            yield Note(
                replace(location, line=line_of(value, location.line)),
                f"image {shown(image)} is not in a pod template, so it is skipped;"
                " if pods use it, add it with --image",
            )
        below = chain.below(value)
        for item in within.values():
            yield from self._one(item, location, below, depth + 1)

    def _one(self, value: Any, location: SourceLocation, chain: _Chain, depth: int) -> Iterator[Part]:
        if _is_object(value):
            yield from self.of_object(value, location, depth)
        elif isinstance(value, Mapping | list):
            yield from self._inside(value, location, chain, depth)

    def _workflow(self, content: ObjectMap, location: SourceLocation, depth: int) -> Iterator[Part]:
        spec = mapping(content.get("spec"))
        spec = mapping(spec.get("workflowSpec")) if location.kind == "CronWorkflow" else spec
        yield from _left_open(spec, location)
        if "workflowTemplateRef" in spec:
            yield from _template_ref(spec["workflowTemplateRef"], location)
        yield from _patched(spec, location)
        about = (annotations_of(content), annotations_of({"metadata": spec.get("podMetadata")}))
        defaults = mapping(spec.get("templateDefaults"))
        for template in self._templates(mappings(spec.get("templates")), depth):
            name = _text(template.get("name"))
            at = replace(
                location, part=f"template {name}" if name else "", line=line_of(template, location.line)
            )
            if isinstance(template.get("templateRef"), Mapping):
                yield from _template_ref(template["templateRef"], at)
                continue
            yield from _left_open(template, at)
            yield from _patched(template, at)
            whole = {**defaults, **template}
            manifest = mapping(whole.get("resource")).get("manifest")
            if isinstance(manifest, str):
                yield from self._embedded(manifest, at, depth)
            made = _as_pod_spec(spec, defaults, template, whole)
            if made:
                yield PodSpec(at, made, (*about, annotations_of(template)), None)

    def _templates(self, templates: list[ObjectMap], depth: int) -> Iterator[ObjectMap]:
        """Yield templates, the inline templates of their steps and tasks, and references to templates of other objects."""
        for template in templates:
            self._visited += 1
            if self._visited > _MOST_VALUES or depth > _DEEPEST:
                raise _TooMuchError("it has too many templates")
            yield template
            groups = template.get("steps")
            steps = [step for group in groups for step in mappings(group)] if isinstance(groups, list) else []
            for step in [*steps, *mappings(mapping(template.get("dag")).get("tasks"))]:
                if isinstance(step.get("inline"), Mapping):
                    inline = {"name": step.get("name"), **step["inline"]}
                    line = line_of(step["inline"], 0)
                    yield from self._templates([Located.at_line(inline, line)], depth + 1)
                elif isinstance(step.get("templateRef"), Mapping):
                    yield {"templateRef": step["templateRef"]}

    def _embedded(self, manifest: str, location: SourceLocation, depth: int) -> Iterator[Part]:
        """Yield the pods of objects that a step creates."""
        objects = list(read_manifests(manifest, location.source, line=location.line))
        if "{{" in manifest and any(isinstance(one, Note) for one in objects):
            # Argo replaces placeholders in the text; before that it need not be valid YAML.
            objects = list(
                read_manifests(_FILLED_IN.sub(_as_text, manifest), location.source, line=location.line)
            )
        for found in objects:
            if isinstance(found, Note):
                text = "it has placeholders" if "{{" in manifest else found.text
                if "image" in manifest or "{{" in manifest:
                    yield Note(location, f"its manifest can't be read: {text}", missing=True)
            else:
                yield from self.of_object(found.content, replace(location, part=""), depth + 1)


@dataclass(frozen=True, slots=True)
class _Chain:
    """The mappings around a value, from its object inwards. `custom` is True if the object's kind is not built in."""

    custom: bool
    holders: tuple[ObjectMap, ...]

    def below(self, holder: ObjectMap) -> _Chain:
        return _Chain(self.custom, (*self.holders, holder))

    def pods(self, kind: str, spec: ObjectMap) -> Pods:
        """Return the number of pods of a spec below these mappings."""
        innermost = self.holders[-2] if len(self.holders) > 1 else {}
        if kind == "DaemonSet":
            return EACH_NODE
        if kind == "Pod":
            return 1
        if not self.custom and kind in _REPLICATED:
            return _number(innermost.get("replicas", 1))
        if not self.custom and kind in ("Job", "CronJob"):
            parallel = _number(innermost.get("parallelism", 1))
            needed = _number(innermost.get("completions", parallel))
            return None if parallel is None or needed is None else min(parallel, needed)
        said = [
            one[key] for one in (*self.holders, spec) for key in ("replicas", "parallelism") if key in one
        ]
        return _number(said[0]) if len(said) == 1 else None


def _is_pod_spec(value: ObjectMap) -> bool:
    return any("image" in one or "name" in one for key in CONTAINERS for one in mappings(value.get(key)))


def _left_open(value: ObjectMap, location: SourceLocation) -> Iterator[Note]:
    """Yield notes on fields for pods or their placement that consist of an unrendered template."""
    for keys, missing in ((_HOLDING, True), (_PLACING[1:], False)):
        for key in keys:
            found = value.get(key)
            texts = [one for one in (found if isinstance(found, list) else [found]) if isinstance(one, str)]
            if any("{{" in text for text in texts):
                at = location.part_at(location.part, line_of(value, location.line))
                yield Note(at, f"{key} is a template that was not rendered", missing=missing)


def _is_object(value: Any) -> bool:
    return (
        isinstance(value, Mapping)
        and isinstance(value.get("apiVersion"), str)
        and isinstance(value.get("kind"), str)
        and (isinstance(value.get("spec"), Mapping) or isinstance(value.get("metadata"), Mapping))
    )


def _as_pod_spec(
    spec: ObjectMap, defaults: ObjectMap, template: ObjectMap, whole: ObjectMap
) -> dict[str, Any]:
    """Return an Argo template as a pod's spec; an empty spec if it runs no pod of its own."""
    containers: list[ObjectMap] = [
        Located.at_line(
            {"name": "main", **mapping(defaults.get(kind)), **template[kind]}, line_of(template[kind], 0)
        )
        for kind in ("container", "script")
        if isinstance(template.get(kind), Mapping)
    ]
    containers += mappings(mapping(template.get("containerSet")).get("containers"))
    if not containers:
        return {}
    selector = {**mapping(defaults.get("nodeSelector")), **mapping(template.get("nodeSelector"))}
    volumes = [*mappings(spec.get("volumes")), *mappings(whole.get("volumes"))]
    return {
        "containers": [*containers, *mappings(whole.get("sidecars"))],
        "initContainers": whole.get("initContainers"),
        "volumes": volumes,
        # Each of these overrides the Workflow's field, if it is set.
        "nodeSelector": selector or spec.get("nodeSelector"),
        "affinity": whole.get("affinity") or spec.get("affinity"),
        "tolerations": whole.get("tolerations") or spec.get("tolerations"),
        "imagePullSecrets": spec.get("imagePullSecrets"),
        "serviceAccountName": whole.get("serviceAccountName") or spec.get("serviceAccountName"),
    }


def _template_ref(value: Any, location: SourceLocation) -> Iterator[TemplateRef]:
    name = _text(mapping(value).get("name"))
    if name:
        cluster = mapping(value).get("clusterScope") is True
        yield TemplateRef(location, "ClusterWorkflowTemplate" if cluster else "WorkflowTemplate", name)


def _as_text(match: re.Match[str]) -> str:
    """Replace a placeholder by text that is valid YAML, but no valid label, number or image."""
    return "_{{" + _NOT_PLAIN.sub(" ", match[1]) + "}}_"


def _patched(value: ObjectMap, location: SourceLocation) -> Iterator[Note]:
    patch = value.get("podSpecPatch")
    if isinstance(patch, str) and any(word in patch for word in _PLACING):
        yield Note(location, "podSpecPatch is not evaluated; it may change images and nodes")


def _number(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
