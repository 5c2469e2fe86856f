"""Properties of requests, image references and selectors, tested with generated values."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ips_flows.core.errors import BadRequestError
from ips_flows.core.images.reference import parse_reference
from ips_flows.core.k8s.names import is_label_key, is_label_value
from ips_flows.core.k8s.selectors import parse_selector
from ips_flows.core.request.model import (
    PrewarmRequest,
    canonical_json,
    from_canonical,
    parse_request,
    request_hash,
)

# -- requests ----------------------------------------------------------------------------------------------

names = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,8}[a-z0-9])?", fullmatch=True)
label_keys = st.from_regex(
    r"([a-z]{1,8}\.example/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,8}[A-Za-z0-9])?", fullmatch=True
)
label_values = st.from_regex(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,8}[A-Za-z0-9])?)?", fullmatch=True)
labels = st.dictionaries(label_keys, label_values, max_size=4)
percentages = st.integers(1, 100).map("{}%".format)
policies = st.sampled_from(["IfNotPresent", "Always"])
few_names = st.lists(names, max_size=4, unique=True)
image_names = st.from_regex(
    r"([a-z]{1,5}\.io(:5000)?/)?[a-z]{1,6}(/[a-z0-9]{1,6})?(:[A-Za-z0-9]{1,5})?", fullmatch=True
)
image_specs = image_names | st.fixed_dictionaries({"image": image_names}, optional={"pullPolicy": policies})
tolerations = st.fixed_dictionaries(
    {"key": label_keys},
    optional={
        "value": label_values,
        "effect": st.sampled_from(["NoSchedule", "PreferNoSchedule", "NoExecute"]),
    },
)


def identity(spec: Any) -> str:
    return parse_reference(spec if isinstance(spec, str) else spec["image"]).identity


FIELDS: Mapping[str, st.SearchStrategy[Any]] = {
    "batchSize": st.integers(1, 1000) | percentages,
    "priority": st.integers(1, 10),
    "nodeSelector": labels,
    "nodes": few_names,
    "selector": st.sampled_from(["", "a", "disk=ssd,!gpu", "zone in (a,b)"]),
    "excludeNodes": few_names,
    "includeCordoned": st.booleans(),
    "tolerations": st.lists(tolerations, max_size=3),
    "maxRetries": st.integers(0, 5),
    "retryStrategy": st.sampled_from(["linear", "exponential"]),
    "retryDelay": st.integers(1, 300),
    "webhookUrl": st.sampled_from(["", "https://hooks.example/x?y=z&w=1#f", "http://[::1]:8080/é"]),
    "webhookSecretName": names,
    "webhookFormat": st.sampled_from(["json", "cloudevents", "slack", "dingtalk"]),
    "pullSecrets": few_names,
    "pullPolicy": policies,
    "waves": st.lists(st.integers(1, 500), max_size=5, unique=True).map(sorted)
    | percentages.map(lambda one: [one]),
    "order": st.sampled_from(["rolling", "batch"]),
    "maxFailedNodes": st.integers(0, 100) | percentages,
    "timeout": st.sampled_from(["2h", "1d", "10m"]),
    "nodeTimeout": st.sampled_from(["10s", "5m", "90s"]),
    "name": names,
    "labels": labels,
}
OPTIONAL = {
    field.alias or name: FIELDS[field.alias or name]
    for name, field in PrewarmRequest.model_fields.items()
    if name != "images"
}
documents = st.fixed_dictionaries(
    {"images": st.lists(image_specs, min_size=1, max_size=4, unique_by=identity)}, optional=OPTIONAL
)


def block(document: Mapping[str, Any]) -> str:
    """Format a document as YAML in block style, with texts in single quotes."""

    def scalar(value: Any) -> str:
        if isinstance(value, str):
            return "'" + value.replace("'", "''") + "'"
        return json.dumps(value)

    def lines(value: Any, indent: str) -> list[str]:
        if isinstance(value, dict) and value:
            return [
                line
                for key, item in value.items()
                for line in ([f"{indent}{scalar(key)}:", *lines(item, indent + "  ")])
            ]
        if isinstance(value, list) and value:
            return [line for item in value for line in (f"{indent}-", *lines(item, indent + "  "))]
        return [indent + scalar(value)]

    return "\n".join(lines(document, "")) + "\n"


@given(documents)
def test_every_field_is_generated_and_survives_storage(document: dict[str, Any]) -> None:
    """A valid request is read back from its canonical form unchanged, and has exactly one canonical form."""
    assert set(FIELDS) | {"images"} == {
        field.alias or name for name, field in PrewarmRequest.model_fields.items()
    }
    request = parse_request(json.dumps(document))
    stored = canonical_json(request)
    assert from_canonical(stored) == request
    assert canonical_json(from_canonical(stored)) == stored
    assert "{{" not in stored


@given(documents, st.randoms(use_true_random=False))
def test_the_spelling_does_not_matter(document: dict[str, Any], chance: Any) -> None:
    """YAML, JSON with any order and spaces, and nulls for omitted fields give the same request and hash."""
    wanted = parse_request(json.dumps(document))
    shuffled = list(document.items()) + [(name, None) for name in OPTIONAL if name not in document]
    chance.shuffle(shuffled)
    for text in (block(document), json.dumps(dict(shuffled), indent=chance.choice([None, 1, "\t"]))):
        assert parse_request(text) == wanted
        assert request_hash(parse_request(text)) == request_hash(wanted)


@given(documents, documents)
def test_different_requests_have_different_hashes(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Two requests have the same hash exactly if all fields except the name are equal."""
    first, second = (parse_request(json.dumps(document)) for document in (one, other))
    nameless = [request.model_copy(update={"name": ""}) for request in (first, second)]
    assert (request_hash(first) == request_hash(second)) == (nameless[0] == nameless[1])


