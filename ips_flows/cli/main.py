"""The `ips-flow` program: loads a verb when it is used, and turns errors into messages and exit codes."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from io import TextIOWrapper
from typing import NamedTuple

import click

from ips_flows.cli.output.console import failure, say
from ips_flows.core.errors import IpsFlowError

INTERRUPTED = 130
PROGRAM = "ips-flow"


class Verb(NamedTuple):
    """A verb of the command line. The module of the same name in `commands` has its click command."""

    help: str
    section: str


# In the order of the help page. A verb without a module is not listed.
VERBS: dict[str, Verb] = {
    "run": Verb("Submit a request and follow the task until it ends.", "Tasks"),
    "plan": Verb("Preview a request: nodes, sizes, time, problems. Changes nothing.", "Tasks"),
    "list": Verb("List tasks.", "Tasks"),
    "get": Verb("Show a task and the result of each image on each node.", "Tasks"),
    "wait": Verb("Follow tasks until they end.", "Tasks"),
    "logs": Verb("Print the logs of the steps of a task.", "Tasks"),
    "retry": Verb("Retry the nodes that failed or were not reached, as a new task.", "Tasks"),
    "scale": Verb("Change how many nodes of a task pull at the same time, or pause the task.", "Tasks"),
    "queue": Verb("List the waiting tasks in the order in which they start.", "Tasks"),
    "reprioritize": Verb("Change the priority of a waiting task.", "Tasks"),
    "cancel": Verb("Stop tasks. Images on nodes stay.", "Tasks"),
    "delete": Verb("Delete tasks and their records. Images on nodes stay.", "Tasks"),
    "schedule": Verb("Run a request on a cron schedule.", "Tasks"),
    "images": Verb("Find the images of manifests or workloads and print a request for them.", "Tasks"),
    "install": Verb("Install IPS Flow into a namespace.", "Cluster"),
    "uninstall": Verb("Remove IPS Flow from a namespace.", "Cluster"),
    "doctor": Verb("Check the installation and suggest fixes.", "Cluster"),
    "serve": Verb(
        "Serve the REST API and the web page, and finish tasks whose last step did not run.", "Cluster"
    ),
    "label": Verb("Label the nodes that have all images of a set.", "Cluster"),
    "render": Verb("Write the Argo templates as YAML.", "Other"),
    "completion": Verb("Print the completion script for a shell.", "Other"),
    "version": Verb("Show the versions of the program and of the installed templates.", "Other"),
}


class Verbs(click.Group):
    """The group of verbs. It loads a verb only when it is used, so that `--help` is fast."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Return the names of all verbs that have a module."""
        return [name for name in VERBS if find_spec(_module(name))]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load a verb."""
        if cmd_name not in self.list_commands(ctx):
            return None
        command = getattr(importlib.import_module(_module(cmd_name)), f"{cmd_name}_command")
        assert isinstance(command, click.Command)  # noqa: S101
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the verbs by section, without loading them."""
        there = self.list_commands(ctx)
        for section in dict.fromkeys(verb.section for verb in VERBS.values()):
            rows = [(name, VERBS[name].help) for name in there if VERBS[name].section == section]
            if rows:
                with formatter.section(section):
                    formatter.write_dl(rows)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the verb, or fail with the name of a similar verb."""
        if args and args[0] not in self.list_commands(ctx) and not args[0].startswith("-"):
            import difflib  # noqa: PLC0415

            close = difflib.get_close_matches(args[0], self.list_commands(ctx), n=1)
            meant = f"; did you mean {close[0]!r}?" if close else ""
            ctx.fail(f"unknown verb {args[0]!r}{meant}")
        return super().resolve_command(ctx, args)


@click.group(
    cls=Verbs,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="\b\nExample:\n  ips-flow run --image busybox:1.37 --batch-size 20",
)
@click.version_option(None, "--version", package_name=PROGRAM, message="%(prog)s %(version)s")
def cli() -> None:
    """Put container images on Kubernetes nodes before pods need them.

    Exit codes: 0 completed, 1 failed, 2 wrong usage or invalid request, 3 cancelled, 124 timed out (the task
    continues), 130 interrupted, 143 terminated while the Workflow of --cancel-with continues.
    """


def run(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code."""
    try:
        code = cli.main(
            args=None if arguments is None else list(arguments), prog_name=PROGRAM, standalone_mode=False
        )
        sys.stdout.flush()
    except click.exceptions.Exit as ended:
        return ended.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        say(error.format_message())
        return 2
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else PROGRAM
        failure(error.format_message(), f"See `{command} --help`.")
        return 2
    except click.ClickException as error:
        failure(error.format_message())
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except IpsFlowError as error:
        failure(error.message, error.hint)
        return error.exit_code
    except BrokenPipeError:
        # The reader closed the pipe. Without this, Python would fail when it flushes stdout at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return code if isinstance(code, int) else 0


def main() -> None:
    """Run the program; the entry point of the package."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # do not fail on a terminal that can't show a character
    sys.exit(run())


def _module(verb: str) -> str:
    return f"ips_flows.cli.commands.{verb}"


if __name__ == "__main__":
    main()
