"""Collect the images of many objects, without images that the owner of an object has too, and ignored images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import lru_cache
from itertools import chain
from typing import Any, NamedTuple

from ips_flows.core.constants import LABEL_KIND, LABEL_STEP, LABEL_TASK, PREFIX
from ips_flows.core.discover.image_uses import ImageUse, Note, Pods, SourceLocation
from ips_flows.core.discover.manifests import line_of
from ips_flows.core.discover.placement import Placement, placements_of
from ips_flows.core.discover.pod_specs import (
    CONTAINERS,
    PodSpec,
    TemplateRef,
    annotations_of,
    mapping,
    mappings,
    named,
    pod_specs,
)
from ips_flows.core.images.reference import Reference, parse_reference
from ips_flows.core.k8s.names import is_dns_name
from ips_flows.core.request.types import shown

IGNORE = PREFIX + "ignore"  # "true" on an object or a pod template ignores all its images
IGNORE_IMAGES = PREFIX + "ignore-images"  # on an object or a pod template: comma-separated globs

IGNORED = "ignored by annotation"
ENDED = "ended"
OURS = "of IPS Flow itself"

_OUR_LABELS = (LABEL_KIND, LABEL_STEP, LABEL_TASK)
_PART_OF = "app.kubernetes.io/part-of"
_OVER = ("Succeeded", "Failed", "Error")
_POLICIES = ("Always", "IfNotPresent", "Never")
_BY_INJECTION = "auto"  # the image of an Istio gateway until its pod is created


class Owner(NamedTuple):
    """Identity of an object."""

    namespace: str
    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class ObjectImages:
    """Images and references of one object."""

    itself: Owner
    owner: Owner | None = None
    uses: tuple[ImageUse, ...] = ()
    notes: tuple[Note, ...] = ()
    template_refs: tuple[TemplateRef, ...] = ()
    left_out: str | None = None
    secrets: tuple[str, ...] | None = None  # pull Secrets, if the object is a ServiceAccount
    ignored: int = 0  # number of ignored images
    names: frozenset[str] = frozenset()  # all images, including ignored images


@dataclass(frozen=True, slots=True)
class Findings:
    """Result of a search: image uses in the order of the objects, notes, and the number of omissions by reason."""

    uses: tuple[ImageUse, ...]
    notes: tuple[Note, ...]
    objects: int
    left_out: Mapping[str, int]


@dataclass(slots=True)
class _Named:
    """Images of an object that may own others; `left_out` is the reason if the object was left out."""

    left_out: str | None
    images: frozenset[str]
    placements: frozenset[tuple[Placement, ...]]


def read_object(content: Mapping[str, Any], location: SourceLocation) -> ObjectImages:
    """Read the images and references of an object, without reading other objects."""
    location = named(content, location)
    itself = Owner(location.namespace, location.kind, location.name)
    if location.kind == "ServiceAccount":
        return ObjectImages(itself, secrets=tuple(_secrets(content.get("imagePullSecrets"))))
    owner = _owner(content, location.namespace)
    left_out = _left_out(content, owned=owner is not None)
    if left_out:
        return ObjectImages(itself, owner, left_out=left_out)
    if not location.kind and not mapping(content.get("spec")):
        text = "not a Kubernetes object: it has no kind"
        return ObjectImages(itself, notes=(Note(location, text, missing=True),))
    uses: list[ImageUse] = []
    notes: list[Note] = []
    template_refs: list[TemplateRef] = []
    ignored: list[str] = []
    for part in pod_specs(content, location):
        if isinstance(part, Note):
            notes.append(part)
        elif isinstance(part, TemplateRef):
            template_refs.append(part)
        elif any(_ignores(one) for one in part.annotations):
            ignored += (_identity(image) for _, image, _ in _images(part.spec, location) if image)
        else:
            ignored += _read_pod_spec(part, _movable(part.spec, content, owner), uses, notes)
    names = frozenset((*ignored, *(use.reference.identity for use in uses)))
    return ObjectImages(
        itself, owner, tuple(uses), tuple(notes), tuple(template_refs), ignored=len(ignored), names=names
    )


class Finder:
    """Collects objects in any order and returns the images of all of them."""

    def __init__(self) -> None:
        self._objects: list[ObjectImages] = []
        self._remarks: list[Note] = []

    def add_object(self, content: Mapping[str, Any], location: SourceLocation) -> None:
        """Add an object."""
        self.add(read_object(content, location))

    def add(self, one: ObjectImages) -> None:
        """Add the images of an object."""
        self._objects.append(one)

    def add_note(self, note: Note) -> None:
        """Add a note on input that could not be read."""
        self._remarks.append(note)

    def findings(self) -> Findings:
        """Return the images of all objects so far.

        An owned object adds only images that its owner does not name: a ReplicaSet those of an older revision, a pod
        those of an injected sidecar.
        """
        uses: list[ImageUse] = []
        notes: list[Note] = []
        left_out: Counter[str] = Counter()
        owners: dict[Owner, _Named] = {}
        for one in _by_level(self._objects):
            known = owners.get(one.owner) if one.owner else None
            reason = one.left_out or (known.left_out if known else None)
            placements = frozenset(use.placements for use in one.uses)
            owners[one.itself] = _Named(reason, one.names, placements)
            if reason:
                left_out[reason] += 1
                continue
            left_out[IGNORED] += one.ignored
            named_already = known.images if known else frozenset()
            fresh = [use for use in one.uses if use.reference.identity not in named_already]
            uses += (_with_owner_facts(use, one, known) for use in fresh)
            notes += one.notes
        accounts = {one.itself: one.secrets for one in self._objects if one.secrets is not None}
        objects = [one for one in self._objects if one.secrets is None]
        return Findings(
            tuple(_summed(_with_secrets(use, accounts) for use in uses)),
            tuple(dict.fromkeys([*self._remarks, *notes, *_unread(objects)])),
            len(objects),
            {reason: count for reason, count in left_out.items() if count},
        )


def _by_level(extracts: Iterable[ObjectImages]) -> Iterator[ObjectImages]:
    """Yield objects without an owner, then owned objects, then owned pods, whose owners may have owners themselves."""
    levels: tuple[list[ObjectImages], ...] = ([], [], [])
    for one in extracts:
        if one.secrets is None:
            levels[0 if one.owner is None else 2 if one.itself.kind == "Pod" else 1].append(one)
    return chain(*levels)


def _with_owner_facts(use: ImageUse, extracted: ObjectImages, known: _Named | None) -> ImageUse:
    """Return a use by an owned pod as a use by its owner; return any other use unchanged."""
    if extracted.owner is None or extracted.itself.kind != "Pod":
        return use
    location = replace(use.location, kind=extracted.owner.kind, name=extracted.owner.name)
    placements = use.placements
    if known and len(known.placements) == 1:  # not the pod's placement, which its controller may have changed
        (placements,) = known.placements
    return replace(use, location=location, placements=placements)


def _summed(uses: Iterable[ImageUse]) -> Iterator[ImageUse]:
    """Merge uses that differ only in their pods, and add up the pods."""
    same: dict[tuple[object, ...], list[ImageUse]] = {}
    for use in uses:
        key = (use.image, use.policy, use.location, use.placements, use.secrets, use.again)
        same.setdefault(key, []).append(use)
    for first, *others in same.values():
        yield replace(first, pods=_sum([first.pods, *(one.pods for one in others)])) if others else first


def _sum(counts: list[Pods]) -> Pods:
    numbers = [count for count in counts if isinstance(count, int)]
    if len(numbers) == len(counts):
        return sum(numbers)
    return counts[0] if len(set(counts)) == 1 else None


def _with_secrets(use: ImageUse, accounts: Mapping[Owner, tuple[str, ...]]) -> ImageUse:
    """Return a use with the pull Secrets of its ServiceAccount, if the pod has none itself."""
    if use.secrets:
        return use
    account = Owner(use.location.namespace, "ServiceAccount", use.account or "default")
    secrets = accounts.get(account)
    return replace(use, secrets=secrets) if secrets else use


def _unread(objects: Iterable[ObjectImages]) -> Iterator[Note]:
    there = {(one.itself.kind, one.itself.name) for one in objects}
    for one in objects:
        for template_ref in one.template_refs:
            if (template_ref.kind, template_ref.name) not in there:
                text = f"it uses {template_ref.kind} {template_ref.name}, which was not read"
                yield Note(template_ref.location, text)


def _read_pod_spec(
    pod_spec: PodSpec, spec: Mapping[str, Any], uses: list[ImageUse], notes: list[Note]
) -> list[str]:
    """Add the images of a pod spec to `uses` and `notes`; return the ignored images."""
    placements, said = placements_of(spec)
    notes += (Note(pod_spec.location, text) for text in said)
    if spec.get("runtimeClassName"):
        text = (
            f"runtimeClassName {spec['runtimeClassName']} may restrict the nodes further; it is not evaluated"
        )
        notes.append(Note(pod_spec.location, text))
    secrets = tuple(_secrets(spec.get("imagePullSecrets")))
    account = str(spec.get("serviceAccountName") or "")
    globs = [glob for one in pod_spec.annotations for glob in _globs(one)]
    ignored, seen = [], set[str]()
    for location, image, policy in _images(spec, pod_spec.location):
        reference = _parsed(image) if isinstance(image, str) else None
        if globs and isinstance(image, str) and _matches(image, reference, globs):
            ignored.append(_identity(image))
        elif isinstance(reference, Reference) and image != _BY_INJECTION:
            if placements:
                how, again = _policy(policy, reference), reference.identity in seen
                seen.add(reference.identity)
                uses.append(
                    ImageUse(reference, how, pod_spec.pods, location, placements, secrets, account, again)
                )
        elif image:
            notes.append(Note(location, _unusable(image, reference), missing=True))
        else:
            notes.append(Note(location, "it has no image"))
    return ignored


def _images(spec: Mapping[str, Any], location: SourceLocation) -> Iterator[tuple[SourceLocation, Any, Any]]:
    """Yield location, image and pull policy of each container and each image volume."""

    def at(one: Mapping[str, Any], kind: str) -> SourceLocation:
        part = f"{kind} {one['name']}" if one.get("name") else kind
        return location.part_at(
            f"{location.part}, {part}" if location.part else part, line_of(one, location.line)
        )

    for key, kind in CONTAINERS.items():
        for one in mappings(spec.get(key)):
            yield at(one, kind), one.get("image"), one.get("imagePullPolicy")
    for one in mappings(spec.get("volumes")):
        if isinstance(one.get("image"), Mapping):
            yield at(one, "volume"), one["image"].get("reference"), one["image"].get("pullPolicy")


def _policy(said: Any, reference: Reference) -> str:
    """Return the effective pull policy: the API server's default depends on the tag."""
    if said in _POLICIES:
        return str(said)
    moving = reference.tag == "latest" or (reference.tag is None and not reference.pinned)
    return "Always" if moving else "IfNotPresent"


