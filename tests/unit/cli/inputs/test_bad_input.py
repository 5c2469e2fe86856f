"""Every invalid request gives the same exact message for every kind of input, and nothing is done."""

from __future__ import annotations

import io
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from ips_flows.cli.main import run
from ips_flows.core.constants import ANNOTATION_ERROR
from ips_flows.core.errors import BadRequestError
from ips_flows.core.request.model import parse_request
from ips_flows.kube.client import Kube
from steps.context import StepContext
from steps.filter import run as run_filter
from tests.fakes.apiserver import ApiServer, running
from tests.support.bad_requests import DOCUMENTS, FLAGS, FORMS
from tests.support.kube_objects import WORKER, node

Row = tuple[str, Any, str]


def rows(table: Sequence[Row]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        ("sent", "said"), [row[1:] for row in table], ids=[row[0] for row in table]
    )


def by(source: str, said: str) -> str:
    """Return the message with the source of the document, which is `f` in the table."""
    return re.sub(r"^f(?=:)", lambda _: source, said, flags=re.MULTILINE)


def printed(said: str) -> str:
    """Return an error as the command line prints it."""
    return "error: " + said.replace("\n", "\n       ") + "\n"


@pytest.fixture(scope="module")
def server() -> Iterator[ApiServer]:
    """Start a cluster on which a valid request would run."""
    with running() as one:
        one.change("configmaps", "ips-config", {"data": {"worker-image": WORKER}})
        one.put("nodes", node("n1"), namespace="")
        yield one


@pytest.fixture(scope="module")
def kubeconfig(server: ApiServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return server.kubeconfig(tmp_path_factory.mktemp("kube"))


@pytest.fixture(scope="module")
def kube(kubeconfig: Path) -> Kube:
    return Kube.connect(str(kubeconfig))


@pytest.fixture
def cli(
    server: ApiServer, kubeconfig: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ApiServer]:
    """Work in a folder with a valid request; the server must receive no requests."""
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "images.yaml").write_text("images: [busybox]\n", encoding="utf-8")
    before = len(server.calls)
    yield server
    assert server.calls[before:] == []


def stdin(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data), encoding="utf-8"))


def filtered(server: ApiServer, kube: Kube, parameters: Mapping[str, object]) -> str:
    """Return the error that filter writes on a Workflow with these parameters; it plans nothing."""
    entries = [{"name": name, "value": value} for name, value in parameters.items()]
    workflow = server.put(
        "workflows", {"metadata": {"name": "bad"}, "spec": {"arguments": {"parameters": entries}}}
    )
    before = len(server.calls)
    assert run_filter(StepContext(kube, "bad", workflow["metadata"]["uid"]), ()) == 1
    # The second read makes sure that the annotated Workflow is still the same.
    assert [call.split()[0] for call in server.calls[before:]] == ["GET", "GET", "PATCH"]
    annotations = server.get("workflows", "bad")["metadata"]["annotations"]
    server.remove("workflows", "bad")
    assert set(annotations) == {ANNOTATION_ERROR}
    assert len(annotations[ANNOTATION_ERROR]) < 64 * 1024
    return str(annotations[ANNOTATION_ERROR])


def test_the_table_is_long() -> None:
    """There are many rows, and each sends something different."""
    for table in (DOCUMENTS, FLAGS, FORMS):
        assert len({str(sent) for _, sent, _ in table}) == len(table)
    assert len(DOCUMENTS) + len(FLAGS) + len(FORMS) > 150


@rows(DOCUMENTS)
def test_each_message_names_the_position_and_the_fix(sent: str, said: str) -> None:
    """Every line names the position, and what is allowed, suggested or missing, in printable characters."""
    with pytest.raises(BadRequestError) as caught:
        parse_request(sent, "f")
    assert str(caught.value) == said
    for line in said.split("\n"):
        assert re.match(r"f(:[1-9][0-9]*:[1-9][0-9]*)?: ", line)
        assert re.search(
            r"allowed: |did you mean|needed: |duplicate (image|name|key)\b|not valid (YAML|JSON): ", line
        )
        assert line.isprintable()
        assert len(line) < 600


