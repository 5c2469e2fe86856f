"""Report of phrases that have a plainer form: in docstrings, comments, messages, READMEs, JavaScript and YAML."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

from tests.support.paths import ROOT, readmes

# Regular expression of a phrase → its plain form. A space also matches a line break in a comment block.
PHRASES = {
    r"notices?(?= (?:is|are|was|were|of|to|that|which|about|gets?)\b)": "webhook notification",
    r"tells?|telling|told": "report, send, print, show, state or record",
    r"says|saying|said": "report, print, show, state or record",
    r"by \w+'s own words?|words? of|a word": "message, record or text",
    r"loss(?:es)? of nodes|lost nodes?|nodes? (?:may|can) be lost": "failed nodes",
    r"judge[sd]?|judging": "check or decide from evidence",
    r"let(?:s|ting)? go|lets? \w+ go": "ungate a pod, release a lock",
    r"(?:is|are) to go": "is deleted, will be deleted",
    r"born": "created",
    r"mend(?:s|ed|ing)?": "fix",
    r"(?:looks?|looked|looking) (?:at|after|for|into|again)": "check, read, list or search",
    r"(?:asks?|asked|asking)": "request, read or query",
    r"answers? (?:\d{3}|with|to|so|as|of|on)|what \w+ answers": "response, return, respond",
    r"stands?|standing|stood": "is, is stored, is listed",
    r"what (?:is|was) (?:there|left)|not there|no longer there": "exists, is missing",
    r"things?|the ones|ones": "the noun",
    r"bears?|bearing|borne": "handle, tolerate",
    r"spoil(?:s|ed|t|ing)?|unbearable|doomed": "make invalid, invalid, sure to fail",
    r"anew": "again",
    r"by and by|ere long": "gradually, soon",
    r"again and again": "repeatedly",
    r"whoever|whomever": "the client, user or process that",
    r"nobody(?:'s)?|no one(?:'s)?": "no client, no process, no user",
    r"somebody(?:'s)?|someone(?:'s)?": "another client, process or user",
    r"at once": "at the same time, or immediately",
    r"in one go": "in one request",
    r"keeps? \w+ waiting": "do not block",
    r"in vain": "without effect",
    r"of old": "of earlier versions",
    r"where (?:it|they|each|a link) leads?|leads? (?:there|here|somewhere|to it)": "target, URL, location",
    r"fate|fates": "outcome",
    r"(?:to|until) its end": "until it ends",
    r"(?:leaves?|left|leaving|lets?) (?:\w+ )?alone": "do not change, ignore",
    r"what (?:a|an|the|each|every|one) \w+ (?:needs|gets|has|does)": "(name the object)",
    r"own hands?|(?<!edit\s)by hand|'s hands?": "manually",
    r"last word": "final state",
    r"figures?": "value, number, metric",
    r"others than": "other than",
    r"instead of all": "(state the default)",
    r"has (?:had enough|no say|a say)": "(name the rule)",
    r"against (?:a|the) (?:task|request)": "preflight checks, problems",
    r"keep(?:s)? (?:the )?others from|be done without": "(state what continues)",
    r"each one once": "duplicate",
    r"must stand|may stand": "expected, allowed",
}
# First words of a docstring that is a clause. A docstring is an imperative ("Return …") or a noun phrase.
OPENINGS = (
    r"All that|How|Those|What|Where|Who|Whoever|Whether"
    r"|One(?= (?:that|which|who|whose|with|without|for|from|in|to)\b|[,.])"  # "One node" is a number
)

_GAP = r"[\s#*/]+"
_PLAIN = [
    (re.compile(rf"(?<![\w.])(?:{phrase.replace(' ', _GAP)})\b", re.IGNORECASE), plain)
    for phrase, plain in PHRASES.items()
]
_OPENING = re.compile(rf"\s*({OPENINGS})\b")
_FOLDERS = ("ips_flows", "steps", "tests", "deploy/local")
_SCRIPTS = ROOT / "ips_flows" / "server" / "web"
_OBJECTS = ("ips_flows/server/web", "deploy", "templates")
_KINDS = ("yaml", "json", "html")
# These files contain the phrases.
_OWN = {Path(__file__).resolve(), ROOT / "tests" / "unit" / "docs" / "test_phrases.py"}

# A comment or a string of JavaScript: quotes in a comment start no string, and `//` in a string starts no comment.
_SCRIPT_TEXT = re.compile(
    r"""(?P<block>/\*.*?\*/)|//[^\n]*(?:\n[ \t]*//[^\n]*)*"""
    r"""|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|`(?:[^`\\]|\\.)*`""",
    re.DOTALL,
)