FRAGMENTS = st.sampled_from(
    [*"{}[]:,-?&*!|>'\"%@`#~ \n\t\0\x1b", "{{", "images", "nodes: ", "a", "- ", "\\ud800", ".nan"]
)
texts = st.text(max_size=60) | st.lists(FRAGMENTS, max_size=25).map("".join)
junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
wrong = st.dictionaries(st.sampled_from(["images", *FIELDS]), junk, max_size=4) | junk


@given(
    texts
    | wrong.map(json.dumps)
    | st.tuples(texts, texts).map(lambda two: f"images: [a]\n{two[0]}: {two[1]}")
)
def test_any_text_is_a_request_or_rejected(text: str) -> None:
    """Any text is a request or raises BadRequestError with printable lines, and no other exception."""
    try:
        request = parse_request(text, "f")
    except BadRequestError as error:
        lines = error.message.split("\n")
    else:
        assert from_canonical(canonical_json(request)) == request
        return
    assert all(line.isprintable() and line.startswith("f:") for line in lines)


# -- image references --------------------------------------------------------------------------------------

# github.com/distribution/reference, regexp.go and normalize.go
_COMPONENT = r"[a-z0-9]+(?:(?:[._]|__|[-]+)[a-z0-9]+)*"
_HOST_PART = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_DOMAIN = rf"(?:{_HOST_PART}(?:\.{_HOST_PART})*|\[(?:[a-fA-F0-9:]+)\])(?::[0-9]+)?"
_DIGEST = r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*[:][0-9a-fA-F]{32,}"
_REFERENCE = re.compile(
    rf"((?:({_DOMAIN})/)?({_COMPONENT}(?:/{_COMPONENT})*))(?::([\w][\w.-]{{0,127}}))?(?:@({_DIGEST}))?",
    re.ASCII,
)
_HEX = {"sha256": 64, "sha384": 96, "sha512": 128}

Parts = tuple[str, str, str | None, str | None]


def reference_oracle(text: str) -> Parts | None:
    """Return the result of ParseNormalizedNamed for a text: domain, path, tag and digest."""
    if re.fullmatch(r"[a-f0-9]{64}", text):
        return None
    head, slash, rest = text.partition("/")
    domain, remainder = "docker.io", text
    if slash and head == "index.docker.io":
        remainder = rest
    elif slash and (head == "localhost" or set(".:") & set(head) or head.lower() != head):
        domain, remainder = head, rest
    if domain == "docker.io" and "/" not in remainder:
        remainder = f"library/{remainder}"
    match = _REFERENCE.fullmatch(f"{domain}/{remainder}")
    if not match or len(match[1]) > 255:
        return None
    tag, digest = match[4], match[5]
    if digest:
        algorithm, _, value = digest.partition(":")
        if len(value) != _HEX.get(algorithm) or value != value.lower():
            return None
    return domain, match[1].removeprefix(f"{domain}/"), tag, digest


def stricter(text: str) -> bool:
    """Return whether IPS Flow rejects a text that distribution accepts: an invalid port, or an image ID with a tag."""
    host = text.partition("/")[0]
    port = re.search(r":([0-9]+)$", host) if "/" in text else None
    return bool(port and not 1 <= int(port[1]) <= 65535) or bool(re.match(r"[a-f0-9]{64}[:@]", text))


