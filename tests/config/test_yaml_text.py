"""The strict YAML reader keeps values as they are written, and each refusal has its line and column."""

from __future__ import annotations

import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from tidings.config.yaml_text import (
    MAX_BYTES,
    MAX_PROBLEMS,
    Mapping,
    Node,
    Scalar,
    Sequence,
    describe_key_without_space,
    read_text,
    read_yaml,
)


def plain(node: Node | None) -> object:
    if isinstance(node, Mapping):
        return {key.text: plain(value) for key, value in node.entries}
    if isinstance(node, Sequence):
        return [plain(item) for item in node.items]
    return node.text if node is not None else None


@pytest.mark.parametrize(
    "text",
    ["12:30", "no", "on", "yes", "010", "1.10", "2023-09-27", "0x1F", "1_000", "null", "~", "1e3", ".inf", "09:00"],
)
def test_a_scalar_is_its_source_text(text: str) -> None:
    node, problems = read_yaml(f"a: {text}\n{text}: b\nc: [{text}]\n", "f")
    assert (plain(node), problems) == ({"a": text, text: "b", "c": [text]}, [])


def test_pyyaml_alone_would_change_these_texts() -> None:
    """The reason why Tidings has its own reader."""
    loaded = YAML(typ="safe", pure=True).load("%YAML 1.1\n---\n[12:30, no, 010, 1.10]")
    assert loaded == [750, False, 8, 1.1]


def test_quoted_and_block_scalars_give_their_value() -> None:
    node, problems = read_yaml(
        "a: \"x\\ty # no\"\nb: 'it''s'\nc: |\n  one\n  two\nd: >-\n  one\n  two\ne: ''\nf:\n", "f"
    )
    expected = {"a": "x\ty # no", "b": "it's", "c": "one\ntwo\n", "d": "one two", "e": "", "f": ""}
    assert (plain(node), problems) == (expected, [])
    assert isinstance(node, Mapping)
    empty, nothing = node.get("e"), node.get("f")
    assert isinstance(empty, Scalar) and isinstance(nothing, Scalar)
    assert (empty.quoted, nothing.quoted) == (True, False)


def test_places_count_from_one_and_from_the_first_line() -> None:
    node, _ = read_yaml("a:\n  - x\n  - {b: c}\n", "f", first_line=11)
    assert isinstance(node, Mapping)
    inner = node.get("a")
    assert isinstance(inner, Sequence)
    second = inner.items[1]
    assert isinstance(second, Mapping)
    key, value = second.entries[0]
    assert (inner.items[0].line, inner.items[0].column) == (12, 5)
    assert (key.line, key.column, value.line, value.column) == (13, 6, 13, 9)


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("a: &x 1\n", "f:1:4: '&x' is an anchor. Take it out, or put the text in quotes"),
        ("a: 1\nb: *x\n", "f:2:4: '*x' is an alias. Write the value out, or put it in quotes"),
        ("a: 1\nb:\n  <<: c\n", "f:3:3: '<<' merges are not used here. Write the keys out"),
        ("a: !!str 1\n", "f:1:4: '!!str' is a tag. Take it out, or put the text in quotes"),
        ("a: [!secret x]\n", "f:1:5: '!secret' is a tag. Take it out, or put the text in quotes"),
        ("a: ! x\n", "f:1:4: '!' is a tag. Take it out, or put the text in quotes"),
        ("# c\n\n%YAML 1.1\n---\na: 1\n", "f:3:1: directives (%YAML, %TAG) are not used here. Take the line out"),
        ("%TAG ! tag:x,2000:\n---\na: 1\n", "f:1:1: directives (%YAML, %TAG) are not used here. Take the line out"),
        ("%ELSE x\n---\na: 1\n", "f:1:1: directives (%YAML, %TAG) are not used here. Take the line out"),
        ("a: 1\n---\nb: 2\n", "f:2:1: a second document begins here. Keep one document in a file; take out '---'"),
        ("a: 1\n...\nb: 2\n", "f:3:1: a second document begins here. Keep one document in a file; take out '---'"),
        ("a: 1\nb: 2\n'a': 3\n", "f:3:1: the key 'a' is here twice, first in line 1. Keep one of them"),
        ("a: {b: 1, b: 2}\n", "f:1:11: the key 'b' is here twice, first in line 1. Keep one of them"),
        ("? [a]\n: b\n", "f:1:3: a key must be one word. Write `key: value`"),
        ("a:\n\tb: 1\n", "f:2:1: there is a tab here. Write spaces instead of the tab"),
        ("a: b: c\n", "f:1:5: the text of 'a' has a colon. Put it in quotes: `a: \"b: c\"`"),
        ("x: 1\na: @b\n", "f:2:4: a text cannot begin with @ here. Put the text in quotes"),
        ("a: 1\nb: [c,\n d\n", "f:2:4: the bracket that is opened here is never closed. Close it"),
        ("a: 1\nb: 'c\n\nd\n", "f:2:4: the quotes that are opened here are never closed. Close them"),
        ("a: [[{b: c}]\n", "f:1:4: the bracket that is opened here is never closed. Close it"),
        ("a: {b: c}}\n", "f:1:10: there is one '}' too many after the bracket. Take it out"),
        ("a: {b: c};\nd: e\n", "f:1:10: there is one ';' too many after the bracket. Take it out"),
        ("a: {b: c} d: e\n", "f:1:11: the line continues after its bracket. "
         "Begin a new line, or put the whole text in quotes"),
        ("a: {b: c]\n", "f:1:9: a brace is closed with ] here. Close { with }, and [ with ]"),
        ("a: [b, c}\n", "f:1:9: a list is closed with } here. Close { with }, and [ with ]"),
        ("a: {b: c,, d: e}\n", "f:1:10: there is one comma too many here. Take it out"),
        ("a: > b\n", "f:1:6: after > or | the text begins in the next line. Write it there, or put the text in quotes"),
        ("a: & b\n", "f:1:5: a text cannot begin with & here. Put the text in quotes"),
        ("a: !!! b\n", "f:1:7: a text cannot begin with ! here. Put the text in quotes"),
        ('a: "b\\qc"\n', "f:1:7: a backslash has a meaning in double quotes. Double it, or use single quotes"),
        ("a: x\nb: y\x07z\n", "f:2:5: there is an invisible character here (U+0007). "
         "Take it out, or type the line again"),
    ],
)  # fmt: skip
def test_each_refusal_has_its_line_and_column(text: str, first: str) -> None:
    _, problems = read_yaml(text, "f")
    assert [str(problem) for problem in problems] == [first]


