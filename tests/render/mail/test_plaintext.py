"""HTML bodies as text, and their headings."""

from __future__ import annotations

from tidings.render.mail.plaintext import fit_headings, html_to_text, wrap


def test_wrapping_never_cuts_a_url() -> None:
    url = "https://example.org/" + "a" * 100
    assert url in wrap(f"Words before {url} and after").splitlines()


def test_bodies_as_text_keep_links_lists_and_quotes() -> None:
    text = html_to_text(
        '<p>One<br>two</p><ul><li>a <a href="https://x/">b</a></li><li>c</li></ul><blockquote><p>q</p></blockquote>'
        "<pre>  p\n q</pre><table><tr><th>h</th><td>d</td></tr></table>"
        '<p><a href="mailto:a@b.c">a@b.c</a></p><p><img src="x" alt="picture"></p>'
    )
    assert text == "One\ntwo\n\n- a b <https://x/>\n- c\n\n> q\n\n  p\n q\n\nh | d\n\na@b.c\n\n[picture]"


def test_headings_of_a_body_skip_no_level() -> None:
    assert fit_headings('<h1 id="a">A</h1><h4>B</h4><h1>C</h1>', 3) == "<h3>A</h3><h4>B</h4><h3>C</h3>"


def test_a_numbered_list_begins_where_its_author_began() -> None:
    assert html_to_text('<ol start="7"><li>a</li><li>b</li></ol>') == "7. a\n8. b"


def test_a_list_that_begins_with_a_huge_number_holds_no_digest() -> None:
    assert html_to_text(f'<ol start="{"9" * 5_000}"><li>a</li></ol>') == "1. a"


def test_elements_without_content_stay_empty() -> None:
    body = '<picture><source srcset="/a.webp"><img src="/a.jpg" alt="A"></picture><p>long<wbr>word</p>'
    assert fit_headings(body, 3) == body
    assert html_to_text(body) == "[A]\n\nlongword"
