"""Documents and layouts: fragments, order, size, subject."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from email import message_from_bytes
from email.policy import default
from html.parser import HTMLParser
from typing import Any

import pytest
from lxml import etree, html

from tests.render.mail.samples import AT, EDITION, SITE, TEMPLATES, document, item, many, message, own_templates, parts
from tidings.model.edition import Selection
from tidings.model.item import Contact, Image, Media
from tidings.render.mail.digest import MailLayout, build_layout, encoded_size
from tidings.render.mail.fragments import FragmentError, MailDocument, inline_fragments
from tidings.render.mail.gates import LIMIT, check_mail
from tidings.render.mail.views import build_mail_item, mail_url
from tidings.render.templates import TemplateError


def test_the_same_input_gives_the_same_bytes() -> None:
    one, other = document(many(5)), document(many(5))
    assert json.dumps(one.to_json()) == json.dumps(other.to_json())


def test_a_document_and_a_layout_survive_the_store() -> None:
    items = many(3)
    doc = document(items)
    again = MailDocument.from_json(json.loads(json.dumps(doc.to_json())))
    assert again == doc
    arrangement = build_layout(doc, Selection("en", items[0], tuple(items[1:])), templates=TEMPLATES)
    assert MailLayout.from_json(json.loads(json.dumps(arrangement.to_json()))) == arrangement
    assert build_layout(again, Selection("en", items[0], tuple(items[1:])), templates=TEMPLATES) == arrangement


def test_another_format_is_refused() -> None:
    with pytest.raises(ValueError, match="format"):
        MailDocument.from_json({**document([item()]).to_json(), "format": 99})


def test_premailer_runs_once_for_many_readers(monkeypatch: pytest.MonkeyPatch) -> None:
    from tidings.render import inline

    runs: list[int] = []
    real = inline.inline
    monkeypatch.setattr(inline, "inline", lambda html: runs.append(1) or real(html))
    items = many(6)
    doc = document(items)
    for number in range(6):
        build_layout(doc, Selection("en", items[number], tuple(items[:number])), templates=TEMPLATES)
    assert runs == [1]


def test_order_is_notes_lead_kinds_titles_corrections() -> None:
    items = many(7)
    note, wrong = item("n", kind="note"), item("w", correction="66, not 60.")
    doc = document(items, notes=[note], corrections=[wrong])
    selection = Selection("en", items[0], tuple(items[1:5]), tuple(items[5:]), (note,), (wrong,))
    assert build_layout(doc, selection, templates=TEMPLATES).keys == (
        "head", "note:n", "lead:s0",
        "section:publication", "item:s1", "item:s4", "section:press-release", "item:s2", "section:story", "item:s3",
        "section:titles", "title:s5", "title:s6", "section:corrections", "correction:w", "foot",
    )  # fmt: skip


def test_every_layout_is_balanced_html() -> None:
    items = many(6)
    doc = document(items, notes=[item("n", kind="note")])
    for selection in (
        Selection("en", items[0]),
        Selection("en", items[5], tuple(items[:5])),
        Selection("en", items[1], (), tuple(items[2:]), (item("n", kind="note"),)),
    ):
        _, html = parts(message(doc, selection))
        parser = _Balance()
        parser.feed(html)
        assert parser.open == []
        assert not parser.wrong


class _Balance(HTMLParser):
    void = frozenset(["meta", "img", "br", "hr", "link", "input"])

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.wrong: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag not in self.void:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)


def test_cut_fragments_have_no_trace_of_each_other() -> None:
    doc = document(many(3))
    assert not any("<!--tidings:" in fragment.html for fragment in doc.fragments.values())
    assert "s1" not in doc.fragments["item:s2"].html


PAGE, END = "<!doctype html><html><body><div>", "</div></body></html>"


def test_a_part_with_unbalanced_elements_is_named() -> None:
    with pytest.raises(FragmentError, match="item:b"):
        inline_fragments(PAGE, [("item:a", "<p>x</p>"), ("item:b", "<div>"), ("item:c", "x")], END)
    with pytest.raises(FragmentError, match="item:a: closes <div>"):
        inline_fragments(PAGE, [("item:a", "</div>")], END)
    with pytest.raises(FragmentError, match="head and foot"):
        inline_fragments(PAGE, [], "</body></html>")


@pytest.mark.parametrize("text", ["<!--tidings:1-->", '<img alt="<!--tidings:1-->">', "<p>&lt;!--tidings:3--&gt;</p>"])
def test_no_story_can_write_the_marks_between_parts(text: str) -> None:
    parts = inline_fragments(PAGE, [("item:a", text), ("item:b", "<p>Second</p>")], END)
    assert "tidings:" in parts["item:a"]
    assert parts["item:b"] == "<p>Second</p>"
    assert parts == inline_fragments(PAGE, [("item:a", text), ("item:b", "<p>Second</p>")], END)


def test_items_become_short_then_titles_from_the_last_upwards() -> None:
    long = [item(f"s{n}", summary="Слово " * 400) for n in range(30)]
    doc = document(long)
    selection = Selection("en", long[0], tuple(long[1:]))
    arrangement = build_layout(doc, selection, templates=TEMPLATES)
    assert arrangement.shortened
    assert arrangement.shortened[0] == "s29"
    assert "item:s1" in arrangement.keys
    raw = message(doc, selection)
    assert check_mail(raw) == []
    tight = build_layout(doc, selection, templates=TEMPLATES, budget=60_000)
    assert tight.titled[0] == "s29"
    assert set(tight.shortened).isdisjoint(tight.titled)
    assert encoded_size(sum(doc.sizes[key] for key in tight.keys), len(tight.keys)) <= 60_000


def test_a_lead_that_is_too_long_becomes_short() -> None:
    long = item("long", body=f"<p>{'word ' * 20_000}</p>")
    doc = document([long], template="press")
    selection = Selection("en", long)
    assert build_layout(doc, selection, templates=TEMPLATES).keys == ("head", "short:long", "foot")
    assert check_mail(message(doc, selection)) == []


@pytest.mark.parametrize(("size", "width"), [((None, None), None), ((1600, 800), "536"), ((800, 600), "536")])
def test_a_picture_of_unknown_size_is_not_blown_up(size: tuple[int | None, int | None], width: str | None) -> None:
    picture = Image("https://elsewhere.example/icon.png", "An icon", width=size[0], height=size[1])
    doc = document([item("s1", images=(picture,))], template="press")
    tree = html.fromstring(parts(message(doc, Selection("en", item("s1"))))[1])
    (image,) = tree.xpath("//img[@alt='An icon']")
    assert image.get("width") == width
    assert "max-width" in image.get("style", "")


def test_a_press_release_names_its_contact() -> None:
    release = item("s1", contacts=(Contact("Jane Doe", "Press officer", "jane@un.example", "+7 727 250 00 00"),))
    doc = document([release], template="press")
    raw = message(doc, Selection("en", release))
    assert check_mail(raw) == []
    mail = message_from_bytes(raw, policy=default)
    plain, rich = (mail.get_body((kind,)).get_content() for kind in ("plain", "html"))
    assert "Jane Doe, Press officer, jane@un.example, +7 727 250 00 00" in " ".join(plain.split())
    assert "mailto:jane@un.example" in rich and "Jane Doe" in rich


def test_the_estimated_size_is_never_too_small() -> None:
    items = many(9)
    doc = document(items)
    selection = Selection("en", items[0], tuple(items[1:]))
    keys = build_layout(doc, selection, templates=TEMPLATES).keys
    raw = message(doc, selection)
    part = raw.split(b"Content-Type: text/html")[1].split(b"\r\n\r\n", 1)[1]
    assert len(part) - 3000 < encoded_size(sum(doc.sizes[key] for key in keys), len(keys)) < LIMIT


def test_the_subject_is_the_readers_lead() -> None:
    items = many(3)
    doc = document(items)
    assert build_layout(doc, Selection("en", items[2]), templates=TEMPLATES).subject == items[2].title


def test_a_schedules_subject_overrides_the_templates() -> None:
    items = many(3)
    doc = document(items, subject="{{ list.title }} {{ edition.number }}: {{ lead.title }} +{{ items | length - 1 }}")
    selection = Selection("en", items[0], (items[1],), (items[2],))
    assert build_layout(doc, selection, templates=TEMPLATES).subject == f"News digest 7: {items[0].title} +2"


def test_a_subject_is_text_and_one_line() -> None:
    odd = item("odd", title="A & B <c>")
    doc = document([odd], subject="  {{ lead.title }}\n  now  ")
    assert build_layout(doc, Selection("en", odd), templates=TEMPLATES).subject == "A & B <c> now"


@pytest.mark.parametrize("character", ["\x00", "\x1b", "\x7f", "\x9b"])
def test_control_characters_in_a_subject_are_refused(character: str) -> None:
    doc = document([item()])
    sly = replace(doc, briefs={"water": {**doc.briefs["water"], "title": f"A{character}B"}})
    with pytest.raises(TemplateError, match="control character"):
        build_layout(sly, Selection("en", item()), templates=TEMPLATES)


def test_an_empty_subject_is_refused() -> None:
    doc = document([item()], subject="{% if false %}x{% endif %}")
    with pytest.raises(TemplateError, match="empty"):
        build_layout(doc, Selection("en", item()), templates=TEMPLATES)


def test_the_preheader_lists_the_other_stories() -> None:
    items = many(3)
    doc = document(items)
    arrangement = build_layout(doc, Selection("en", items[0], tuple(items[1:])), templates=TEMPLATES)
    assert arrangement.preheader == f"{items[1].title} · {items[2].title}"
    _, html = parts(message(doc, Selection("en", items[0], tuple(items[1:]))))
    assert f'mso-hide:all">{items[1].title}' in html
    assert "font-size:1px" not in html  # SpamAssassin: FONT_INVIS_MSGID


def test_corrections_alone_have_a_subject() -> None:
    wrong = item("w", correction="66, not 60.")
    doc = document([], corrections=[wrong])
    assert build_layout(doc, Selection("en", corrections=(wrong,)), templates=TEMPLATES).subject == wrong.title


def test_a_placeholder_in_a_headline_stays_text() -> None:
    sly = item(
        "sly", title="@@tidings.unsubscribe_url@@", summary="@@tidings.if.name@@", body="<p>@@tidings.name@@</p>"
    )
    for template in ("digest", "press"):
        text, html = parts(message(document([sly], template=template), Selection("en", sly)))
        assert "@\u2060@tidings.unsubscribe_url@\u2060@" in html
        assert "@\u2060@tidings.unsubscribe_url@\u2060@" in text


def test_an_item_in_another_language_is_marked() -> None:
    doc = document([item("a", language="ar", title="خبر")], language="en")
    assert '<h2 lang="ar" dir="rtl"' in " ".join(doc.fragments["lead:a"].html.split()).replace('class="h2" ', "") or (
        'lang="ar" dir="rtl"' in doc.fragments["lead:a"].html
    )
    assert 'lang="ar"' not in document([item("a", language="ar")], language="ar").fragments["lead:a"].html


def test_right_to_left_mirrors_the_layout() -> None:
    doc = document([item("a", language="ar")], language="ar")
    assert '<html lang="ar" dir="rtl"' in doc.fragments["head"].html
    assert 'align="right"' in doc.fragments["lead:a"].html
    assert 'align="left"' not in doc.fragments["lead:a"].html


def test_dates_and_kinds_are_in_the_readers_words() -> None:
    event = item("a", kind="event", starts=AT, ends=AT + timedelta(hours=1))
    doc = document([event], language="ru")
    assert "Событие" in doc.fragments["lead:a"].text.replace("СОБЫТИЕ", "Событие")
    assert "20 ноября 2026" in doc.fragments["head"].text
    assert "Отписаться" in doc.fragments["foot"].text
    assert "09:00 – 10:00" in doc.fragments["lead:a"].text


def test_layout_tables_are_presentational_and_images_have_sizes() -> None:
    items = many(4)
    _, html = parts(message(document(items), Selection("en", items[0], tuple(items[1:]))))
    root = etree.fromstring(html.encode(), etree.HTMLParser(encoding="utf-8"))
    assert all(table.get("role") == "presentation" for table in root.iter("table"))
    assert all(image.get("width", "").isdigit() and image.get("height", "").isdigit() for image in root.iter("img"))
    assert html.count("<!--[if mso | IE]>") == html.count("<![endif]-->") - html.count("<!--[if mso]>")


def test_the_charset_comes_first_and_dark_mode_is_kept() -> None:
    head = document([item()]).fragments["head"].html
    assert 0 < head.index('<meta charset="utf-8">') < 300
    assert "@media (prefers-color-scheme: dark)" in head
    assert "[data-ogsc] .cell" in head
    assert "!important" in head
    assert '<meta name="color-scheme" content="light dark">' in head


def test_a_mail_of_12_stories_is_far_below_the_limit() -> None:
    items = [item(f"s{n}", title="Қазақстандағы жаңалықтар " * 3, summary="Сөз " * 60) for n in range(12)]
    _, html = parts(message(document(items), Selection("en", items[0], tuple(items[1:]))))
    assert len(html.encode()) < 60_000


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://example.org/a?b=1&c=2", "https://example.org/a?b=1&c=2"),
        ("https://пример.рф/й", "https://xn--e1afmkfd.xn--p1ai/%D0%B9"),
        ("https://example.org/a b\"c", "https://example.org/a%20b%22c"),
        ("https://example.org/100%", "https://example.org/100%25"),
        ("https://example.org/%D0%B9", "https://example.org/%D0%B9"),
        ("https://straße.example/", "https://xn--strae-oqa.example/"),
    ],
)  # fmt: skip
def test_urls_are_ascii(url: str, expected: str) -> None:
    assert mail_url(url) == expected


def test_logo_and_address_are_optional() -> None:
    bare = replace(SITE, logo_url="", logo_width=None, logo_height=None, address="")
    one = item("one", images=(), summary="", topics=())
    for template in ("digest", "press", "alert"):
        assert check_mail(message(document([one], template=template, site=bare), Selection("en", one))) == []


def test_a_logo_of_unknown_size_still_has_a_width() -> None:
    doc = document([item()], site=replace(SITE, logo_width=None, logo_height=None))
    assert 'alt="Steppe &amp; Sky" width="140"' in doc.fragments["head"].html


def test_a_templates_error_names_file_and_line(tmp_path: Any) -> None:
    text = "{% macro head() %}\n{{ edition.date }}\n{{ edition.numbr }}\n{% endmacro %}"
    templates = own_templates(tmp_path, txt=text)
    with pytest.raises(TemplateError, match=r"templates/own/body\.txt\.j2:3: .*numbr"):
        document([item()], template="own", templates=templates, edition=EDITION)


def test_a_picture_in_the_text_is_never_wider_than_the_column() -> None:
    """Classic Outlook only reads the attribute, and some programs remove styles."""
    body = (
        '<p>A</p><img src="https://n.example/media/0123456789abcdef/a%20b.webp" alt="A" width="1600" height="800"'
        ' srcset="https://n.example/b.webp 2x"><img src="https://n.example/small.png" alt="B" width="40" height="30">'
        '<img src="https://elsewhere.example/c.png" alt="C"><video src="https://n.example/v.mp4"></video><p>B</p>'
    )
    media = (Media("0123456789abcdef", "a b.webp", "content/a b.webp", "image/webp", 9),)
    view = build_mail_item(item(body=body, media=media), language="en", zone="UTC", topic_labels={})
    assert 'src="https://n.example/media/0123456789abcdef/a%20b.webp.jpg"' in view.body
    assert 'width="536" height="268"' in view.body
    assert 'width="40" height="30"' in view.body
    # A picture of unknown size gets no width, because an icon would be enlarged.
    assert 'alt="C" style="max-width:100%' in view.body
    assert view.body.count("max-width:100%") == 3
    assert not any(word in view.body for word in ("srcset", "<video", "1600"))


def test_a_picture_with_sources_was_lost_in_mails() -> None:
    body = '<picture><source srcset="https://un.example/a.webp"><img src="https://un.example/a.jpg" alt="A"></picture>'
    shown = build_mail_item(item(body=body), language="en", zone="UTC", topic_labels={}).body
    assert "a.webp" not in shown
    assert '<picture><img src="https://un.example/a.jpg" alt="A"' in shown