hosts = st.sampled_from(
    [
        "",
        "",
        "docker.io/",
        "index.docker.io/",
        "localhost/",
        "localhost:5000/",
        "MyHost/",
        "x.io/",
        "[::1]:5000/",
        "x.io:0/",
    ]
)
paths = st.from_regex(r"[a-z0-9]{1,4}(([._]|__|-{1,3})[a-z0-9]{1,3})?(/[a-z0-9]{1,4}){0,2}", fullmatch=True)
tags = st.just("") | st.from_regex(r":[A-Za-z0-9_][A-Za-z0-9_.-]{0,6}", fullmatch=True)
digests = st.sampled_from(
    [
        "",
        "",
        "@sha256:" + "0a" * 32,
        "@sha512:" + "0a" * 64,
        "@sha256:" + "0A" * 32,
        "@md5:" + "0" * 32,
        "@sha256:" + "0" * 32,
    ]
)
likely = st.tuples(hosts, paths, tags, digests).map("".join)


@st.composite
def near_references(draw: st.DrawFn) -> str:
    """Generate a likely reference with one character inserted, removed or replaced."""
    text = draw(likely)
    at = draw(st.integers(0, len(text) - 1))
    put_in: str = draw(st.sampled_from(["", *"aA0._-/:@[]{}é \n"]))
    return text[:at] + put_in + text[at + draw(st.integers(0, 1)) :]


@given(likely | near_references() | st.text("aA0._-/:@[]", max_size=12))
def test_references_are_those_of_distribution(text: str) -> None:
    """Parsing agrees with distribution/reference on validity and parts."""
    oracle = reference_oracle(text)
    try:
        mine = parse_reference(text)
    except ValueError:
        assert oracle is None or stricter(text), text
    else:
        assert (mine.registry, mine.repository, mine.tag, mine.digest) == oracle


@given(likely)
def test_a_reference_is_known_by_all_its_names(text: str) -> None:
    """The canonical spelling is stable, and each name of the image on a node has the image's identity."""
    if reference_oracle(text) is None or stricter(text):
        return
    reference = parse_reference(text)
    again = parse_reference(reference.canonical)
    assert (again.canonical, again.identity, again.names()) == (
        reference.canonical,
        reference.identity,
        reference.names(),
    )
    assert reference.canonical in reference.names()
    for name in reference.names():
        assert parse_reference(name).identity == reference.identity


# -- label selectors ---------------------------------------------------------------------------------------

_WORD = r"([^\s=!(),<>]+)"
_CLAUSES = {
    "absent": re.compile(rf"\s*!\s*{_WORD}\s*"),
    "present": re.compile(rf"\s*{_WORD}\s*"),
    "equal": re.compile(rf"\s*{_WORD}\s*(==?|!=)\s*{_WORD}?\s*"),
    "set": re.compile(rf"\s*{_WORD}\s+(in|notin)\s*\(([^()=!<>]*)\)\s*"),
}


def selector_oracle(text: str, labels: Mapping[str, str]) -> bool | None:
    """Return whether labels match a selector, by regular expressions on clauses; None if it is invalid."""
    if not text.strip():
        return True
    verdicts = [_clause(clause, labels) for clause in re.split(r",(?![^(]*\))", text)]
    return None if None in verdicts else all(verdicts)


def _clause(text: str, labels: Mapping[str, str]) -> bool | None:
    for kind, pattern in _CLAUSES.items():
        match = pattern.fullmatch(text)
        if not match:
            continue
        key = match[1]
        if not is_label_key(key):
            return None
        if kind in ("absent", "present"):
            return (key in labels) == (kind == "present")
        values = [match[3] or ""] if kind == "equal" else [value.strip() for value in match[3].split(",")]
        if not all(is_label_value(value) for value in values) or (kind == "set" and not match[3].strip()):
            return None
        holds = key in labels and labels[key] in values
        return holds != (match[2] in ("!=", "notin"))
    return None


some_labels = st.dictionaries(
    st.sampled_from(["a", "b", "in", "x.io/c"]), st.sampled_from(["", "1", "2", "in"])
)
tokens = st.sampled_from(
    ["a", "b", "in", "notin", "x.io/c", "1", "2", "-", " ", " ", "=", "==", "!=", "!", ",", "(", ")"]
)
clauses = st.one_of(
    st.sampled_from(["a", "!b", "in", "! x.io/c", "a=1", "b == 2", "in!=in", "a=", "x.io/c notin ()"]),
    st.builds(
        "{} {} ({})".format,
        st.sampled_from(["a", "b", "in"]),
        st.sampled_from(["in", "notin"]),
        st.lists(st.sampled_from(["1", " 2", "in ", ""]), min_size=1, max_size=3).map(",".join),
    ),
)


@given(st.lists(clauses, max_size=4).map(",".join) | st.lists(tokens, max_size=10).map("".join), some_labels)
def test_selectors_agree_with_a_second_parser(text: str, labels: dict[str, str]) -> None:
    """The parser and the oracle agree on validity and on matches."""
    wanted = selector_oracle(text, labels)
    try:
        selector = parse_selector(text)
    except ValueError:
        assert wanted is None, text
    else:
        assert selector.matches(labels) is wanted, text
