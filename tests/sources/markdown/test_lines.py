"""Markdown as people and their programs write it: a reader sees what the author saw, or `check` names it."""

from __future__ import annotations

import pytest

from tests.fixtures.growth import is_slow
from tidings.sources.body import render_body
from tidings.sources.links import LinkProblem, WebLinks
from tidings.sources.markdown.lines import prepare_lines


def read(text: str) -> tuple[str, list[LinkProblem]]:
    links = WebLinks("https://site.example/1")
    html = render_body(text, links).html.replace("\n", "")
    return html, [problem for problem in links.problems if "alt text" not in problem.message]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Needs:\n• wells\n• pumps", "<p>Needs:</p><ul><li>wells</li><li>pumps</li></ul>"),
        ("\uf0b7\twells\n\uf0b7\tpumps", "<ul><li>wells</li><li>pumps</li></ul>"),
        ("– Воды нет.\n– Будет!", "<p>– Воды нет.<br>– Будет!</p>"),
        ("a) wells\nb) pumps", "<p>a) wells<br>b) pumps</p>"),
        ("1.1 Wells\n1.2 Pumps", "<p>1.1 Wells<br>1.2 Pumps</p>"),
        ("✅ Wells\n📌 Pumps", "<p>✅ Wells<br>📌 Pumps</p>"),
        ("Region | Wells\nNorth | 5", "<p>Region | Wells<br>North | 5</p>"),
        ("Region\tWells\nNorth\t5", "<p>Region\tWells<br>North\t5</p>"),
        ("Well\n: A deep hole", "<p>Well<br>: A deep hole</p>"),
        ("    The first line is indented.", "<p>The first line is indented.</p>"),
        ("##Wells", "<h2>Wells</h2>"),
        ("#Wells #Pumps", "<p>#Wells #Pumps</p>"),
    ],
)
def test_a_list_typed_by_hand_was_one_long_line(text: str, expected: str) -> None:
    assert read(text) == (expected, [])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("**«Вода»**и жизнь", "<p><strong>«Вода»</strong>и жизнь</p>"),
        ("**注意：**请看**“水”**吧", "<p><strong>注意：</strong>请看<strong>“水”</strong>吧</p>"),
        ("**a *b* c** and ** d **", "<p><strong>a <em>b</em> c</strong> and ** d **</p>"),
        ("H~2~O, 10^6^ m^3^, ~5 km to ~10 km", "<p>H<sub>2</sub>O, 10<sup>6</sup> m<sup>3</sup>, ~5 km to ~10 km</p>"),
        ("~отменено~ ok^_^", "<p><s>отменено</s> ok^_^</p>"),
        ("[small words]{.smallcaps} end", "<p>small words end</p>"),
    ],
)
def test_signs_of_emphasis_were_shown_to_readers(text: str, expected: str) -> None:
    assert read(text) == (expected, [])


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("See https://un.example/a_b_c.", "https://un.example/a_b_c"),
        ("(https://un.example/a_(b))", "https://un.example/a_(b)"),
        ("请看https://un.example/水。", "https://un.example/%E6%B0%B4"),
        ("[the report] (https://un.example/r)", "https://un.example/r"),
        ("(the report)[https://un.example/r]", "https://un.example/r"),
        ("[报告]（https://un.example/r）", "https://un.example/r"),
        ("[the report](https://un.example/a b.html)", "https://un.example/a%20b.html"),
        ("<https://un.example/r|the report>", "https://un.example/r"),
        ("![[annual report.pdf]]", "https://site.example/annual%20report.pdf"),
    ],
)
def test_an_address_that_nobody_could_click_is_a_link(text: str, address: str) -> None:
    html, problems = read(text)
    assert f'<a href="{address}">' in html
    assert not problems


@pytest.mark.parametrize(
    "text",
    ["`https://un.example`", '<a href="https://un.example">x</a>', "[x](https://un.example)", "xhttps://un.example"],
)
def test_an_address_in_code_or_a_link_stays(text: str) -> None:
    assert ">https://un.example</a>" not in read(text)[0]


