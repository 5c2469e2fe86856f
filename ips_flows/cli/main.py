"""`ips-flow`: the verbs, each loaded when it is used, and the one place that turns errors into exit codes."""

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
    """A verb of the command line: `module` in this package holds its click command, named as the verb."""

    help: str
    section: str


# The order of the help page. A verb whose module does not exist is not there.
VERBS: dict[str, Verb] = {
    "run": Verb("Submit a request and follow it to its end.", "Tasks"),
    "plan": Verb("Show what a request would do now, and what stands against it; change nothing.", "Tasks"),
    "list": Verb("Show the tasks.", "Tasks"),
    "get": Verb("Show a task and what became of each image on each node.", "Tasks"),
    "wait": Verb("Follow tasks to their end.", "Tasks"),
    "logs": Verb("Show what the steps of a task wrote.", "Tasks"),
    "retry": Verb("Try the nodes again that a task lost or did not reach, as a new task.", "Tasks"),
    "scale": Verb("Change how many nodes of a running task pull at once, or pause it.", "Tasks"),
    "queue": Verb("Show the tasks that wait, the next to start first.", "Tasks"),
    "reprioritize": Verb("Give a task that waits another priority.", "Tasks"),
    "cancel": Verb("Stop tasks; what is on the nodes stays there.", "Tasks"),
    "delete": Verb("Delete tasks and their records.", "Tasks"),
    "schedule": Verb("Submit a request again and again, at the times of a cron expression.", "Tasks"),
    "images": Verb("Find the images that manifests or workloads need, as a request.", "Tasks"),
    "install": Verb("Install IPS Flow into a namespace.", "Cluster"),
    "uninstall": Verb("Remove IPS Flow from a namespace.", "Cluster"),
    "doctor": Verb("Check that everything is there, and say how to mend what is not.", "Cluster"),
    "serve": Verb("Serve the REST API and the page, and finish tasks whose last step was lost.", "Cluster"),
    "label": Verb("Label the nodes that hold sets of images.", "Cluster"),
    "render": Verb("Write the Argo templates as YAML.", "Other"),
    "completion": Verb("Print the completion script of a shell.", "Other"),
    "version": Verb("Show the versions of the program and of the templates.", "Other"),
}


class Verbs(click.Group):
    """The verbs, loaded lazily, so that `--help` is quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """All verbs that exist."""
        return [name for name in VERBS if find_spec(_module(name))]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load a verb."""
        if cmd_name not in self.list_commands(ctx):
            return None
        command = getattr(importlib.import_module(_module(cmd_name)), f"{cmd_name}_command")
        assert isinstance(command, click.Command)  # noqa: S101
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The verbs by section, without loading any."""
        there = self.list_commands(ctx)
        for section in dict.fromkeys(verb.section for verb in VERBS.values()):
            rows = [(name, VERBS[name].help) for name in there if VERBS[name].section == section]
            if rows:
                with formatter.section(section):
                    formatter.write_dl(rows)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the verb; say which ones are close when there is none."""
        if args and args[0] not in self.list_commands(ctx) and not args[0].startswith("-"):
            import difflib  # noqa: PLC0415

            close = difflib.get_close_matches(args[0], self.list_commands(ctx), n=1)
            meant = f"; did you mean {close[0]!r}?" if close else ""
            ctx.fail(f"there is no verb {args[0]!r}{meant}")
        return super().resolve_command(ctx, args)


@click.group(
    cls=Verbs,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="\b\nExample:\n  ips-flow run --image busybox:1.37 --batch-size 20",
)
@click.version_option(None, "--version", package_name=PROGRAM, message="%(prog)s %(version)s")
def cli() -> None:
    """Put container images on Kubernetes nodes before pods need them.

    Exit codes: 0 completed, 1 failed, 2 bad usage or bad request, 3 cancelled, 124 timed out, 130 interrupted.
    """


def run(arguments: Sequence[str] | None = None) -> int:
    """Carry a command out; its exit code."""
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
        failure(error.format_message(), f"`{command} --help` shows how it is used.")
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
        # Whoever read us has enough; nothing may fail when Python flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return code if isinstance(code, int) else 0


def main() -> None:
    """The entry point of the program."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without our dashes is no reason to fail
    sys.exit(run())


def _module(verb: str) -> str:
    return f"ips_flows.cli.commands.{verb}"


if __name__ == "__main__":
    main()
