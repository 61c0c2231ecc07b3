"""Marks of Obsidian, Hugo, Jekyll and GitHub in Markdown: a reader sees the same as the author."""

from __future__ import annotations

import pytest

from tests.fixtures.growth import is_slow
from tidings.sources.body import render_body
from tidings.sources.links import WebLinks


def read(text: str) -> str:
    links = WebLinks("https://site.example/1")
    html = render_body(text, links).html
    assert not links.problems
    return html.replace("\n", "")


def test_a_footnote_of_one_word_is_no_address() -> None:
    assert read("Water[^1] and land[^b].\n\n[^1]: Rivers\n[^b]: *Fields*") == (
        "<p>Water<sup>[1]</sup> and land<sup>[2]</sup>.</p><hr><ol><li>Rivers</li><li><em>Fields</em></li></ol>"
    )


def test_footnotes_come_in_the_order_of_the_text() -> None:
    text = "[^z]: Last, over\ntwo lines.\n\n    And a part.\n\nA[^a] b[^z] c[^a].\n\n"
    text += "[^a]: First\n\n[^u]: Unused\n"
    html = read(text)
    assert "<p>A<sup>[1]</sup> b<sup>[2]</sup> c<sup>[1]</sup>.</p>" in html
    assert html.index("First") < html.index("Last, over") < html.index("And a part.") < html.index("Unused")


@pytest.mark.parametrize("text", ["`a[^1]`\n\n[^1]: x", "```\n[^1]: x\n==y==\n```", "    [^1]: x", "a == b == c"])
def test_code_and_signs_stay_as_they_are(text: str) -> None:
    html = read(text)
    assert "<sup>" not in html and "<mark>" not in html


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("> [!note] By the river\n> Text.", "<blockquote><p><strong>By the river</strong><br>Text.</p></blockquote>"),
        ("> [!WARNING]\n> Text.", "<blockquote><p><strong>Warning</strong><br>Text.</p></blockquote>"),
        ("> [!tip]- Folded", "<blockquote><p><strong>Folded</strong></p></blockquote>"),
        ("- [x] done\n- [ ] open", "<ul><li>☑ done</li><li>☐ open</li></ul>"),
        ("A ==new **big** well== here", "<p>A <mark>new <strong>big</strong> well</mark> here</p>"),
        ("<details open><summary>A</summary>B</details>", "<details open><summary>A</summary>B</details>"),
    ],
)
def test_marks_become_what_they_mean(text: str, expected: str) -> None:
    assert read(text).replace('open=""', "open") == expected


def test_many_marks_take_time_in_proportion() -> None:
    def text(size: int) -> str:
        return "\n".join(f"Text[^{number}] ==a b\n\n[^{number}]: Note [^{number}" for number in range(size))

    assert not is_slow(read, text)


def test_layout_attributes_are_not_text() -> None:
    text = '# Title {#id .wide}\n\n![A](https://e.example/a.jpg){: width="600" .left}\n\nText\n{: .lead }\n\n[B](https://e.example){.button}'
    html = read(text)
    assert "{" not in html
    assert "<h2>Title</h2>" in html and ">B</a>" in html and "<p>Text</p>" in html
    assert "{: .x}" in read("```\n{: .x}\n```")
    assert "{a}" in read("A set {a} and f(x){y}.")


def test_comments_of_editors_are_not_published() -> None:
    text = "One %%ask Ada first%% two, 100%% and 50%%.\n\n%%\nA whole\n\npart\n%%\n\nThree ^a1b2c3\n"
    assert read(text) == "<p>One  two, 100%% and 50%%.</p><p>Three</p>"
    assert "%%kept%%" in read("`%%kept%%`")
    assert read("```\n%%\nx = 1\n%%\ny = 2\n```\n") == "<pre><code>%%x = 1%%y = 2</code></pre>"
    assert "x ^2" in read("x ^2")


def test_jekylls_site_address_belongs_to_the_path() -> None:
    text = "![A]({{ site.baseurl }}/a.jpg) [B]({{ '/b/' | relative_url }}) [C]({{ site.url }}{{ site.baseurl }}/c/)"
    html = read(text)
    for path in ("a.jpg", "b/", "c/"):
        assert f'"https://site.example/{path}"' in html


def test_a_value_that_only_a_template_knows_is_told() -> None:
    links = WebLinks("https://site.example/1")
    render_body('{{ page.title }} and {{< ref "other.md" >}}', links)
    assert [problem.value for problem in links.problems] == ["{{ page.title }}", '{{< ref "other.md" >}}']