@lru_cache(maxsize=10_000)
def _parsed(image: str) -> Reference | str:
    """Return the parsed reference, or the reason that it is invalid."""
    try:
        return parse_reference(image)
    except ValueError as error:
        return str(error)


def _identity(image: Any) -> str:
    reference = _parsed(image) if isinstance(image, str) else None
    return reference.identity if isinstance(reference, Reference) else str(image)


def _unusable(image: Any, why: Reference | str | None) -> str:
    if image == _BY_INJECTION:
        return 'image "auto" is replaced when the pod is created; add the image with --image'
    if isinstance(image, str) and "{{" in image:
        return f"image {shown(image)} is a template that was not rendered"
    return f"image: {why}" if isinstance(why, str) else f"image: got {shown(image)}; allowed: text"


def _secrets(entries: Any) -> Iterator[str]:
    """Yield the names of pull Secrets. Invalid names are skipped, as a kubelet ignores missing Secrets."""
    for entry in mappings(entries):
        name = entry.get("name")
        if isinstance(name, str) and is_dns_name(name):
            yield name


def _left_out(content: Mapping[str, Any], *, owned: bool) -> str | None:
    """Return the reason to leave an object out; None if it is included."""
    if _is_ours(content) or _is_ours(mapping(mapping(content.get("spec")).get("template"))):
        return OURS
    if _is_over(content, owned=owned):
        return ENDED
    return IGNORED if _ignores(annotations_of(content)) else None