def test_a_refusal_does_not_hide_the_rest() -> None:
    node, problems = read_yaml("%YAML 1.2\n---\na: &x 1\nb: *x\na: 2\nc: \x00\n---\nd: 1\n", "f")
    assert [(problem.line, problem.column) for problem in problems] == [(6, 4), (1, 1), (3, 4), (4, 4), (5, 1), (7, 1)]
    assert plain(node) == {"a": "1", "b": "", "c": ""}


@pytest.mark.parametrize("text", ["[" * 33 + "]" * 33, "- " * 33 + "x", "{a: " * 33 + "}" * 33])
def test_too_deep_nesting_is_refused(text: str) -> None:
    node, problems = read_yaml(text, "f")
    assert node is None and "nested deeper than 32" in problems[-1].message
    assert read_yaml("[" * 32 + "]" * 32, "f")[1] == []


def test_an_alias_bomb_is_refused_at_once() -> None:
    """Other readers load nine levels in 2 ms, and every later walk over them takes for ever."""
    bomb = "a: &a [x, x]\n" + "".join(
        f"{chr(98 + level)}: &{chr(98 + level)} [{', '.join(['*' + chr(97 + level)] * 10)}]\n" for level in range(9)
    )
    begin = time.process_time()
    _, problems = read_yaml(bomb, "f")
    assert time.process_time() - begin < 10
    assert len(problems) == MAX_PROBLEMS + 1 and "rest is not read" in str(problems[-1])


@pytest.mark.parametrize("text", ["[" * 900_000, "{" * 900_000, "a: [" + "*a," * 300_000, "- " * 450_000])
def test_a_hostile_file_is_refused_at_once(text: str) -> None:
    begin = time.process_time()
    node, problems = read_yaml(text, "f")
    assert node is None and problems
    assert time.process_time() - begin < 20


def test_line_numbers_are_those_of_editors() -> None:
    """YAML 1.1 begins a line at U+2028 and U+0085, editors do not."""
    _, problems = read_yaml('a: "x\u2028y"\nb: "x\x85y"\nc: &d e\n', "f")
    assert [str(problem)[:7] for problem in problems] == ["f:3:4: "]


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_byte_order_mark_and_line_endings(ending: str) -> None:
    text, problems = read_text("\ufeffa: 1\nb: &x 2\n".replace("\n", ending).encode(), "f")
    assert text is not None and not problems
    node, problems = read_yaml(text, "f")
    assert plain(node) == {"a": "1", "b": "2"}
    assert [(problem.line, problem.column) for problem in problems] == [(2, 4)]


def test_invalid_utf8_has_a_line_and_column() -> None:
    text, problems = read_text("a: 1\nü: ".encode() + b"\xe9t\xe9\n", "f")
    assert text is None
    assert str(problems[0]) == "f:2:4: this is not UTF-8 text. Save the file as UTF-8 in your editor"


