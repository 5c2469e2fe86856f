"""Sets of images, and the labels of nodes that hold them all: a pure reading of settings and Node objects.

A label `ips-flow.io/<set>` has the digest of the set's references as its value, so that workloads can prefer or
require nodes that hold just this set: another list of images is another value.
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
_DIGITS = 16  # of the digest: a label's value has room for 63


@dataclass(frozen=True, slots=True)
class ImageSet:
    """A named set of images."""

    name: str
    references: tuple[Reference, ...]

    @property
    def label(self) -> str:
        """The key of its label."""
        return PREFIX + self.name

    @property
    def digest(self) -> str:
        """The value of its label: 16 hex digits that depend on the references alone, whatever their order."""
        names = "\n".join(sorted(one.canonical for one in self.references))
        return hashlib.sha256(names.encode()).hexdigest()[:_DIGITS]


@dataclass(frozen=True, slots=True)
class ImageSets:
    """All sets of a namespace. `problems` has those that can't be read, by name: their labels are left as they are."""

    sets: tuple[ImageSet, ...] = ()
    problems: Mapping[str, str] = field(default_factory=dict)


def read_sets(data: Mapping[str, str]) -> ImageSets:
    """The sets in the data of a ConfigMap: name → a request, or a list of images, as YAML or JSON."""
    sets, problems = [], {}
    for name, text in sorted(data.items()):
        if not _NAME.fullmatch(name):
            problems[name] = (
                f"{name!r} can't be a label's name: expected at most 63 letters, digits, '-', '_' and '.'"
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
    """The changes to a node's labels: new values, and None for those to remove.

    `node` is a Node object, of which name, labels and the list of images are read.
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
    """What `label_changes` reads of a Node object, and the version that a patch carries."""
    metadata = node["metadata"]
    kept = ("name", "labels", "resourceVersion")
    return {
        "metadata": {key: metadata[key] for key in kept if key in metadata},
        "status": {"images": [{"names": one.get("names") or ()} for one in _listed(node)]},
    }


def _listed(node: Json) -> Iterable[Json]:
    return (node.get("status") or {}).get("images") or ()
