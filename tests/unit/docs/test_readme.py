from __future__ import annotations

import re
from collections import Counter

import pytest

from ips_flows.cli.main import VERBS
from tests.docs import parts, places, renewed
from tests.support.paths import README, ROOT, readmes

WIDTH, LINES = 120, 200
NAMES = [str(path.relative_to(ROOT)) for path in readmes()]


@pytest.mark.parametrize("name", NAMES)
def test_the_reference_is_up_to_date(name: str) -> None:
    """The generated parts of each README are up to date (`python -m tests.docs` writes them)."""
    text = (ROOT / name).read_text(encoding="utf-8")
    assert renewed(text) == text


def test_each_generated_part_is_in_one_readme() -> None:
    """No generated part is missing, and none is repeated."""
    assert Counter(name for name, _ in places()) == Counter(list(parts()))


def test_an_unknown_part_is_an_error() -> None:
    """A mark with an unknown name is an error."""
    with pytest.raises(LookupError, match="no generated part colours"):
        renewed("<!-- begin colours -->\nred\n<!-- end colours -->")


@pytest.mark.parametrize("name", NAMES)
def test_every_verb_of_a_transcript_exists(name: str) -> None:
    """A README uses no verb that the command does not have."""
    text = (ROOT / name).read_text(encoding="utf-8")
    used = set(re.findall(r"(?:^|[\s`$(])ips-flow ([a-z]+)", text))
    assert used <= set(VERBS), used - set(VERBS)


def test_lines_of_the_top_readme_fit_a_terminal() -> None:
    """The top README has at most 200 lines, which fit the width of a terminal, except tables and links."""
    lines = README.read_text(encoding="utf-8").splitlines()
    long = [
        line for line in lines if len(line) > WIDTH and not re.match(r"\||\S*\[[^]]*\]\([^)]*\)\S*$", line)
    ]
    assert (long, len(lines) <= LINES) == ([], True)