def _is_ours(one: Mapping[str, Any]) -> bool:
    """Return whether an object or a pod template belongs to IPS Flow."""
    labels = mapping(mapping(one.get("metadata")).get("labels"))
    return labels.get(_PART_OF) == "ips-flow" or any(label in labels for label in _OUR_LABELS)


def _ignores(annotations: Mapping[str, Any]) -> bool:
    return str(annotations.get(IGNORE, "")).lower() == "true"


def _globs(annotations: Mapping[str, Any]) -> list[str]:
    text = annotations.get(IGNORE_IMAGES)
    return [glob.strip() for glob in text.split(",") if glob.strip()] if isinstance(text, str) else []


def _matches(image: str, reference: Reference | str | None, globs: Iterable[str]) -> bool:
    spellings = [image]
    if isinstance(reference, Reference):
        spellings.append(reference.canonical)
    return any(fnmatchcase(spelling, glob) for glob in globs for spelling in spellings)


def _owner(content: Mapping[str, Any], namespace: str) -> Owner | None:
    """Return the controller of an object. A node, which owns its static pods, does not count."""
    for one in mappings(mapping(content.get("metadata")).get("ownerReferences")):
        if one.get("controller") is True and one.get("kind") != "Node":
            return Owner(namespace, str(one.get("kind")), str(one.get("name")))
    return None


def _is_over(content: Mapping[str, Any], *, owned: bool) -> bool:
    """Return whether an object creates no more pods."""
    kind, status = content.get("kind"), mapping(content.get("status"))
    if kind in ("Pod", "Workflow"):
        return status.get("phase") in _OVER
    if kind == "Job":
        return any(
            one.get("type") in ("Complete", "Failed") and one.get("status") == "True"
            for one in mappings(status.get("conditions"))
        )
    return kind == "ReplicaSet" and owned and mapping(content.get("spec")).get("replicas") == 0


def _movable(spec: Mapping[str, Any], content: Mapping[str, Any], owner: Owner | None) -> Mapping[str, Any]:
    """Return a pod's spec without the fields that bind this pod to its node, because the next pod may run elsewhere."""
    if content.get("kind") != "Pod" or not (owner or mapping(content.get("status")).get("phase")):
        return spec
    owners = mappings(mapping(content.get("metadata")).get("ownerReferences"))
    if any(one.get("kind") == "Node" for one in owners):  # a static pod always runs on its node
        return spec
    kept = {key: value for key, value in spec.items() if key != "nodeName"}
    if owner and owner.kind == "DaemonSet":
        kept.pop("affinity", None)  # the DaemonSet controller replaced it with the node's name
    return kept
