from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from ips_flows.core.errors import BadRequestError
from ips_flows.core.request.fields import flag_of
from ips_flows.core.request.model import (
    ImageSpec,
    PrewarmRequest,
    Toleration,
    canonical_json,
    from_canonical,
    from_form,
    json_schema,
    merge_overrides,
    parse_request,
    request_hash,
)
from tests.support.paths import EXAMPLES

EXAMPLE = EXAMPLES / "images.yaml"
SHA = "sha256:" + "ab" * 32


def problems_of(read: Callable[..., PrewarmRequest], *arguments: Any) -> list[str]:
    with pytest.raises(BadRequestError) as caught:
        read(*arguments)
    return str(caught.value).split("\n")


def test_defaults() -> None:
    """A request needs only its images; the defaults are those of the documentation."""
    request = parse_request("images: [busybox]")
    assert request.model_dump(by_alias=True) == {
        "images": ({"image": "busybox", "pullPolicy": None},),
        "batchSize": 10,
        "priority": 5,
        "nodeSelector": {},
        "nodes": (),
        "selector": "",
        "excludeNodes": (),
        "includeCordoned": False,
        "tolerations": None,
        "maxRetries": 0,
        "retryStrategy": "linear",
        "retryDelay": 30,
        "webhookUrl": "",
        "webhookSecretName": "",
        "webhookFormat": "json",
        "pullSecrets": (),
        "pullPolicy": "IfNotPresent",
        "waves": (),
        "order": "rolling",
        "maxFailedNodes": 0,
        "timeout": "2h",
        "nodeTimeout": "10m",
        "name": "",
        "labels": {},
    }
    assert (request.node_timeout_seconds, request.timeout_seconds) == (600, 7200)


def test_a_plain_list_is_a_request() -> None:
    """A text that is a list is the list of images; its problems are in `images`."""
    assert parse_request("- a\n- {image: b, pullPolicy: Always}").images == (
        ImageSpec(image="a"),
        ImageSpec(image="b", pull_policy="Always"),
    )
    assert problems_of(parse_request, "- a\n- B\n- *x", "f.yaml") == [
        'f.yaml:2:3: images[1]: got "B"; allowed: a repository in lower case: "b"',
        "f.yaml:3:3: images[2]: got the alias *x; allowed: the value itself",
    ]


def test_all_problems_at_once_in_the_order_of_the_text() -> None:
    """Parsing reports all problems in the order of the text."""
    text = """\
images:
  - busybox
  - 1.0
  - docker.io/library/busybox:latest
  - {image: Foo, pullPolicy: Sometimes}
  - {img: a}
batchSize: 0
batch-size: 3
nodeSelector: {a: yes, b: 1, "c d": x, e: "{{x}}"}
nodeTimeout: 3h
batchSize: 5000
"""
    assert problems_of(parse_request, text, "images.yaml") == [
        'images.yaml:3:5: images[1]: got the number 1.0; allowed: text; put it in quotes: "1.0"',
        (
            'images.yaml:4:5: images[2]: duplicate image "docker.io/library/busybox:latest", the same as "busybox"'
        ),
        'images.yaml:5:13: images[3].image: got "Foo"; allowed: a repository in lower case: "foo"',
        'images.yaml:5:30: images[3].pullPolicy: got "Sometimes"; allowed: IfNotPresent or Always',
        (
            "images.yaml:6:5: images[4].image: missing; needed: an image reference such as"
            ' "registry.example.com/team/app:1.2"'
        ),
        "images.yaml:6:6: images[4].img: unknown field; did you mean 'image'?",
        "images.yaml:8:1: batch-size: unknown field; did you mean 'batchSize'?",
        'images.yaml:9:27: nodeSelector.b: got the number 1; allowed: text; put it in quotes: "1"',
        'images.yaml:9:30: nodeSelector["c d"]: got "c d"; allowed: a label key such as "disk" or "example.com/disk"',
        'images.yaml:9:43: nodeSelector.e: got "{{x}}"; allowed: text without "{{", which Argo would expand',
        'images.yaml:10:14: nodeTimeout: got "3h"; allowed: at most timeout, which is "2h"',
        "images.yaml:11:1: batchSize: duplicate key, first used in line 7",
        'images.yaml:11:12: batchSize: got 5000; allowed: a number from 1 to 1000, or a percentage such as "10%"',
    ]


