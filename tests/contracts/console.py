"""The command line in this process, over a cluster on tape."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from typing import Any, NamedTuple
from unittest import mock

from ips_flows.cli.main import run
from ips_flows.kube.client import Kube
from tests.contracts.examples import standing_still
from tests.contracts.tape import Tape


class Outcome(NamedTuple):
    """What became of a command."""

    code: int
    out: str
    said: str

    @property
    def document(self) -> Any:
        """The JSON on stdout."""
        assert self.out, self.said
        return json.loads(self.out)


def typed(*arguments: str, tape: Tape | None = None, stdin: str = "") -> Outcome:
    """Carry out a command, connected to the cluster on tape."""
    out, said = io.StringIO(), io.StringIO()
    piped = io.TextIOWrapper(io.BytesIO(stdin.encode()))
    cluster = tape or Tape()
    with (
        standing_still(),
        mock.patch.object(Kube, "connect", return_value=cluster.kube()),
        mock.patch.object(sys, "stdin", piped),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(said),
    ):
        code = run(arguments)
    return Outcome(code, out.getvalue(), said.getvalue())
