"""The error of the local cluster: a message, a hint, and the path of the log."""

from __future__ import annotations

from pathlib import Path


class LocalClusterError(Exception):
    """An error that the user can fix."""

    def __init__(self, message: str, *, hint: str = "", log: Path | None = None) -> None:
        """Keep the message, the hint and the path of the log for the report."""
        super().__init__(message)
        self.hint = hint
        self.log = log

    def report(self) -> str:
        """Return the lines to print: the message, the end of the log, the log's path, the hint."""
        lines = [f"error: {self}"]
        if self.log is not None and self.log.is_file():
            tail = self.log.read_text(errors="replace").splitlines()[-15:]
            lines += [f"  | {line[:300]}" for line in tail]
            lines.append(f"  log: {self.log}")
        if self.hint:
            lines.append(f"  hint: {self.hint}")
        return "\n".join(lines)