SIZE = 'a number from 1, or a percentage from "1%" to "100%"'
WINDOW = 'a number from 1 to 1000, or a percentage such as "10%"'
LABEL_VALUE = "a label value: letters, digits, '-', '_' and '.', at most 63"
NAME = "a name of lower-case letters, digits and '-', at most 52, with a letter or digit at both ends"


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("batchSize: 1001", f"batchSize: got 1001; allowed: {WINDOW}"),
        ("batchSize: 0%", f'batchSize: got "0%"; allowed: {WINDOW}'),
        ("batchSize: 101%", f'batchSize: got "101%"; allowed: {WINDOW}'),
        ("batchSize: true", f"batchSize: got true; allowed: {WINDOW}"),
        ("batchSize: 5.0", f"batchSize: got 5.0; allowed: {WINDOW}"),
        ("batchSize: '5'", f'batchSize: got "5"; allowed: {WINDOW}'),
        ("batchSize: " + "9" * 25, f"batchSize: got {'9' * 25}; allowed: {WINDOW}"),
        ("priority: 0", "priority: got 0; allowed: a number from 1 to 10; 10 goes first"),
        ("priority: 11", "priority: got 11; allowed: a number from 1 to 10; 10 goes first"),
        (
            "nodeSelector: [a]",
            "nodeSelector: got a list; allowed: a mapping of at most 100 label keys to values",
        ),
        ("nodeSelector: {a: b/c}", f'nodeSelector.a: got "b/c"; allowed: {LABEL_VALUE}'),
        ("nodeSelector: {a: true}", 'nodeSelector.a: got true; allowed: text; put it in quotes: "true"'),
        (
            "nodes: [A]",
            "nodes[0]: got \"A\"; allowed: the name of a node: lower-case letters, digits, '-' and '.'",
        ),
        ("nodes: [a, b, a]", 'nodes[2]: duplicate name "a"'),
        ("nodes: a", 'nodes: got "a"; allowed: a list of at most 10000 node names'),
        ("excludeNodes: [a, a]", 'excludeNodes[1]: duplicate name "a"'),
        (
            "selector: a in b",
            (
                "selector: got \"a in b\": expected '(' after 'in', got 'b'; allowed: a label selector such as"
                ' "disk=ssd,zone in (a,b),!gpu"'
            ),
        ),
        ("includeCordoned: yes", 'includeCordoned: got "yes"; allowed: true or false'),
        ("includeCordoned: 1", "includeCordoned: got 1; allowed: true or false"),
        (
            "tolerations: [{value: a}]",
            "tolerations[0]: got no key; allowed: only with operator Exists",
        ),
        (
            "tolerations: [{key: a, operator: Exists, value: b}]",
            'tolerations[0].value: got "b"; allowed: no value with operator Exists',
        ),
        (
            "tolerations: [{key: a, tolerationSeconds: 3}]",
            "tolerations[0].tolerationSeconds: got 3; allowed: only with effect NoExecute",
        ),
        ("tolerations: [{key: a b}]", 'tolerations[0].key: got "a b"; allowed: a label key'),
        (
            "tolerations: [{key: a, operator: Gt}]",
            'tolerations[0].operator: got "Gt"; allowed: Exists or Equal',
        ),
        (
            "tolerations: [{key: a, effect: No}]",
            (
                'tolerations[0].effect: got "No"; allowed: NoSchedule, PreferNoSchedule or NoExecute;'
                " if omitted, all effects"
            ),
        ),
        ("maxRetries: 6", "maxRetries: got 6; allowed: a number from 0 to 5"),
        ("retryStrategy: x", 'retryStrategy: got "x"; allowed: linear or exponential'),
        ("retryDelay: 301", "retryDelay: got 301; allowed: a number of seconds from 1 to 300"),
        (
            "webhookUrl: ftp://x",
            'webhookUrl: got "ftp://x"; allowed: an http or https URL of at most 2048 characters',
        ),
        (
            "webhookUrl: https://u:p@x",
            "webhookUrl: got a URL with credentials; allowed: a URL without credentials; use a Secret and webhookSecretName",
        ),
        (
            "webhookSecretName: A",
            "webhookSecretName: got \"A\"; allowed: the name of a Secret: lower-case letters, digits, '-' and '.'",
        ),
        ("webhookFormat: xml", 'webhookFormat: got "xml"; allowed: json, cloudevents, slack or dingtalk'),
        (
            "pullSecrets: [a_b]",
            "pullSecrets[0]: got \"a_b\"; allowed: the name of a Secret: lower-case letters, digits, '-' and '.'",
        ),
        ("pullPolicy: Never", 'pullPolicy: got "Never"; allowed: IfNotPresent or Always'),
        ("waves: [0]", f"waves[0]: got 0; allowed: {SIZE}"),
        ("waves: [1, 1]", "waves[1]: got 1; allowed: more than the 1 before it, as sizes are cumulative"),
        (
            'waves: [1, "10%", 5, "5%"]',
            "waves[3]: got 5%; allowed: more than the 10% before it, as sizes are cumulative",
        ),
        (
            f"waves: {list(range(1, 22))}",
            "waves: got 21 items; allowed: a list of at most 20 cumulative sizes",
        ),
        ("order: random", 'order: got "random"; allowed: rolling or batch'),
        (
            "maxFailedNodes: -1",
            'maxFailedNodes: got -1; allowed: a number from 0, or a percentage such as "5%"',
        ),
        ("nodeTimeout: 9s", 'nodeTimeout: got "9s"; allowed: a duration from 10s to 24h'),
        (
            "nodeTimeout: 90",
            "nodeTimeout: got 90; allowed: a duration from 10s to 24h, at most timeout",
        ),
        ("timeout: 8d", 'timeout: got "8d"; allowed: a duration from 30s to 7d'),
        ("timeout: 1m1h", 'timeout: got "1m1h"; allowed: a duration such as "90s", "10m" or "1h30m"'),
        ("name: a.b", f'name: got "a.b"; allowed: {NAME}'),
        (f"name: {'a' * 53}", f'name: got "{"a" * 53}"; allowed: {NAME}'),
        ("labels: {a: [b]}", "labels.a: got a list; allowed: a mapping of at most 100 label keys to values"),
        ("image: [b]", "image: unknown field; did you mean 'images'?"),
        ("node_selector: {}", "node_selector: unknown field; did you mean 'nodeSelector'?"),
        ("max_retries: 2", "max_retries: unknown field; did you mean 'maxRetries'?"),
    ],
)
def test_bounds(line: str, problem: str) -> None:
    """A value out of bounds is rejected; the message has the field, the value and the allowed values."""
    [message] = problems_of(parse_request, f"images: [b]\n{line}\n", "f")
    assert message.split(": ", 1)[1] == problem
    assert message.startswith("f:2:")


