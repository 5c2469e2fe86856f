"""Scan of the product's source: qualified names in string literals, and environment variables that it reads."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from typing import Any

import yaml

from tests.support.paths import ROOT

_CODE = ("ips_flows", "steps")
_YAML = ("templates", "deploy/base", "deploy/components")
_PREFIX = "ips-flow.io/"
_OURS = re.compile(r"[\w.-]*ips-flow\.io/[\w./<>-]*")
# A name with a domain as prefix: a label, an annotation, a taint, an API group. Neither a URL nor an example.
_DOMAIN = r"\.(?:io|com|dev|org)/"
_QUALIFIED = re.compile(rf"(?<![\w./:@-])[a-z0-9-]+(?:\.[a-z0-9-]+)*{_DOMAIN}[\w./{{}}-]*")


def our_names() -> list[str]:
    """Return every name with our prefix in the product, written as `PREFIX + "…"` or in full."""
    return sorted({name for text in _texts() for name in _OURS.findall(text)})


def other_names() -> list[str]:
    """Return every name with another prefix: names of Kubernetes, Argo and service meshes."""
    found = {name for text in _texts() for name in _QUALIFIED.findall(text)}
    return sorted(name for name in found if not re.search(r"ips-flow\.io|\bexample\.", name))


def environment_reads() -> list[str]:
    """Return every environment variable that the code reads by name. LookupError: the scan does not know a read."""
    return sorted({name for tree in _trees("environ|getenv") for name in _reads(tree)})


@functools.cache
def _sources() -> tuple[str, ...]:
    files = sorted(file for folder in _CODE for file in (ROOT / folder).rglob("*.py"))
    return tuple(file.read_text(encoding="utf-8") for file in files)


def _trees(pattern: str) -> Iterator[ast.Module]:
    """Yield the modules whose source matches a pattern, because parsing all of them takes a second."""
    return (ast.parse(source) for source in _sources() if re.search(pattern, source))


@functools.cache
def _texts() -> frozenset[str]:
    return frozenset(_all_texts())


def _all_texts() -> Iterator[str]:
    """Yield the string literals of the code, without docstrings, and the scalars of the YAML files."""
    prefixes = {name for tree in _trees(re.escape(_PREFIX)) for name in _named_prefixes(tree)}
    for tree in _trees("|".join([_DOMAIN, *sorted(prefixes)])):
        documentation = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if id(node) in documentation:
                continue
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value
            elif isinstance(node, ast.BinOp | ast.JoinedStr):
                yield _joined(node, prefixes)
    for folder in _YAML:
        for file in sorted((ROOT / folder).rglob("*.yaml")):
            for document in yaml.load_all(file.read_text(encoding="utf-8"), yaml.CSafeLoader):
                yield from _scalars(document)


def _named_prefixes(tree: ast.Module) -> Iterator[str]:
    """Yield the names of constants that hold our prefix."""
    for node in tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Constant):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if node.value.value == _PREFIX:
                yield from (target.id for target in targets if isinstance(target, ast.Name))


def _joined(node: ast.expr, prefixes: set[str]) -> str:
    """Return a concatenation as text: constants as they are, our prefix in full, everything else as `<>`."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.Name(id=name) if name in prefixes:
            return _PREFIX
        case ast.Attribute(attr=name) if name in prefixes:
            return _PREFIX
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return _joined(left, prefixes) + _joined(right, prefixes)
        case ast.JoinedStr(values=values):
            return "".join(_joined(value, prefixes) for value in values)
        case ast.FormattedValue(value=value):
            return _joined(value, prefixes)
    return "<>"


def _scalars(document: Any) -> Iterator[str]:
    if isinstance(document, dict):
        for key, value in document.items():
            yield from _scalars(key)
            yield from _scalars(value)
    elif isinstance(document, list):
        for item in document:
            yield from _scalars(item)
    elif isinstance(document, str):
        yield document


def _reads(tree: ast.Module) -> Iterator[str]:
    """Yield the names that a module reads from `os.environ`, also through a parameter with this default."""
    nodes = list(ast.walk(tree))
    defaults = [
        (argument.arg, default)
        for node in nodes
        if isinstance(node, ast.FunctionDef)
        for argument, default in zip(reversed(node.args.args), reversed(node.args.defaults), strict=False)
        if _is_environ(default)
    ]
    parameters = {name for name, _ in defaults}
    understood = len(defaults)
    for node in nodes:
        match node:
            case (
                ast.Call(
                    func=ast.Attribute(value=holder, attr="get" | "getenv"),
                    args=[ast.Constant(value=str(name)), *_],
                )
                | ast.Subscript(value=holder, slice=ast.Constant(value=str(name)))
            ):
                direct = _is_environ(holder)
                understood += direct
                by_getenv = isinstance(holder, ast.Name) and holder.id == "os"
                if direct or by_getenv or (isinstance(holder, ast.Name) and holder.id in parameters):
                    yield name
    if understood != sum(map(_is_environ, nodes)):
        raise LookupError("os.environ is used in a way that this scan does not understand")


def _is_environ(node: ast.AST | None) -> bool:
    return isinstance(node, ast.Attribute) and node.attr == "environ"