def test_a_too_large_file_is_refused() -> None:
    assert "keep it under" in read_text(b"#" * (MAX_BYTES + 1), "f")[1][0].mend
    assert "keep it under" in read_yaml("#" * (MAX_BYTES + 1), "f")[1][0].mend


@given(
    st.text(
        alphabet=st.one_of(st.sampled_from("ab:-?[]{}&*!|>'\"%@`#,. \n\t\r<~0\\x\ufeff\u2028\x85"), st.characters())
    )
)
@example("\ud800")
@example("? ")
@example("!<")
@example('"\\')
@example("&a")
@example("--- |1\n")
@example("%\n---")
@example("!!")
def test_no_text_makes_the_reader_raise(text: str) -> None:
    _, problems = read_yaml(text, "f", 5)
    for problem in problems:
        assert problem.message and str(problem).startswith("f:")
        assert problem.line == 0 or 5 <= problem.line <= 5 + text.count("\n") + text.count("\r")


@given(st.recursive(st.text(alphabet="abc: #-'\"\n", max_size=8), lambda inner: st.one_of(
    st.lists(inner, max_size=3), st.dictionaries(st.text(alphabet="abc -", min_size=1, max_size=5), inner, max_size=3)
), max_leaves=8))  # fmt: skip
def test_the_output_of_another_writer_is_read(tree: object) -> None:
    """JSON is YAML. A writer that quotes every text leaves nothing ambiguous."""
    import json

    node, problems = read_yaml(json.dumps({"k": tree}, ensure_ascii=False), "f")
    assert not problems and plain(node) == {"k": tree}


@given(st.text(alphabet="ab: -[]{}'\"#\n,", max_size=40))
def test_all_that_pyyaml_loads_is_read(text: str) -> None:
    """Our reader accepts all that the library loads (without aliases, tags and the like), with the same keys."""
    try:
        loaded = YAML(typ="safe", pure=True).load(text)
    except (YAMLError, ValueError):
        return
    node, problems = read_yaml(text, "f")
    if isinstance(loaded, dict) and not problems:
        assert isinstance(node, Mapping)
        assert len(node.entries) == len(loaded)
    assert all("not valid YAML" not in problem.message for problem in problems)


_NBSP, _ZERO, _SHY, _LS, _BOM = "\u00a0", "\u200b", "\u00ad", "\u2028", "\ufeff"


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        (f"cadence:\n{_NBSP} weekly: fri 09:00\n   window: 8\n", "f:2:1:", "U+00A0, no-break space"),
        (f"cadence:\n  weekly:{_NBSP}fri 09:00\n  window: 8\n", "f:2:10:", "U+00A0"),
        (f"a: 1\nb: 2{_BOM}\n", "f:2:5:", "U+FEFF"),
        (f"deliver:\n  -{_ZERO}list: digest\n    frequency: all\n", "f:2:4:", "U+200B, zero width space"),
        (f"cadence:\n  week{_SHY}ly:fri 09:00\n  holidays: KZ\n", "f:2:7:", "U+00AD, soft hyphen"),
        (f"site:\n  title: x\n{_LS}  url: y\n", "f:3:1:", "U+2028, line separator"),
        (f"cadence:\n  weekly: fri 09:00{_LS}deliver: x\n", "f:2:20:", "U+2028, line separator"),
        ("cadence:\n  weekly: fri 09:00\x85deliver: x\n", "f:2:20:", "U+0085"),
        (
            "cadence:\n  weekly\uff1afri 09:00\n  holidays: KZ\n",
            "f:2:9:",
            "a fullwidth colon (U+FF1A). Write `weekly: fri",
        ),
        ("<<<<<<< HEAD\na: 1\n=======\na: 2\n>>>>>>> b\n", "f:1:1:", "two versions of this file were not merged"),
        (
            "cadence:\n  weekly:fri 09:00\n  holidays: KZ\n",
            "f:2:9:",
            "missing after 'weekly:'. Write `weekly: fri 09:00`",
        ),
        ("deliver:\n  -list: digest\n    frequency: all\n", "f:2:3:", "missing in '-list:'. Write `- list:`"),
        ("a: {weekly: mon,thu 09:00}\n", "f:1:5:", 'Put it in quotes: `weekly: "mon, thu 09:00"`'),
        ("a: {en: Good, better, best, ru: x}\n", "f:1:5:", 'Put it in quotes: `en: "Good, better, best"`'),
        ("t: {en: News: today, ru: x}\n", "f:1:5:", 'Put it in quotes: `en: "News: today"`'),
        ("title: Driving change: UN\n", "f:1:22:", 'Put it in quotes: `title: "Driving change: UN"`'),
        ('title:\u2003"Press"\nurl: https://a.kz/\n', "f:1:7:", "U+2003, em space"),
        ("- list: digest\n     frequency: weekly\n", "f:2:1:", "further to the right than the line before"),
        ("- list: digest\n frequency: weekly\n", "f:2:2:", "this line is not in its column"),
        ('title: "News" of the week\n', "f:1:8:", "`'\"News\" of the week'`"),
        ("title: 'L'Echo'   # a paper\n", "f:1:8:", 'Put the whole text in quotes: `"L\'Echo"`'),
        ("title: [Press] news\n", "f:1:8:", "continues after its brackets"),
        ('t: {en: "News" today, ru: x}\n', "f:1:9:", "`'\"News\" today'`"),
        ('title: "Press\nurl: "x"\n', "f:1:8:", "closed in a later line"),
        ("subject: {{ lead.title }}\n", "f:1:10:", 'Write `"{{ lead.title }}"`'),
        ("t: {en: #Press, ru: x}\nu: y\n", "f:1:9:", "a # begins a comment"),
        ("w: {host: local; port: 8080}\n", "f:1:16:", "not separated by ';'"),
        ("languages:\n  * en\n  * ru\n", "f:2:3:", "Write `- en`"),
        ("port = 1025\nsecurity: none\n", "f:1:5:", "after 'port' is an equals sign (U+003D). Write `port: 1025`"),
    ],
)
def test_a_typing_mistake_is_named_at_its_place(text: str, place: str, words: str) -> None:
    _, problems = read_yaml(text, "f")
    assert problems and str(problems[0]).startswith(place), [str(problem) for problem in problems]
    assert words in str(problems[0])
    assert len(problems) == 1