@pytest.mark.parametrize(
    "key",
    ["kubernetes.io/a", "x.k8s.io/a", "workflows.argoproj.io/a", "ips-flow.io/a", "a.ips-flow.io/b"],
)
def test_reserved_label_keys(key: str) -> None:
    """Users can't set label keys of Kubernetes, Argo and IPS Flow."""
    [message] = problems_of(parse_request, f"images: [b]\nlabels: {{{key}: x}}", "f")
    assert message == (
        f'f:2:10: labels["{key}"]: got "{key}"; allowed: a label key of your own;'
        " those of kubernetes.io, k8s.io, argoproj.io, ips-flow.io are reserved"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "f: got an empty text; allowed: a mapping with the field images, or a list of images"),
        (
            "# nothing\n",
            "f: got an empty text; allowed: a mapping with the field images, or a list of images",
        ),
        ("busybox", 'f:1:1: got "busybox"; allowed: a mapping with the field images, or a list of images'),
        ("3", "f:1:1: got 3; allowed: a mapping with the field images, or a list of images"),
        ("batchSize: 3", "f:1:1: images: missing; needed: a list of 1 to 50 image references"),
        ("images:", "f:1:8: images: missing; needed: a list of 1 to 50 image references"),
        ("images: []", "f:1:9: images: got an empty list; allowed: a list of 1 to 50 image references"),
        ("[" + "a," * 51 + "]", "f:1:1: images: got 51 items; allowed: a list of 1 to 50 image references"),
        ("images: a", 'f:1:9: images: got "a"; allowed: a list of 1 to 50 image references'),
        (
            "images: [a, ~]",
            "f:1:13: images[1]: got nothing; allowed: an image reference, or a mapping with image and pullPolicy",
        ),
        ("images: *x", "f:1:9: images: got the alias *x; allowed: the value itself"),
        (
            "images: [a]\ntimeout: 5m",
            'f:2:10: nodeTimeout: got "10m"; allowed: at most timeout, which is "5m"',
        ),
        (
            '{"images": ["a\\n"]}',
            'f:1:13: images[0]: got "a\\n" with the control character U+000A; allowed: printable text',
        ),
    ],
)
def test_no_request(text: str, message: str) -> None:
    """A text without a request is rejected; the message has the allowed form."""
    if text.startswith("[a,"):
        text = "[" + ",".join(f"a{number}" for number in range(51)) + "]"
    assert problems_of(parse_request, text, "f") == [message]


