"""Each public class name is unique in the product."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

from tests.support.paths import ROOT

_SHAPES = Path("ips_flows/core/rest/schemas.py")  # OpenAPI schemas: their names are part of the REST API


def public_classes() -> dict[str, list[str]]:
    """Return the public top-level classes of the product: name → modules."""
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


def test_no_public_class_name_is_in_two_modules() -> None:
    """No two modules define a public class of the same name."""
    classes = public_classes()
    assert len(classes) > 100
    assert {name: modules for name, modules in classes.items() if len(modules) > 1} == {}