@pytest.mark.parametrize(
    "text",
    [
        "![A well|300](/a.jpg)",
        "![A well|300x200](/a.jpg)",
        "![A well](/a.jpg =300x200)",
        "![A well](/a.jpg =50%)",
        "![[a.jpg|A well|300]]",
        ":::{figure} /a.jpg\n:alt: A well\n:::",
        "```{image} /a.jpg\n:alt: A well\n:width: 50%\n```",
        '{% include figure.html src="/a.jpg" alt="A well" %}',
        '{% include figure image_path="/a.jpg" alt="A well" %}',
    ],
)
def test_the_size_of_a_picture_is_no_part_of_it(text: str) -> None:
    html, problems = read(text)
    assert '<img src="https://site.example/a.jpg" alt="A well">' in html
    assert not problems


@pytest.mark.parametrize(
    "text",
    [
        "Shown{{/* call Anna first */}}.",
        "Shown{/* call Anna first */}.",
        "Shown{% comment %}call\nAnna{% endcomment %}.",
        "Shown{::comment}call Anna{:/comment}.",
        "[TOC]\n\nShown.",
        "* TOC\n{:toc}\n\nShown.",
        "[[_TOC_]]\n\nShown.",
        'import Wells from "./wells";\n\nShown.',
        "export const wells = 5;\n\nShown.",
        "(wells)=\nShown.",
        "+++\n\nShown.",
        "<o:p>Shown.</o:p>",
        "id:: 65abc-1\ncollapsed:: true\nShown.",
        "#+BEGIN_NOTE\nShown.\n#+END_NOTE",
        "::: {.columns}\nShown.\n:::",
    ],
)
def test_what_only_an_editor_reads_was_published(text: str) -> None:
    assert read(text) == ("<p>Shown.</p>", [])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (":::warning\nWet.\n:::", "<p><strong>Warning</strong></p><p>Wet.</p>"),
        (":::tip[Take care]\nWet.\n:::", "<p><strong>Take care</strong></p><p>Wet.</p>"),
        ("::: {.callout-note}\nWet.\n:::", "<p><strong>Note</strong></p><p>Wet.</p>"),
        ("```{note}\nWet.\n```", "<blockquote><p><strong>Note</strong></p><p>Wet.</p></blockquote>"),
        ("```{tip} Dear\n:class: x\nWet.\n```", "<blockquote><p><strong>Dear</strong></p><p>Wet.</p></blockquote>"),
        ("> [!quote|right] Words\n> Wet.", "<blockquote><p><strong>Words</strong><br>Wet.</p></blockquote>"),
        ("<aside>\n💡 **Wet.**\n</aside>", "<aside><p>💡 <strong>Wet.</strong></p></aside>"),
        ("A claim^[Its *source*.] here", "<p>A claim<sup>[1]</sup> here</p><hr><ol><li>Its <em>source</em>.</li></ol>"),
    ],
)  # fmt: skip
def test_a_directive_was_shown_as_code_or_signs(text: str, expected: str) -> None:
    assert read(text) == (expected, [])


@pytest.mark.parametrize(
    "text",
    [
        "As said[^9].",
        "Cost $x^2$ now",
        "$$\nE = m\n$$",
        "[url=https://un.example]x",
        '[button link="x"]',
        "[/su_note]",
        "{loadposition right}",
        "a {::nomarkdown} b",
        "See {ref}`label`",
        "*[UN]: United Nations",
        "```{csv-table} Wells\n1,2\n```",
        "+---+---+",
    ],
)
def test_a_mark_that_nothing_turns_into_words_is_named(text: str) -> None:
    _, problems = read(text)
    assert len(problems) == 1
    assert "means nothing here" in problems[0].message or "shown as code" in problems[0].message


def test_code_in_fences_stays_as_it_is() -> None:
    code = "```\n• a\n##b\n{/* c */}\n[TOC]\n<o:p>\n:::note\n```\n\n~~~\n{: .x }\n~~~"
    assert prepare_lines(code) == code


def test_comments_go_outside_of_fences_alone() -> None:
    code = "```\n{{/* b */}}\n```"
    assert prepare_lines(f"x{{{{/* a */}}}}y\n\n{code}\n\n{{{{/* c */}}}}z") == f"xy\n\n{code}\n\nz"


def test_many_comments_take_linear_time() -> None:
    assert not is_slow(prepare_lines, lambda size: "{{/* x */}}\n" * 20 * size)