def test_duplicate_images() -> None:
    """Two spellings of an image are a duplicate; so are two tags with the same digest."""
    [message] = problems_of(parse_request, f"- a:1@{SHA}\n- a:2\n- library/a@{SHA}", "f")
    assert message == (f'f:3:3: images[2]: duplicate image "library/a@{SHA}", the same as "a:1@{SHA}"')


def test_null_means_omitted() -> None:
    """A null field has the same effect as an omitted field."""
    assert parse_request('{"images": ["a"], "nodes": null, "webhookUrl": null}') == parse_request("[a]")


def test_yaml_words_stay_text() -> None:
    """`yes`, `no` and `on` are text in text fields."""
    request = parse_request("images: [yes, no]\nnodeSelector: {a: on}")
    assert [spec.image for spec in request.images] == ["yes", "no"]
    assert request.node_selector == {"a": "on"}


def test_pull_policy_of() -> None:
    """An image's pull policy takes precedence over the request's."""
    request = parse_request("images: [a, {image: b, pullPolicy: IfNotPresent}]\npullPolicy: Always")
    assert [request.pull_policy_of(index) for index in (0, 1)] == ["Always", "IfNotPresent"]


def full() -> PrewarmRequest:
    return PrewarmRequest(
        images=("busybox", {"image": "x.io/a:1", "pullPolicy": "Always"}),
        batch_size="10%",
        priority=9,
        node_selector={"kubernetes.io/os": "linux"},
        nodes=("n1", "n2"),
        selector="disk in (a,b)",
        exclude_nodes=("n3",),
        include_cordoned=True,
        tolerations=(Toleration(key="a", value="b", effect="NoExecute", toleration_seconds=3),),
        pull_secrets=("s",),
        pull_policy="Always",
        waves=(1, "10%", "100%"),
        node_timeout="1h30m",
        timeout="1d",
        name="nightly",
        labels={"team": "x"},
    )


def test_canonical_json() -> None:
    """The canonical form is compact and sorted, and keeps the spelling of images."""
    assert canonical_json(full()) == (
        '{"batchSize":"10%","excludeNodes":["n3"],"images":["busybox",{"image":"x.io/a:1","pullPolicy":"Always"}],'
        '"includeCordoned":true,"labels":{"team":"x"},"name":"nightly",'
        '"nodeSelector":{"kubernetes.io/os":"linux"},"nodeTimeout":"1h30m","nodes":["n1","n2"],"priority":9,'
        '"pullPolicy":"Always","pullSecrets":["s"],"selector":"disk in (a,b)","timeout":"1d",'
        '"tolerations":[{"effect":"NoExecute","key":"a","tolerationSeconds":3,"value":"b"}],'
        '"waves":[1,"10%","100%"]}'
    )
    assert canonical_json(parse_request("images: [busybox]\nbatchSize: 10")) == '{"images":["busybox"]}'
    assert (
        canonical_json(parse_request("images: [a]\ntolerations: []")) == '{"images":["a"],"tolerations":[]}'
    )


@pytest.mark.parametrize("request_", [full(), parse_request("[a]"), parse_request(EXAMPLE.read_text())])
def test_round_trip(request_: PrewarmRequest) -> None:
    """`from_canonical` reads the output of `canonical_json` as the same request."""
    assert from_canonical(canonical_json(request_)) == request_
    assert canonical_json(from_canonical(canonical_json(request_))) == canonical_json(request_)


def test_request_hash() -> None:
    """The hash ignores the name, explicit defaults and the order of fields, and depends on all else."""
    base = request_hash(parse_request("images: [a]\nbatchSize: 5"))
    assert request_hash(parse_request("name: x\npriority: 5\nbatchSize: 5\nimages: [a]")) == base
    assert request_hash(parse_request("images: [a]\nbatchSize: 5\nlabels: {a: b}")) != base
    assert request_hash(parse_request("images: [a:latest]\nbatchSize: 5")) != base
    assert len(base) == 64


