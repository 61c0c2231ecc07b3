"""Every regular expression of the tree takes at most linear time, whatever text strangers send.

The patterns are found in the source. Each one gets its slowest inputs: repetitions of each part that can match, after a
text that leads to this part and before an end that does not match.
"""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import chain, islice
from pathlib import Path
from re import _constants as sre  # type: ignore[attr-defined]
from re import _parser as sre_parse  # type: ignore[attr-defined]
from typing import Any

import pytest

from tests.fixtures.growth import SIZES, is_slow

SOURCE = Path(__file__).parents[1] / "src" / "tidings"
SOURCES = {path: path.read_text() for path in sorted(SOURCE.rglob("*.py"))}
CALLS = {"compile", "sub", "subn", "match", "search", "findall", "split", "fullmatch", "finditer"}
ANY_CALL = "|".join(sorted(CALLS))
MODULES = [path for path, source in SOURCES.items() if re.search(rf"\bre\s*\.\s*(?:{ANY_CALL})\b", source)]
"""The functions that make a pattern."""
EXHAUSTING = {"sub", "subn", "findall", "finditer", "split"}
NOT_FOUND = {
    "channels/http.py",  # patterns of adapters, each a constant, for values of tidings.yaml
    "model/refusal.py",  # the table of words: `tests/model/test_refusal.py` measures it
    "channels/wording.py",  # a fixed address and at most some punctuation after it
    "channels/mail_api/base.py",  # a fixed text
    "render/template_check.py",  # a fixed name
    "render/mail/dkim.py",  # the name of a header
    "render/mail/fragments.py",  # a hash
    "runtime/people_files/status_columns.py",  # words
    "sources/html_tags.py",  # the names of a few elements
    "sources/embeds.py",  # hosts
    "runtime/preview/preview.py",  # a fixed address
    "runtime/demo/demo.py",  # a caller's constant
    "store/people/erasure.py",  # fixed texts
    "store/migrations/versions/m0002_plain_names.py",  # a fixed name, in SQL of our own
}
"""Modules with a pattern that is made at run time from a fixed text. `re.escape` makes these linear."""


@dataclass(frozen=True)
class Pattern:
    """A pattern, its place, and how it is used."""

    place: str
    text: str | bytes
    flags: int
    methods: frozenset[str]


@cache
def find_patterns() -> tuple[list[Pattern], set[str]]:
    """Return every pattern of the tree, and the modules in which one is made at run time."""
    patterns: list[Pattern] = []
    unknown = set()
    uses: dict[tuple[str, str], set[str]] = {}
    for path, source in SOURCES.items():
        for name, method in re.findall(rf"(\w+)\s*\.\s*({ANY_CALL})\b", source):
            # A private name belongs to its module. A public name may be used anywhere.
            uses.setdefault((path.name if name.startswith("_") else "", name), set()).add(method)
    for path in MODULES:
        tree = ast.parse(SOURCES[path])
        place = path.relative_to(SOURCE).as_posix()
        parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
        names: dict[str, Any] = {}
        for node in ast.walk(tree):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CALLS):
                continue
            if not (isinstance(node.func.value, ast.Name) and node.func.value.id == "re"):
                continue
            if not names:
                module = "tidings." + place.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
                names = vars(importlib.import_module(module))
            words = {word.arg: word.value for word in node.keywords}
            positions = {"compile": 1, "match": 2, "search": 2, "findall": 2, "fullmatch": 2, "finditer": 2}
            position = positions.get(node.func.attr, 99)
            flags = words.get("flags") or (node.args[position] if len(node.args) > position else None)
            try:
                text = _evaluate(node.args[0], names)
                value = int(_evaluate(flags, names)) if flags is not None else 0
            except NameError:
                unknown.add(place)
                continue
            methods = {node.func.attr}
            if node.func.attr == "compile":
                target = parents.get(node)
                target = target.targets[0] if isinstance(target, ast.Assign) else getattr(target, "target", None)
                name = getattr(target, "id", "")
                module_uses = uses.get((path.name if name.startswith("_") else "", name), set())
                methods = module_uses - {"compile"} or {"search", "finditer"}
            patterns.append(Pattern(f"{place}:{node.lineno}", text, value, frozenset(methods)))
    return patterns, unknown


def _evaluate(node: ast.expr, names: dict[str, Any]) -> Any:
    return eval(compile(ast.Expression(node), "pattern", "eval"), names)  # our own source


# -- the worst inputs -------------------------------------------------------------------------------------------------


def worst_inputs(text: str | bytes, flags: int) -> Iterator[tuple[str, str, str]]:
    """Yield a beginning, a part to repeat, and an end."""
    tree = sre_parse.parse(text, flags)
    seen = set()
    for before, nodes in _sequences(tree, ""):
        units = _group_literals(nodes)
        for start in range(len(units)):
            lead = before + _sample(chain(*units[:start]))
            for end in range(start + 1, min(start + 5, len(units)) + 1):
                for longer in (False, True):
                    case = lead, _sample(chain(*units[start:end]), longer=longer)
                    if case[1] and case not in seen:
                        seen.add(case)
                        yield from ((*case, stop) for stop in ("", "\x00"))
    for part in ("a", " ", "<", "\n", "0", ".", "-", '"', "<a ", "a=", "a.", " a", "é"):
        yield "", part, "\x00"


def _group_literals(nodes: list[Any]) -> list[list[Any]]:
    """Return the nodes with each run of literals as one unit."""
    units: list[list[Any]] = []
    for node in nodes:
        if units and node[0] is sre.LITERAL and units[-1][0][0] is sre.LITERAL:
            units[-1].append(node)
        else:
            units.append([node])
    return units


