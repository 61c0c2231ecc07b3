"""Each gate finds its fault, and the shipped templates pass every gate."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.render.mail.samples import (
    SITE,
    UNSUBSCRIBE_URL,
    document,
    headers,
    item,
    many,
    message,
    own_templates,
    parts,
)
from tidings.model.edition import Selection
from tidings.model.item import Image
from tidings.render.mail.gates import LIMIT, check_mail
from tidings.render.mail.mime import plain_message

FEW = many(4)
SELECTION = Selection("en", FEW[0], tuple(FEW[1:3]), (FEW[3],))
GOOD = message(document(FEW), SELECTION)
TEXT, HTML = parts(GOOD)


def mail(html: str = HTML, text: str = TEXT, **changes: object) -> bytes:
    return plain_message(headers(subject="Subject", **changes), text, html)


def gates(raw: bytes) -> set[str]:
    return {failure.gate for failure in check_mail(raw)}


@pytest.mark.parametrize("template", ["digest", "press", "alert"])
@pytest.mark.parametrize("language", ["en", "ru", "kk", "ar"])
def test_shipped_templates_pass_every_gate(template: str, language: str) -> None:
    items = [item("a", language=language), item("b", kind="event", starts=FEW[0].published, place="Almaty"), item("c")]
    note = item("n", kind="note", language=language)
    doc = document(
        items, template=template, language=language, notes=[note], corrections=[item("d", correction="66, not 60.")]
    )
    selection = Selection(language, items[0], (items[1],), (items[2],), (note,), (item("d"),))
    assert check_mail(message(doc, selection)) == []


def test_a_mail_of_the_same_parts_passes() -> None:
    assert check_mail(mail()) == []


def test_every_failure_says_how_to_mend_it() -> None:
    for failure in check_mail(mail(html="<p>x</p>", text="")):
        assert failure.gate
        assert failure.detail
        assert failure.mend


def test_size_is_judged_decoded_and_encoded() -> None:
    encoded_only = HTML.replace("</body>", f"<p>{'x' * 60_000}</p></body>")
    details = [failure.detail for failure in check_mail(mail(html=encoded_only)) if failure.gate == "size"]
    assert len(encoded_only) < LIMIT
    assert len(details) == 1
    assert "encoded" in details[0]
    both = HTML.replace("</body>", f"<p>{'x' * LIMIT}</p></body>")
    assert len([failure for failure in check_mail(mail(html=both)) if failure.gate == "size"]) == 2


@pytest.mark.parametrize("left", ["@@tidings.name@@", "%40%40tidings.name%40%40", "@@tidings.if.name@@"])
def test_a_placeholder_that_is_left_is_found(left: str) -> None:
    assert "placeholder" in gates(mail(html=HTML.replace("</body>", f"<p>{left}</p></body>")))
    assert "placeholder" in gates(mail(text=TEXT + left))


@pytest.mark.parametrize("image", ['<img src="https://x/a.png">', '<img src="https://x/a.png" alt=" ">'])
def test_an_image_without_alt_is_found(image: str) -> None:
    assert "alt" in gates(mail(html=HTML.replace("</body>", f"{image}</body>")))


@pytest.mark.parametrize(
    "href", ["/en/a/", "a.html", "//x/a", "", " ", "#", "javascript:alert(1)", "https://", "https://x/a b"]
)
def test_relative_and_empty_links_are_found(href: str) -> None:
    assert "links" in gates(
        mail(html=HTML.replace("</body>", f'<a href="{href}">x</a></body>'), text=TEXT + "\n" + href)
    )


def test_a_relative_picture_is_found() -> None:
    assert "links" in gates(mail(html=HTML.replace("</body>", '<img src="/a.png" alt="a"></body>')))


@pytest.mark.parametrize("attribute", ['lang="en"', 'dir="ltr"'])
@pytest.mark.parametrize("element", ["<html", '<div role="article"'])
def test_missing_lang_and_dir_are_found(element: str, attribute: str) -> None:
    broken = re.sub(rf"({re.escape(element)}[^>]*?) {attribute}", r"\1", HTML, count=1)
    assert broken != HTML
    assert "language" in gates(mail(html=broken))


def test_a_link_missing_in_the_text_is_found() -> None:
    assert "text" in gates(mail(text=TEXT.replace(FEW[1].url, "")))


def test_a_personal_link_missing_in_the_text_is_found() -> None:
    assert "text" in gates(mail(text=TEXT.replace(UNSUBSCRIBE_URL, "")))


def test_a_longer_url_in_the_text_is_not_the_same_link() -> None:
    assert "text" in gates(mail(text=TEXT.replace(FEW[1].url, FEW[1].url + "x")))


def test_a_body_without_unsubscribe_link_fails() -> None:
    assert "unsubscribe" in gates(mail(html=HTML.replace(UNSUBSCRIBE_URL, "https://news.example.org/")))


def test_c1_characters_fail_because_gmail_clips_there() -> None:
    assert "characters" in gates(mail(html=HTML.replace("Clean", "Clean\x92")))
    assert "characters" in gates(mail(text=TEXT + "it\x92s"))


@pytest.mark.parametrize(
    "css", ["a{color:red}" * 1400, "@media print{@supports (x:y){a{color:red}}}", "a{background:url(https://x/a)}"]
)
def test_styles_that_gmail_drops_or_that_fetch_fail(css: str) -> None:
    assert "style" in gates(mail(html=HTML.replace("</head>", f"<style>{css}</style></head>")))


def test_list_unsubscribe_must_be_raw_and_present() -> None:
    assert "list-unsubscribe" in gates(mail(unsubscribe_url="", unsubscribe_mailto=""))
    encoded = GOOD.replace(b"List-Unsubscribe: <", b"List-Unsubscribe: =?utf-8?q?=3C?= <", 1)
    assert "list-unsubscribe" in gates(encoded)
    folded = GOOD.replace(b"/unsubscribe/", b"/unsub\r\n scribe/", 1)
    assert "list-unsubscribe" in gates(folded)
    one_click = GOOD.replace(b"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n", b"", 1)
    assert "list-unsubscribe" in gates(one_click)


def test_an_injected_header_is_found() -> None:
    assert "headers" in gates(GOOD.replace(b"Subject: ", b"From: x@example.org\r\nSubject: ", 1))
    assert "headers" in gates(GOOD.replace(b"Subject: ", "Subject: Ә".encode(), 1))
    assert "headers" in gates(GOOD.replace(b"Date: ", b"X-Date: ", 1))


def test_another_charset_is_found() -> None:
    assert "charset" in gates(GOOD.replace(b"text/html; charset=utf-8", b"text/html; charset=iso-8859-1"))


def test_bare_line_feeds_and_long_lines_are_found() -> None:
    assert "lines" in gates(GOOD.replace(b"\r\n", b"\n"))
    assert "lines" in gates(GOOD + b"x" * 1000 + b"\r\n")


def test_a_missing_part_is_found() -> None:
    assert "mime" in gates(plain_message(headers(subject="s"), TEXT))


def test_a_picture_without_alt_holds_the_edition() -> None:
    bare = item("bare", images=(Image("https://news.example.org/a.jpg", ""),))
    assert gates(message(document([bare]), Selection("en", bare))) == {"alt"}


def test_a_text_body_without_links_holds_the_edition(tmp_path: Path) -> None:
    text = (Path(__file__).parents[3] / "templates/digest/body.txt.j2").read_text("utf-8").replace("{{ item.url }}", "")
    templates = own_templates(tmp_path, txt=text)
    doc = document(FEW, template="own", templates=templates)
    assert gates(message(doc, SELECTION, templates=templates)) == {"text"}


def test_cyrillic_addresses_are_the_same_in_both_parts() -> None:
    odd = item("odd", url="https://пример.рф/новость/a b?x=1&y=«2»")
    raw = message(document([odd], site=SITE), Selection("en", odd))
    assert check_mail(raw) == []
    text, html = parts(raw)
    assert "https://xn--e1afmkfd.xn--p1ai/%D0%BD" in text
    assert "xn--e1afmkfd.xn--p1ai" in html
