"""The command line in this process, with a recorded cluster."""

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
    """The result of a command."""

    code: int
    out: str
    said: str

    @property
    def document(self) -> Any:
        """Return stdout as JSON."""
        assert self.out, self.said
        return json.loads(self.out)


def typed(*arguments: str, tape: Tape | None = None, stdin: str = "") -> Outcome:
    """Run a command, connected to a recorded cluster."""
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
