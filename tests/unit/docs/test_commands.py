"""Commands, flags, modules and files that a README names exist."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.util import find_spec

import click
import pytest

from ips_flows.cli.main import Verbs, cli
from tests.support.paths import ROOT, documents

NAMES = [str(path.relative_to(ROOT)) for path in documents()]
FOLDERS = "deploy|ips_flows|steps|templates|tests"


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def commands(text: str) -> Iterator[list[str]]:
    """Yield the words of each use of `ips-flow` in a code block or a code span."""
    for code in (
        *re.findall(r"^ *(?:- run: |\$ )(.*)$", text, re.MULTILINE),
        *re.findall(r"`([^`\n]+)`", text),
    ):
        for command in re.split(r"[|;&]", code):
            if match := re.search(r"(?:^|\$\(|\s)ips-flow ([a-z].*)", command):
                yield match[1].split()


def flags(words: list[str]) -> set[str]:
    """Return the flags of a verb or of its subcommand."""
    assert isinstance(cli, Verbs)
    context = click.Context(cli)
    command = cli.get_command(context, words[0])
    if isinstance(command, click.Group) and len(words) > 1:
        command = command.get_command(context, words[1].rstrip(",")) or command
    assert command, words
    taken = [one for option in command.params for one in (*option.opts, *option.secondary_opts)]
    return {*taken, "--help", "-h"}


@pytest.mark.parametrize("name", NAMES)
def test_every_flag_of_a_command_exists(name: str) -> None:
    """Every flag in a README is a flag of its verb."""
    for words in commands(text_of(name)):
        given = {word.partition("=")[0] for word in words[1:] if re.match(r"--?[a-zA-Z]", word)}
        assert given <= flags(words), words


@pytest.mark.parametrize("name", NAMES)
def test_every_module_that_is_run_exists(name: str) -> None:
    """Every `python -m` names an existing module."""
    for module in re.findall(r"python -m ([\w.]+\w)", text_of(name)):
        assert find_spec(module), module


@pytest.mark.parametrize("name", NAMES)
def test_every_file_of_the_checkout_exists(name: str) -> None:
    """A path in code, from the top of the checkout, is a file or a folder; `*` and `<step>` match any name."""
    codes = re.findall(rf"(?<=[\s`(\[])(?:\./)?((?:{FOLDERS})/[\w./*<>-]*[\w*])", text_of(name))
    for path in codes:
        assert list(ROOT.glob(re.sub(r"<\w+>", "*", path))), path


def test_the_table_of_the_package_names_what_exists() -> None:
    """Each path in the table of changes exists in the package or in the checkout."""
    text = text_of("ips_flows/README.md")
    rows = text[text.index("| change |") : text.index("## Python")]
    paths = re.findall(r"`([\w<>*/.-]+(?:\.\w+|/))`", rows)
    assert len(paths) > 40
    for path in paths:
        place = re.sub(r"<\w+>", "*", path)
        assert [*ROOT.glob(place), *ROOT.glob(f"ips_flows/{place}")], path