def report() -> Iterator[str]:
    """Yield a line per hit, `file:line: phrase (plain form)`, and a last line with the number of hits."""
    hits = files = 0
    for path in sources():
        found = list(phrases(path.read_text(encoding="utf-8"), path.suffix))
        hits += len(found)
        files += bool(found)
        for line, phrase, plain in found:
            yield f"{path.relative_to(ROOT)}:{line}: {phrase} ({plain})"
    yield f"{hits} hits in {files} files"


def sources() -> Iterator[Path]:
    """Yield the files that the report reads: READMEs, Python, JavaScript, YAML, the dashboard, the page."""
    yield from readmes()
    found = {path for folder in _FOLDERS for path in (ROOT / folder).rglob("*.py")}
    found |= set(_SCRIPTS.rglob("*.js"))
    found |= {path for folder in _OBJECTS for kind in _KINDS for path in (ROOT / folder).rglob(f"*.{kind}")}
    yield from sorted(found - _OWN)


def phrases(source: str, suffix: str) -> Iterator[tuple[int, str, str]]:
    """Yield line, phrase and plain form of each hit in the text of a file with this suffix, in the order of lines."""
    found: list[tuple[int, str, str]] = []
    for first, text, opens in _texts(source, suffix):
        opening = _OPENING.match(text) if opens else None
        if opening:
            line = first + text.count("\n", 0, opening.start(1))
            found.append((line, f"{opening[1]} …", "imperative or noun phrase"))
        for match, plain in _matches(text):
            found.append((first + text.count("\n", 0, match.start()), _one_line(match[0]), plain))
    yield from sorted(found)


def _matches(text: str) -> Iterator[tuple[re.Match[str], str]]:
    """Yield the matches in a text with their plain forms; of overlapping matches the first, longest one."""
    found = [(match, plain) for pattern, plain in _PLAIN for match in pattern.finditer(text)]
    end = 0
    for match, plain in sorted(found, key=lambda one: (one[0].start(), -one[0].end())):
        if match.start() >= end:
            yield match, plain
            end = match.end()


def _texts(source: str, suffix: str) -> Iterator[tuple[int, str, bool]]:
    """Yield the first line of each text, the text, and whether its opening is checked as a docstring's."""
    if suffix == ".py":
        yield from _strings(source)
        yield from _comments(source)
    elif suffix == ".js":
        yield from _script_texts(source)
    else:
        yield 1, source, False


def _strings(source: str) -> Iterator[tuple[int, str, bool]]:
    """Yield the prose in a Python module's strings; the docstring of a boolean function may begin with `Whether`."""
    tree = ast.parse(source)
    docstrings: dict[ast.expr, bool] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            match node.body:
                case [ast.Expr(value=ast.Constant(value=str(text)) as constant), *_]:
                    docstrings[constant] = not (_is_boolean(node) and text.startswith("Whether"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and _is_prose(node.value):
            yield node.lineno, node.value, docstrings.get(node, False)


def _is_prose(text: str) -> bool:
    """Return whether a text has several words; a single word is a key, a name or a value."""
    return len(text.split()) > 1


def _is_boolean(node: ast.AST) -> bool:
    returned = getattr(node, "returns", None)
    return isinstance(returned, ast.Name) and returned.id == "bool"


def _comments(source: str) -> Iterator[tuple[int, str, bool]]:
    """Yield the comments of a Python module; lines of one block are one text."""
    first, block = 0, list[str]()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            line, column = token.start
            alone = not token.line[:column].strip()
            if block and not (alone and line == first + len(block)):
                yield first, "\n".join(block), False
                block = []
            first = first if block else line
            block.append(token.string)
    if block:
        yield first, "\n".join(block), False


def _script_texts(source: str) -> Iterator[tuple[int, str, bool]]:
    """Yield the comments and strings of a JavaScript file; `/** … */` is a docstring."""
    for match in _SCRIPT_TEXT.finditer(source):
        text = match[0]
        documents = text.startswith("/**")
        if documents:  # remove the markers, keep the lines
            text = re.sub(r"^\s*\*+", "", text.removeprefix("/").removesuffix("*/"), flags=re.MULTILINE)
        if _is_prose(text):
            yield 1 + source.count("\n", 0, match.start()), text, documents


def _one_line(phrase: str) -> str:
    return " ".join(re.split(_GAP, phrase)).lower()