def test_texts_for_readers_keep_their_spaces() -> None:
    text = f"a: {_NBSP}Le titre{_NBSP}! Oui\nb: x{_ZERO}y{_SHY}z\nc: |\n  {_NBSP}indented\n  weekly: [mon, thu] 09:00\n"
    node, problems = read_yaml(text, "f")
    assert problems == []
    assert isinstance(plain(node), dict) and "weekly: [mon, thu] 09:00" in str(plain(node))


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("c:\n  weekly: [mon, thu] 09:00\n", "[mon, thu] 09:00"),
        ("c:\n  weekly: [mon, thu] 09:00   # twice a week\n", "[mon, thu] 09:00"),
        ("c: {weekly: [mon, thu] 09:00}\n", "[mon, thu] 09:00"),
        ("c: {weekly: [mon, thu] 09:00, holidays: KZ}\n", "[mon, thu] 09:00"),
        ("c:\n  weekly: [mon, thu] [09:00, 17:00]\n", "[mon, thu] [09:00, 17:00]"),
        ("c:\n  weekly: [mon, thu] 09:00, 17:00\n", "[mon, thu] 09:00, 17:00"),
        ('c:\n  weekly: "[mon, thu] 09:00"\n', "[mon, thu] 09:00"),
        ("c:\r\n  weekly: [mon, thu] 09:00\r\n  holidays: KZ\r\n", "[mon, thu] 09:00"),
    ],
)
def test_days_in_brackets_before_a_time_are_read(text: str, days: str) -> None:
    node, problems = read_yaml(text, "f")
    assert problems == []
    assert isinstance(node, Mapping)
    cadence = node.get("c")
    assert isinstance(cadence, Mapping)
    value = cadence.get("weekly")
    assert isinstance(value, Scalar) and value.text == days


def test_a_mistake_beside_days_in_brackets_keeps_its_line() -> None:
    _, problems = read_yaml("c:\n  weekly: [mon, thu] 09:00\nd: &x 1\ne: [1, 2\n", "f")
    assert [str(problem)[:5] for problem in problems] == ["f:3:4", "f:4:4"]


@pytest.mark.parametrize(
    ("text", "column"),
    [("title: News #1 of May\n", 13), ("title: #Weekly\n", 8), ("t: {en: News #1\n  , ru: x}\n", 14)],
)
def test_a_text_that_a_number_sign_cuts_is_named(text: str, column: int) -> None:
    [problem] = read_yaml(text, "f", warns=True)[1]
    assert (problem.line, problem.column, problem.level) == (1, column, "warning")
    assert read_yaml(text, "f")[1] == []
    assert read_yaml("port: 25   # the usual one\nb: 1 ## two\nc: x#y\nd: '#1'\n", "f", warns=True)[1] == []


@pytest.mark.parametrize("sign", [_ZERO, _SHY])
def test_an_invisible_sign_is_no_missing_space(sign: str) -> None:
    """`max_items:` and such a sign, alone below `select:`, is one text for YAML."""
    fault = describe_key_without_space(f"max_items:{sign}3")
    assert fault is not None and f"U+{ord(sign):04X}" in fault[0]
