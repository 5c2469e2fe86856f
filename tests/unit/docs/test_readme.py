from __future__ import annotations

import re

from ips_flows.cli.main import VERBS
from tests.docs import renewed
from tests.support.paths import README


def test_the_reference_is_what_the_code_says() -> None:
    """The generated parts of the README are up to date (`python -m tests.docs` writes them)."""
    text = README.read_text(encoding="utf-8")
    assert renewed(text) == text


def test_every_verb_of_a_transcript_exists() -> None:
    """The README uses no verb that the command does not have."""
    text = README.read_text(encoding="utf-8")
    used = set(re.findall(r"(?:^|[\s`$(])ips-flow ([a-z]+)", text))
    assert used <= set(VERBS), used - set(VERBS)
