"""One public class name stands for one thing in the whole product."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

from tests.support.paths import ROOT

_SHAPES = Path("ips_flows/core/rest/schemas.py")  # the OpenAPI shapes: their names are on the wire


def public_classes() -> dict[str, list[str]]:
    """The public classes of the product at the top of their modules: name → modules."""
    modules: dict[str, list[str]] = defaultdict(list)
    for root in ("ips_flows", "steps"):
        for path in sorted((ROOT / root).rglob("*.py")):
            where = path.relative_to(ROOT)
            if where == _SHAPES:
                continue
            for node in ast.parse(path.read_text(encoding="utf-8")).body:
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    modules[node.name].append(str(where))
    return modules


def test_no_public_class_name_stands_in_two_modules() -> None:
    """A reader who meets a class name need not ask which of two classes it is."""
    classes = public_classes()
    assert len(classes) > 100
    assert {name: modules for name, modules in classes.items() if len(modules) > 1} == {}