def test_overrides_replace_fields() -> None:
    """A flag replaces its whole field, also an invalid one in the file. None changes nothing."""
    request = merge_overrides(
        "images: [a]\nbatchSize: 0\nnodeSelector: {a: b}\npriority: 3",
        "f.yaml",
        {
            "images": ("b", "c"),
            "batchSize": "20%",
            "nodeSelector": ("c=d,e=f", "g="),
            "waves": "1,10%,100%",
            "nodes": ["n1,n2", "n3"],
            "priority": None,
            "includeCordoned": True,
            "tolerations": ("a=b:NoSchedule", "c", ":NoExecute"),
        },
    )
    assert [spec.image for spec in request.images] == ["b", "c"]
    assert (request.batch_size, request.priority, request.include_cordoned) == ("20%", 3, True)
    assert request.node_selector == {"c": "d", "e": "f", "g": ""}
    assert request.nodes == ("n1", "n2", "n3")
    assert request.waves == (1, "10%", "100%")
    assert request.tolerations == (
        Toleration(key="a", value="b", effect="NoSchedule"),
        Toleration(key="c", operator="Exists"),
        Toleration(operator="Exists", effect="NoExecute"),
    )


def test_problems_of_flags() -> None:
    """A problem of a flag has the flag's name, and follows the problems of the file."""
    overrides = {"batchSize": 0, "timeout": "1s", "images": ["a", "B"], "nodeSelector": ("c",)}
    assert problems_of(merge_overrides, "priority: 0", "f.yaml", overrides) == [
        "f.yaml:1:11: priority: got 0; allowed: a number from 1 to 10; 10 goes first",
        '--node-selector: got "c"; allowed: key=value, or several separated by commas',
        '--image: images[1]: got "B"; allowed: a repository in lower case: "b"',
        f"--batch-size: got 0; allowed: {WINDOW}",
        '--task-timeout: got "1s"; allowed: a duration from 30s to 7d',
    ]


def test_flags_alone() -> None:
    """Without a text the flags are the request."""
    assert merge_overrides(None, "flags", {"images": ("a",)}) == parse_request("[a]")
    assert problems_of(merge_overrides, None, "flags", {}) == [
        "flags: images: missing; needed: a list of 1 to 50 image references"
    ]


def test_flag_of() -> None:
    """A flag is its field in kebab-case, with two exceptions."""
    assert [flag_of(field) for field in ("batchSize", "images", "timeout", "webhookSecretName")] == [
        "--batch-size",
        "--image",
        "--task-timeout",
        "--webhook-secret-name",
    ]


def test_form() -> None:
    """The texts of the UI form give the same request as YAML. An empty text means the default."""
    parameters = {
        "images": "# the base\nbusybox\n\n  nginx:1.29  # with a comment\n",
        "batch-size": "20",
        "priority": "",
        "node-selector": "a=b, c=d",
        "selector": "disk in (x, y)",
        "nodes": "n1, n2\nn3",
        "exclude-nodes": "",
        "include-cordoned": "true",
        "pull-policy": "Always",
        "pull-secrets": "s1,s2",
        "waves": "1, 10%, 100%",
        "webhook-url": "https://hooks.example/x?a=1,2",
        "webhook-secret-name": "hook",
        "webhook-format": "slack",
        "node-timeout": "5m",
        "task-timeout": "1h",
        "request": "",
    }
    assert from_form(parameters) == parse_request(
        "{images: [busybox, nginx:1.29], batchSize: 20, nodeSelector: {a: b, c: d}, selector: 'disk in (x, y)',"
        " nodes: [n1, n2, n3], includeCordoned: true, pullPolicy: Always, pullSecrets: [s1, s2],"
        " waves: [1, 10%, 100%], webhookUrl: 'https://hooks.example/x?a=1,2', webhookSecretName: hook,"
        " webhookFormat: slack, nodeTimeout: 5m, timeout: 1h}"
    )


def test_problems_of_the_form() -> None:
    """Problems of the form have the form and the field; unknown parameters are rejected."""
    parameters = {"images": "a\nB", "priority": "x", "batchsize": "3", "node-selector": "{{a}}=b"}
    assert problems_of(from_form, parameters) == [
        'form: node-selector["{{a}}"]: got "{{a}}"; allowed: text without "{{", which Argo would expand',
        "form: batchsize: unknown field; did you mean 'batch-size'?",
        'form: images[1]: got "B"; allowed: a repository in lower case: "b"',
        'form: priority: got "x"; allowed: a number from 1 to 10; 10 goes first',
    ]


