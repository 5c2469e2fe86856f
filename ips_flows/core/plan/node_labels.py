"""Image sets, and the labels of nodes that have all images of a set. All functions are pure.

The value of the label `ips-flow.io/<set>` is a digest of the set's references, so that workloads can prefer or require
nodes with exactly this set. A set with other images has another value.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ips_flows.core.constants import PREFIX
from ips_flows.core.errors import BadRequestError
from ips_flows.core.images.reference import Reference, parse_reference
from ips_flows.core.k8s.objects import Json
from ips_flows.core.plan.node import read_node
from ips_flows.core.request.model import parse_request

_NAME = re.compile(r"[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_DIGITS = 16  # hex digits of the digest; a label value has at most 63 characters


@dataclass(frozen=True, slots=True)
class ImageSet:
    """A named set of images."""

    name: str
    references: tuple[Reference, ...]

    @property
    def label(self) -> str:
        """The key of the set's label."""
        return PREFIX + self.name

    @property
    def digest(self) -> str:
        """The value of the set's label: 16 hex digits that depend only on the references, in any order."""
        names = "\n".join(sorted(one.canonical for one in self.references))
        return hashlib.sha256(names.encode()).hexdigest()[:_DIGITS]


@dataclass(frozen=True, slots=True)
class ImageSets:
    """All sets of a namespace. `problems` maps names of invalid sets to messages; labels of these sets are not changed."""

    sets: tuple[ImageSet, ...] = ()
    problems: Mapping[str, str] = field(default_factory=dict)


def read_sets(data: Mapping[str, str]) -> ImageSets:
    """Read the sets in the data of a ConfigMap: name → a request or a list of images, as YAML or JSON."""
    sets, problems = [], {}
    for name, text in sorted(data.items()):
        if not _NAME.fullmatch(name):
            problems[name] = (
                f"{name!r} is not a valid label name; expected at most 63 letters, digits, '-', '_' and '.'"
            )
            continue
        try:
            request = parse_request(text, name)
        except BadRequestError as error:
            problems[name] = error.message
            continue
        sets.append(ImageSet(name, tuple(parse_reference(one.image) for one in request.images)))
    return ImageSets(tuple(sets), problems)


def label_changes(node: Json, sets: ImageSets) -> dict[str, str | None]:
    """Return the changes to a node's labels: new values, and None for labels to remove.

    `node` is a Node object; its name, labels and image list are used.
    """
    facts = read_node(node)
    wanted = {
        one.label: one.digest
        for one in sets.sets
        if all(facts.image(reference) is not None for reference in one.references)
    }
    left = {PREFIX + name for name in sets.problems}
    stale = (key for key in facts.labels if key.startswith(PREFIX) and key not in wanted and key not in left)
    fresh = {key: value for key, value in wanted.items() if facts.labels.get(key) != value}
    return {**dict.fromkeys(stale, None), **fresh}


def trim_node(node: Json) -> Json:
    """Return the fields of a Node object that `label_changes` uses, and the resourceVersion for a patch."""
    metadata = node["metadata"]
    kept = ("name", "labels", "resourceVersion")
    return {
        "metadata": {key: metadata[key] for key in kept if key in metadata},
        "status": {"images": [{"names": one.get("names") or ()} for one in _listed(node)]},
    }


def _listed(node: Json) -> Iterable[Json]:
    return (node.get("status") or {}).get("images") or ()
