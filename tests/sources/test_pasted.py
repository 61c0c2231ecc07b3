"""Stories pasted from word processors: lists, headings and emphasis stay, and editors' comments are removed."""

from __future__ import annotations

import pytest

from tidings.sources.body import sanitise
from tidings.sources.links import WebLinks


def read(markup: str) -> tuple[str, list[str]]:
    """Return the body of a pasted text without empty spans, and the messages."""
    links = WebLinks("https://site.example/news/1")
    body = sanitise(markup, links).html
    return body.replace("<span>", "").replace("</span>", ""), [problem.message for problem in links.problems]


def word_item(level: int, marker: str, text: str) -> str:
    sign = (
        f'<![if !supportLists]><span><span style="mso-list:Ignore">{marker}<span>&nbsp; </span></span></span><![endif]>'
    )
    style = f"text-indent:-18pt;mso-list:l0 level{level} lfo1"
    return f'<p class="MsoListParagraph" style="{style}">{sign}{text}<o:p></o:p></p>\n'


def test_list_paragraphs_of_word_are_lists() -> None:
    items = word_item(1, "·", "Wells") + word_item(2, "o", "Deep") + word_item(1, "·", "Pumps")
    body, problems = read(items + "<p class=MsoNormal>After</p>")
    assert "".join(body.split("\n")) == "<ul><li>Wells<ul><li>Deep</li></ul></li><li>Pumps</li></ul><p>After</p>"
    assert not problems


@pytest.mark.parametrize(
    ("marker", "start"),
    [("1.", "<ol>"), ("4)", '<ol start="4">'), ("a.", '<ol type="a">'), ("IV.", '<ol type="I">'), ("-", "<ul>")],
)
def test_numbers_of_word_stay_numbers(marker: str, start: str) -> None:
    assert read(word_item(1, marker, "Wells"))[0].startswith(f"{start}<li>Wells")


def test_a_bullet_typed_into_a_paragraph_makes_a_list() -> None:
    assert read("<p>·&nbsp;&nbsp;&nbsp; <b>Wells</b> &amp; pumps</p><p>· One</p>")[0] == (
        "<ul><li><b>Wells</b> &amp; pumps</li></ul><p>· One</p>"
    )


@pytest.mark.parametrize(
    "start",
    [
        'p class="MsoTitle"',
        'p style="mso-outline-level:1"',
        'div role="heading" aria-level="1"',
        "p class='MsoHeading1'",
    ],
)
def test_paragraphs_styled_as_headings_are_headings(start: str) -> None:
    assert read(f"<{start}>Wells</{start.split()[0]}><p>Text</p>")[0] == "<h2>Wells</h2><p>Text</p>"


def test_no_reader_sees_the_comments_of_editors() -> None:
    word = (
        '<p>Text<span class="MsoCommentReference"><a class="msocomanchor" href="#_msocom_1">[AB1]</a></span></p>'
        '<div style="mso-element:comment-list"><hr><div style="mso-element:comment"><p>Ask the boss</p></div></div>'
    )
    google = (
        '<p>Text<sup><a href="#cmnt1" id="cmnt_ref1">[a]</a></sup></p><div style="border:1px solid"><p>'
        '<a href="#cmnt_ref1" id="cmnt1">[a]</a>Ask the boss</p><p>Again</p></div>'
    )
    for markup in (word, google):
        body, problems = read(f"<div>{markup}<p>End</p></div>")
        assert "boss" not in body
        assert "Again" not in body
        assert "End" in body
        assert ["comment of an editor is left out" in each for each in problems] == [True]


def test_settings_and_hidden_text_of_word_are_left_out() -> None:
    settings = "<xml><w:WordDocument><w:View>Normal</w:View></w:WordDocument></xml>"
    toc = '<a>Start<span style="display:none;mso-hide:screen">.....3</span></a>'
    assert read(f"{settings}<p>{toc}</p>") == ("<p><a>Start</a></p>", [])


def test_tracked_changes_of_word_are_named() -> None:
    _, problems = read('<p><ins cite="mailto:ada">new</ins> <del cite="mailto:ada">old</del></p>')
    assert len(problems) == 1
    assert "tracked changes" in problems[0]
    assert read("<p><ins>new</ins> <del>old</del></p>")[1] == []


def test_google_docs_is_bold_only_where_it_is_bold() -> None:
    body, _ = read(
        '<b style="font-weight:normal" id="docs-internal-guid-1"><p><span style="font-weight:700;font-style:italic">'
        'Wells</span> <span style="text-decoration:line-through">dry</span> '
        '10<span style="vertical-align:super">2</span></p></b>'
    )
    assert body == "<p><strong><em>Wells</em></strong> <s>dry</s> 10<sup>2</sup></p>"


def test_a_task_of_google_docs_or_github_is_a_sign() -> None:
    google = '<img src="data:image/png;base64,iVBO" alt="unchecked" aria-roledescription="checkbox">Wells'
    assert read(f"<p>{google}</p>") == ("<p>☐ Wells</p>", [])
    assert read('<p><input type="checkbox" checked disabled>Wells</p>') == ("<p>☑ Wells</p>", [])


def test_controls_of_a_player_are_no_text() -> None:
    ghost = (
        '<div class="kg-card kg-audio-card"><div class="kg-audio-player-container"><audio src="https://g.example/a.mp3">'
        '</audio><div class="kg-audio-title">The talk</div><div class="kg-audio-player"><button>Play</button><span>0:00'
        '</span><div>/<span>12</span></div><input type="range"><button>1&#215;</button></div></div></div><p>End</p>'
    )
    body, problems = read(ghost)
    assert "0:00" not in body
    assert "The talk" in body
    assert '<a href="https://g.example/a.mp3">' in body
    assert not problems


def test_a_player_keeps_a_link_if_only_its_inside_has_one() -> None:
    url = "https://g.example/a.mp3"
    body, _ = read(f'<audio controls src="{url}"><a href="{url}">{url}</a></audio>')
    assert f'<p><a href="{url}">a.mp3</a></p>' in body


def test_a_link_through_a_mail_filter_is_named() -> None:
    _, problems = read(
        '<a href="https://eur01.safelinks.protection.outlook.com/?url=https%3A%2F%2Fun.example">Report</a>'
    )
    assert "mail filter" in problems[0]