@rows(DOCUMENTS)
def test_from_stdin(
    cli: ApiServer,  # noqa: ARG001
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    sent: str,
    said: str,
) -> None:
    """`ips-flow run -` exits 2 with the message on stderr and makes no request to the API server."""
    stdin(monkeypatch, sent.encode())
    assert run(["run", "-", "--detach"]) == 2
    assert capsys.readouterr() == ("", printed(by("stdin", said)))


@rows(DOCUMENTS[::3])
def test_from_a_file(cli: ApiServer, capsys: pytest.CaptureFixture[str], sent: str, said: str) -> None:  # noqa: ARG001
    """The error of a file is the same, with the name of the file."""
    Path("bad.yaml").write_bytes(sent.encode())
    assert run(["run", "bad.yaml", "--detach"]) == 2
    assert capsys.readouterr() == ("", printed(by("bad.yaml", said)))


@rows([row for row in DOCUMENTS if row[1].strip()])
def test_as_the_argument_of_a_workflow(
    server: ApiServer, kube: Kube, capsys: pytest.CaptureFixture[str], sent: str, said: str
) -> None:
    """A task submitted without the command line gets the same error from filter, and nothing is planned."""
    assert filtered(server, kube, {"request": sent, "images": "busybox"}) == by("request", said)
    assert capsys.readouterr().out == printed(by("request", said))


@rows(FLAGS)
def test_flags(
    cli: ApiServer,  # noqa: ARG001
    capsys: pytest.CaptureFixture[str],
    sent: Sequence[str],
    said: str,
) -> None:
    """An invalid flag exits 2; the error names the flag as typed."""
    assert run(["run", "images.yaml", "--detach", *sent]) == 2
    assert capsys.readouterr() == ("", printed(said))


@rows(FORMS)
def test_the_form(server: ApiServer, kube: Kube, sent: Mapping[str, object], said: str) -> None:
    """The error of a field of the Argo UI's form has the name of the form's parameter."""
    assert filtered(server, kube, {"request": "", **sent}) == said


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"images:\n  - caf\xe9\n", "stdin:2:8: got the byte 0xe9; allowed: text in UTF-8"),
        (b"images: [\xc3\xa9\xff]\n", "stdin:1:11: got the byte 0xff; allowed: text in UTF-8"),
        ("images: [a]\n".encode("utf-16"), "stdin:1:1: got the byte 0xff; allowed: text in UTF-8"),
        (b"images: [\xed\xa0\x80]", "stdin:1:10: got the byte 0xed; allowed: text in UTF-8"),
        (b"images: [a\xc3", "stdin:1:11: got the byte 0xc3; allowed: text in UTF-8"),
        (b"#" + b"\xc3\xa9" * 2**19, "stdin: got more than 1 MiB of text; allowed: at most 1 MiB"),
        (b"\xc3\xa9" * 2**20, "stdin: got more than 1 MiB of text; allowed: at most 1 MiB"),
        (b"\0" * 2**21, "stdin: got more than 1 MiB of text; allowed: at most 1 MiB"),
    ],
)
def test_bytes(
    cli: ApiServer,  # noqa: ARG001
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    data: bytes,
    said: str,
) -> None:
    """Invalid UTF-8 is reported with its position; a text that is too large is reported as such, even if cut."""
    stdin(monkeypatch, data)
    assert run(["run", "-", "--detach"]) == 2
    assert capsys.readouterr() == ("", printed(said))


def test_a_file_name_with_control_characters(cli: ApiServer, capsys: pytest.CaptureFixture[str]) -> None:  # noqa: ARG001
    """The name of a file cannot add a line to the output or control the terminal."""
    name = "a\nerror: forged\x1b[2J.yaml"
    Path(name).write_text("images: []", encoding="utf-8")
    assert run(["run", name]) == 2
    said = "a\\nerror: forged\\x1b[2J.yaml:1:9: images: got an empty list; allowed: a list of 1 to 50 image references"
    assert capsys.readouterr().err == printed(said)


def test_ten_thousand_problems_fit_into_an_annotation(server: ApiServer, kube: Kube) -> None:
    """For a request with very many problems, the first are reported, and the number of the others."""
    names = [f"N{number}{'x' * 60}" for number in range(9_999)]
    said = filtered(server, kube, {"request": json.dumps({"images": ["busybox"], "nodes": names})})
    assert said.split("\n")[-1] == "request: and 9979 more problems"