@pytest.mark.parametrize(
    ("name", "field", "text"), [("batch-size", "batchSize", "3"), ("task-timeout", "timeout", "1h")]
)
def test_a_field_of_the_form_under_both_names(name: str, field: str, text: str) -> None:
    """A field given under both names is a problem in any order; an empty text counts as not given."""
    for pair in ({name: text, field: "x"}, {field: "x", name: text}, {field: text, name: text}):
        assert problems_of(from_form, {"images": "a", **pair}) == [
            f"form: {name}: got both {name} and {field}; allowed: one of them"
        ]
    assert from_form({"images": "a", name: text, field: " "}) == from_form({"images": "a", field: text})


def test_schema() -> None:
    """The schema has every field by its wire name with its bounds, and accepts plain images."""
    schema = json_schema()
    assert set(schema["properties"]) == set(full().model_dump(by_alias=True))
    assert schema["required"] == ["images"]
    assert schema["properties"]["priority"]["maximum"] == 10
    assert schema["$defs"]["ImageSpec"]["anyOf"][0] == {"type": "string"}
    assert all(field.get("description") for field in schema["properties"].values())


def test_requests_are_frozen() -> None:
    """A request can't be changed."""
    with pytest.raises(ValidationError):
        full().priority = 3  # type: ignore[misc]


FRAGMENTS = (
    *(
        "{{",
        "}}",
        "\0",
        "\t",
        "- ",
        ": ",
        "&a ",
        "*a ",
        "!!str ",
        "!x ",
        "'",
        '"',
        '"\\U0011FFFF"',
        "%",
        "|",
        "> ",
    ),
    *(
        "---\n",
        "...\n",
        "<<: ",
        "{",
        "}",
        "[",
        "]",
        ",",
        "? ",
        "#",
        "\n",
        "\ud800",
        "0x1g",
        "1e999",
        ".nan",
        "é",
    ),
    *("\u2028", "\x85", "%TAG ! x\n", "!<%ff>", "\r", '"\\ud800"', "null", "true", "a", "9" * 5000),
)


@pytest.mark.parametrize("seed", range(20))
def test_garbage(seed: int) -> None:
    """Any text is a request, or raises BadRequestError with a printable message."""
    chance = random.Random(seed)  # noqa: S311 - a repeatable test
    example = EXAMPLE.read_text()
    for _ in range(20):
        if chance.random() < 0.3:
            text = chance.randbytes(60).decode("latin-1")
        elif chance.random() < 0.5:
            text = "".join(chance.choice(FRAGMENTS) for _ in range(chance.randrange(30)))
        else:
            start = chance.randrange(len(example))
            text = example[:start] + chance.choice(FRAGMENTS) + example[start + chance.choice((0, 1, 20)) :]
        try:
            request = parse_request(text, "f")
        except BadRequestError as error:
            message = str(error)
            assert message.encode()
        else:
            assert from_canonical(canonical_json(request)) == request


def test_the_model_checks_by_itself() -> None:
    """A request created in Python has the same bounds as a parsed request."""
    wrong: list[dict[str, Any]] = [
        {"images": ("a", "a:latest")},
        {"images": ("a",), "nodes": ("n", "n")},
        {"images": ("a",), "webhook_url": "https://x/{{y}}"},
        {"images": ("a",), "webhook_url": "https://["},
        {"images": ("a",), "waves": (2, 1)},
        {"images": ("a",), "unknown": 1},
    ]
    for fields in wrong:
        with pytest.raises(ValidationError):
            PrewarmRequest(**fields)


def test_too_long_lists_are_one_problem() -> None:
    """A list or mapping beyond its limit is one problem, even if its items are invalid."""
    text = (
        "images: [a]\nnodes:\n" + "- A\n" * 10001 + "labels:\n" + "".join(f"  k{n}: x\n" for n in range(101))
    )
    assert problems_of(parse_request, text, "f") == [
        "f:3:1: nodes: got 10001 items; allowed: a list of at most 10000 node names",
        "f:10005:3: labels: got 101 items; allowed: a mapping of at most 100 label keys to values",
    ]
