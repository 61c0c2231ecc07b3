"""Bodies are safe, absolute and accessible. A parser of another project reads them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import lxml.html
import pytest
from PIL import Image

from tidings.model.text import clean, summarise
from tidings.sources.body import render_body
from tidings.sources.links import ContentLocation, FileLinks, LinkProblem, encode_url
from tidings.sources.media import LocalFile, measure

SITE = "https://news.example/desk/"


class Disk:
    def measure(self, path: Path, *, picture: bool) -> LocalFile:
        return measure(path, picture=picture)

    def note_missing(self, path: Path) -> None: ...


@pytest.fixture
def links(tmp_path: Path) -> FileLinks:
    content = tmp_path / "content"
    (content / "media").mkdir(parents=True)
    Image.new("RGB", (40, 30)).save(content / "media" / "при вет.jpg")
    (content / "media" / "brief.pdf").write_bytes(b"%PDF-1.7")
    (content / "other.en.md").write_text("---\ntitle: T\n---\n")
    return FileLinks(ContentLocation(tmp_path, content, content, SITE), Disk())


def html(text: str, links: FileLinks) -> str:
    return render_body(text, links).html


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "<svg onload=alert(1)><a xlink:href='javascript:x'>y</a></svg>",
        "<math><mtext><table><mglyph><style><img src=x onerror=alert(1)>",
        "<iframe src=https://e.example></iframe>",
        "<p style='position:fixed'>x</p>",
        "<a href='java\tscript:alert(1)'>x</a>",
        "<a href='&#106;avascript:alert(1)'>x</a>",
        "[x](data:text/html;base64,PHNjcmlwdD4=)",
        "<a href='vbscript:x'>x</a><form action=x><input></form>",
        "<noscript><p title='</noscript><img src=x onerror=alert(1)>'>",
        "<video src=javascript:x poster=javascript:y></video>",
        "<base href='https://e.example/'><link rel=stylesheet href=x><meta http-equiv=refresh>",
    ],
)
def test_scripts_are_removed(links: FileLinks, text: str) -> None:
    tree = lxml.html.fragment_fromstring(html(text, links), create_parent=True)
    for element in tree.iter():
        assert element.tag not in {"script", "svg", "math", "iframe", "style", "form", "input", "base", "link", "meta"}
        for name, value in element.attrib.items():
            assert not str(name).startswith("on") and name != "style"
            assert "script:" not in value and "data:" not in value


def test_common_html_is_kept(links: FileLinks) -> None:
    text = (
        '<p lang="kk" dir="rtl">a</p><figure><picture><source srcset="media/при%20вет.jpg 2x" type="image/jpeg">'
        '<img src="media/при%20вет.jpg" alt="A"></picture><figcaption>C</figcaption></figure>'
        '<video src="https://e.example/v.mp4" controls></video>\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n~~gone~~\n'
    )
    out = html(text, links)
    for part in ('lang="kk"', 'dir="rtl"', "<figcaption>", "<picture>", "<video", "<th>a</th>", "<s>gone</s>", " 2x"):
        assert part in out


def test_every_link_is_absolute_ascii_and_encoded(links: FileLinks) -> None:
    out = html(
        "[a](media/brief.pdf#page=2) [b](</о нас>) [c](about/) [d](//cdn.example/x) [e](https://президент.example/я?q=а)"
        " [f](mailto:a@b.example) [g](tel:+77001112233) [h](#top) ![i](<media/при вет.jpg>)",
        links,
    )
    tree = lxml.html.fragment_fromstring(out, create_parent=True)
    addresses = [value for _, attribute, value, _ in tree.iterlinks() if attribute in ("href", "src")]
    digest = hashlib.sha256(b"%PDF-1.7").hexdigest()[:16]
    assert addresses[:7] == [
        f"{SITE}media/{digest}/brief.pdf#page=2",
        "https://news.example/%D0%BE%20%D0%BD%D0%B0%D1%81",
        f"{SITE}about/",
        "https://cdn.example/x",
        "https://xn--d1abbgf6aiiy.example/%D1%8F?q=%D0%B0",
        "mailto:a@b.example",
        "tel:+77001112233",
    ]
    assert len(addresses) == 8 and addresses[7].endswith("/%D0%BF%D1%80%D0%B8%20%D0%B2%D0%B5%D1%82.jpg")
    assert all(address.isascii() and " " not in address for address in addresses)


def test_srcset_and_poster_are_absolute_too(links: FileLinks) -> None:
    """The W3C validator never reports a relative img src, so nothing else would notice (facts: feeds)."""
    out = html(
        '<img srcset="media/при%20вет.jpg 1x, /b.jpg 2x" src="/c.jpg" alt="A"><video poster="/d.jpg"></video>', links
    )
    [img] = lxml.html.fragment_fromstring(out, create_parent=True).iter("img")
    assert all(part.startswith((SITE, "https://news.example/")) for part in img.get("srcset").split(", "))
    assert img.get("src") == "https://news.example/c.jpg" and 'poster="https://news.example/d.jpg"' in out


def test_local_files_become_measured_media(links: FileLinks) -> None:
    out = html("![A](<media/при вет.jpg>)", links)
    [media] = links.media.values()
    assert (media.path, media.name, media.media_type) == ("content/media/при вет.jpg", "при вет.jpg", "image/jpeg")
    assert 'width="40" height="30"' in out and media.length > 0 and len(media.digest) == 16


def test_a_rotated_picture_has_the_size_that_is_shown(links: FileLinks) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 30)).save(links.location.content / "turned.jpg", exif=exif)
    assert 'width="30" height="40"' in html("![A](turned.jpg)", links)


@pytest.mark.parametrize(
    ("text", "words", "level"),
    [
        ("[x](other.en.md)", "file of an item", "error"),
        ("[x](nothing.en.md)", "file of an item", "error"),
        ("![A](nothing.jpg)", "no file 'nothing.jpg'", "error"),
        ("![A](../../etc/passwd.jpg)", "no file", "error"),
        ("[x](nothing.pdf)", "no file 'nothing.pdf'", "warning"),
        ("![](<media/при вет.jpg>)", "no alt text", "warning"),
        ("<img src='https://e.example/a.jpg'>", "no alt text", "warning"),
        ("<a href='//[bad'>x</a>", "left out", "warning"),
        ("[x](.hidden.pdf)", "hidden", "error"),
        ("[x](page.html)", "cannot be served", "error"),
    ],
)
def test_problems_with_addresses_are_reported(links: FileLinks, text: str, words: str, level: str) -> None:
    (links.location.content / ".hidden.pdf").write_text("x")
    (links.location.content / "page.html").write_text("x")
    render_body(text, links)
    assert [(fault.level, words in fault.message) for fault in links.problems] == [(level, True)]


def test_a_link_out_of_the_folder_is_refused(links: FileLinks) -> None:
    (links.location.root / "keys.json").write_text("{}")
    render_body("[x](../keys.json)", links)
    assert links.problems[0].level == "error" and "leads out" in links.problems[0].message and not links.media


@pytest.mark.parametrize(
    ("text", "tags"),
    [
        ("# A\n\n## B\n\n# C", ["h2", "h3", "h2"]),
        ("### A\n\n#### B", ["h2", "h3"]),
        ("<h1>A</h1>\n\n###### B", ["h2", "h6"]),
        ("## A", ["h2"]),
    ],
)
def test_headings_begin_at_h2(links: FileLinks, text: str, tags: list[str]) -> None:
    tree = lxml.html.fragment_fromstring(html(text, links), create_parent=True)
    assert [element.tag for element in tree.iter() if str(element.tag).startswith("h")] == tags


def test_the_opening_is_the_text_of_the_first_paragraph(links: FileLinks) -> None:
    assert render_body("# Head\n\n![](x)\n\nFirst *one* &amp; <b>two</b>\nlines.\n\nSecond", links).opening in (
        "First one & two lines.",
    )
    assert render_body("<ul><li>One</li><li>Two</li></ul>", links).opening == "One Two"
    assert render_body("", links).opening == ""


def test_a_summary_ends_at_a_word() -> None:
    text = "слово " * 100
    short = summarise(text)
    assert len(short) <= 300 and short.endswith("слово…")
    assert summarise("short") == "short" and len(summarise("x" * 1000)) == 300


def test_rendering_its_own_output_changes_nothing(links: FileLinks) -> None:
    once = html("## A\n\nText with [a](https://e.example/?a=1&b=2) & <b>b</b>\n", links)
    assert html(once, links) == once


@pytest.mark.parametrize(
    "address", ["", "x", "http://", "https:///x", "https://e.example:99999/", "http://[::1", "ftp://x/"]
)
def test_invalid_web_addresses_are_refused(address: str) -> None:
    assert encode_url(address) is None


def test_link_problems_have_a_level() -> None:
    assert LinkProblem("x", "y").level == "error"


def test_quotation_marks_of_windows_are_no_controls() -> None:
    assert clean("\x93Water\x94 \x96 5 \x80\x85\x81") == "“Water” – 5 €…"
