"""Measurement of a command's time, CPU time and memory, independent of the process that starts it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# A process inherits the peak memory of its parent, so a small process in between starts the command.
_BETWEEN = """
import json, resource, subprocess, sys, time
start = time.monotonic()
subprocess.run(sys.argv[1:], stderr=subprocess.DEVNULL, check=True)
seconds, used = time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024]), file=sys.stderr)
"""


@dataclass(frozen=True, slots=True)
class Measured:
    """Measurements of a finished command: seconds, CPU seconds, peak memory in MiB, and output."""

    seconds: float
    processor: float
    mebibytes: float
    text: str

    @property
    def document(self) -> Any:
        """Return the output as JSON."""
        return json.loads(self.text)


def measured(*arguments: str, kubeconfig: Path | None = None) -> Measured:
    """Run `ips-flow` with arguments; return the measurements."""
    environment = {key: value for key, value in os.environ.items() if key != "IPS_FLOW_NAMESPACE"}
    if kubeconfig:
        environment["KUBECONFIG"] = str(kubeconfig)
    command = [sys.executable, "-m", "ips_flows.cli.main", *arguments]
    done = subprocess.run(
        [sys.executable, "-c", _BETWEEN, *command],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    seconds, processor, mebibytes = json.loads(done.stderr)
    return Measured(seconds, processor, mebibytes, done.stdout)
