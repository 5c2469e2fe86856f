"""What a command takes of time, processor and memory, whoever starts it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# A process begins with the largest size of the one that starts it, so a small one stands between.
_BETWEEN = """
import json, resource, subprocess, sys, time
start = time.monotonic()
subprocess.run(sys.argv[1:], stderr=subprocess.DEVNULL, check=True)
seconds, used = time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024]), file=sys.stderr)
"""


@dataclass(frozen=True, slots=True)
class Measured:
    """A command that has run: its seconds, those of the processor, its largest size in MiB, and what it printed."""

    seconds: float
    processor: float
    mebibytes: float
    text: str

    @property
    def document(self) -> Any:
        """What was printed as JSON."""
        return json.loads(self.text)


def measured(*arguments: str, kubeconfig: Path | None = None) -> Measured:
    """Run `ips-flow` with arguments."""
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