def _sequences(nodes: Any, before: str) -> Iterator[tuple[str, list[Any]]]:
    """Yield each sequence of the pattern, with a text that reaches it."""
    items = list(nodes)
    yield before, items
    for place, (kind, value) in enumerate(items):
        lead = before + _sample(items[:place])
        if kind in (sre.MAX_REPEAT, sre.MIN_REPEAT, sre.POSSESSIVE_REPEAT):
            yield from _sequences(value[2], lead)
        elif kind is sre.SUBPATTERN:
            yield from _sequences(value[3], lead)
        elif kind is sre.ATOMIC_GROUP:
            yield from _sequences(value, lead)
        elif kind is sre.BRANCH:
            for branch in value[1]:
                yield from _sequences(branch, lead)
        elif kind in (sre.ASSERT, sre.ASSERT_NOT):
            yield from _sequences(value[1], lead)


def _sample(nodes: Any, *, longer: bool = False) -> str:
    """Return a short text that the nodes match, or nearly."""
    pieces = []
    for kind, value in nodes:
        if kind is sre.LITERAL:
            pieces.append(chr(value))
        elif kind is sre.NOT_LITERAL:
            pieces.append("a" if value != ord("a") else "b")
        elif kind is sre.ANY:
            pieces.append("a")
        elif kind is sre.IN:
            pieces.append(_member(value))
        elif kind in (sre.MAX_REPEAT, sre.MIN_REPEAT, sre.POSSESSIVE_REPEAT):
            count = max(value[0], 1 if longer else 0)
            pieces.append(_sample(value[2], longer=longer) * min(count, 40))
        elif kind is sre.SUBPATTERN:
            pieces.append(_sample(value[3], longer=longer))
        elif kind is sre.ATOMIC_GROUP:
            pieces.append(_sample(value, longer=longer))
        elif kind is sre.BRANCH:
            pieces.append(_sample(value[1][0], longer=longer))
    return "".join(pieces)


def _member(members: Any) -> str:
    """Return a letter of the class."""
    for letter in " a0-.,<>=/\"'\t\nAZbé:_@;()[]{}|~\u200b\x00\x80":
        if _matches(members, letter):
            return letter
    for kind, value in members:
        if kind is sre.LITERAL:
            return chr(value)
        if kind is sre.RANGE:
            return chr(value[0])
    return "a"


def _matches(members: Any, letter: str) -> bool:
    negated = any(kind is sre.NEGATE for kind, _ in members)
    inside = False
    for kind, value in members:
        if kind is sre.LITERAL:
            inside |= ord(letter) == value
        elif kind is sre.RANGE:
            inside |= value[0] <= ord(letter) <= value[1]
        elif kind is sre.CATEGORY:
            inside |= re.match(_CATEGORIES[value], letter) is not None
    return inside != negated


_CATEGORIES = {
    sre.CATEGORY_DIGIT: r"\d", sre.CATEGORY_NOT_DIGIT: r"\D", sre.CATEGORY_SPACE: r"\s",
    sre.CATEGORY_NOT_SPACE: r"\S", sre.CATEGORY_WORD: r"\w", sre.CATEGORY_NOT_WORD: r"\W",
}  # fmt: skip


# -- measuring --------------------------------------------------------------------------------------------------------


def use_pattern(pattern: re.Pattern[Any], method: str) -> Callable[[Any], object]:
    """Return a function that uses the pattern like the code does."""
    if method in EXHAUSTING:
        return lambda text: sum(1 for _ in islice(pattern.finditer(text), 1_000_000))
    return getattr(pattern, method)  # type: ignore[no-any-return]


def test_every_pattern_is_found() -> None:
    patterns, made_at_run_time = find_patterns()
    assert len(patterns) > 180
    assert made_at_run_time <= NOT_FOUND


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.relative_to(SOURCE).as_posix())
def test_no_pattern_takes_more_than_linear_time(module: Path) -> None:
    patterns, _ = find_patterns()
    place = module.relative_to(SOURCE).as_posix()
    for pattern in {(pattern.text, pattern.flags): pattern for pattern in patterns}.values():
        if pattern.place.startswith(f"{place}:"):
            _check_linear(pattern)


def _check_linear(pattern: Pattern) -> None:
    compiled = re.compile(pattern.text, pattern.flags)
    for method in sorted(pattern.methods):
        run = use_pattern(compiled, method)
        for lead, part, end in worst_inputs(pattern.text, pattern.flags):

            def make(count: int, lead: str = lead, part: str = part, end: str = end) -> Any:
                text = lead + part * count + end
                return text.encode("utf-8", "surrogatepass") if isinstance(pattern.text, bytes) else text

            worst = f"{lead!r} + {part!r} * n + {end!r}"
            assert not is_slow(run, make), f"{pattern.place}: {method} of {pattern.text!r} on {worst}"


@pytest.mark.parametrize(
    ("text", "method"),
    [
        (r"<(/?)([a-z][a-z0-9-]*)[^<>]*?(/?)>", "finditer"),
        (r"<img\b(?=[^>]*\bwidth=1)[^>]*>", "sub"),
        (r"<a\b[^>]*\bmore-link\b.*?</a>", "sub"),
        (r"\s*\n\s*", "sub"),
        (r"\s+$", "search"),
        (r"(a+)+b", "match"),
    ],
)
def test_the_measure_notices_a_slow_pattern(text: str, method: str) -> None:
    run = use_pattern(re.compile(text), method)
    cases = worst_inputs(text, 0)
    sizes = (*SIZES, 4 * SIZES[-1])  # a fast machine is quicker than the clock with fewer
    assert any(is_slow(run, lambda n, case=case: case[0] + case[1] * n + case[2], sizes) for case in cases)
