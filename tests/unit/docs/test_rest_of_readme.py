"""The section on the REST API in the server's README is correct."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from typing import get_args

import pytest

from ips_flows.core.rest.openapi import document
from ips_flows.kube.client import Kube
from ips_flows.server.auth import Verb
from tests.fakes.apiserver import ApiServer
from tests.support.paths import ROOT
from tests.support.rest_harness import TOKEN, Rest, serving


@pytest.fixture
def rest(server: ApiServer, kube: Kube) -> Iterator[Rest]:
    with serving(server, kube) as one:
        yield one


def section() -> str:
    text = (ROOT / "ips_flows" / "server" / "README.md").read_text(encoding="utf-8")
    return text[text.index("## REST API") : text.index("## The page")]


def transcript() -> list[tuple[str, str]]:
    """Return the commands of the section, each with the output shown."""
    block = re.findall(r"```console\n(.*?)```", section(), re.DOTALL)[0]
    parts = re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]
    return [(command, printed) for command, _, printed in (part.partition("\n") for part in parts)]


def test_the_commands_do_what_is_shown(rest: Rest) -> None:
    """Each command, run in order against a server, prints the output shown; other output is only not empty."""
    environment = {**os.environ, "IPS_FLOW_SERVER": f"http://127.0.0.1:{rest.port}", "TOKEN": TOKEN}
    (first, _), *others = transcript()
    assert first.startswith("TOKEN=$(kubectl create token ")
    assert len(others) == 5
    rest.await_list(lambda _: True)
    for command, shown in others:
        done = subprocess.run(
            ["bash", "-c", command], env=environment, capture_output=True, text=True, check=True, timeout=60
        )
        assert done.stdout == shown if shown else done.stdout.startswith('{"taskId":"nightly"'), command
        if not shown:
            rest.await_list(lambda one: one["total"] == 1)


def test_the_commands_of_access_grant_what_the_server_checks() -> None:
    """The Role has exactly the verbs that the server checks, and the account gets it and the token."""
    access = section()[section().index("### Access") :]
    account, role, binding, token = re.findall(r"```console\n(.*?)```", access, re.DOTALL)[0].splitlines()
    name = account.removeprefix("$ kubectl create serviceaccount ").removesuffix(" -n ips-flow")
    verbs = re.findall(r"--verb=(\S+)", role)[0].split(",")
    assert sorted(verbs) == sorted(get_args(Verb))
    assert role.endswith(" --resource=workflows.argoproj.io")
    assert f" --role={role.split()[4]} " in binding
    assert binding.endswith(f" --serviceaccount=ips-flow:{name}")
    assert token == f"$ kubectl create token {name} -n ips-flow"
    (first, _), *_ = transcript()
    assert first == f"TOKEN=$({token.removeprefix('$ ')})"


def test_every_route_is_documented() -> None:
    """The table has every route of the API, and no other."""
    told = set(re.findall(r"`(GET|POST|DELETE) ([^`?]*)[^`]*`", section()))
    served = {
        (method.upper(), path)
        for path, found in document()["paths"].items()
        for method in found
        if method != "parameters"
    }
    assert told == served
