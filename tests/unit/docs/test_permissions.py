"""The Role for users in deploy/README.md."""

from __future__ import annotations

import re

import yaml

from ips_flows.operations.doctor import _USER_RIGHTS
from tests.support.paths import ROOT


def test_the_role_for_users_has_what_the_doctor_checks() -> None:
    """The Role grants exactly the permissions that `ips-flow doctor` checks for a user."""
    text = (ROOT / "deploy" / "README.md").read_text(encoding="utf-8")
    section = text[text.index("## Permissions") : text.index("## Operations")]
    role = yaml.safe_load(re.findall(r"```yaml\n(.*?)```", section, re.DOTALL)[0])
    assert role["kind"] == "Role"
    assert f" --role={role['metadata']['name']} " in section
    assert role["rules"] == [
        {"apiGroups": [group], "resources": [resource], "verbs": list(verbs)}
        for group, resource, verbs in _USER_RIGHTS
    ]
