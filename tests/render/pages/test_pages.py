"""The content and links of pages, also checked by independent tools."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import html

from tests.conftest import missing, require_program
from tests.render.samples import RICH, SITE, SITE_URL, TRANSLATIONS, item
from tidings.model.errors import InputError
from tidings.model.item import Contact, Image, Item
from tidings.render.i18n import language_name
from tidings.render.pages.pages import MAX_TITLE, PageContext, Pages, head_title
from tidings.render.palette import contrast
from tidings.render.site_views import FeedLink, SectionPage, SiteView

TOOLS = Path(__file__).parents[2] / "tools" / "node_modules"
TITLES = {"en": "Aul & Steppe Newsroom", "ru": "Аул и степь", "kk": "Ауыл мен дала", "ar": "القرية والسهب"}
FEEDS = tuple(
    FeedLink(name, f"{title} – {name}", language, name)
    for language, title in TITLES.items()
    for name in ("all", "press")
)


def site(language: str = "en", **changes: Any) -> SiteView:
    return replace(SITE, title=TITLES[language], language=language, languages=tuple(TITLES), **changes)


def item_page(sample: Item = RICH, language: str = "en", **changes: Any) -> Any:
    return html.document_fromstring(
        Pages().item_page(PageContext(site(language, **changes), FEEDS), sample, TRANSLATIONS).decode()
    )


def front_page(*items: Item, language: str = "en") -> Any:
    return html.document_fromstring(Pages().language_page(PageContext(site(language), FEEDS), items).decode())


def text(page: Any, query: str) -> list[str]:
    return [" ".join(element.text_content().split()) for element in page.cssselect(query)]


def write_all(folder: Path, language: str) -> list[Path]:
    """Write a sample page of each type."""
    frame, pages = PageContext(site(language), FEEDS), Pages()
    others = [item(number, language=language, kind=kind) for number, kind in enumerate(("story", "speech", "x-ray"), 1)]
    own = replace(RICH, language=language)
    long = item(9, title="A & B: " + "a very long headline of many words, " * 5, language=language, summary="", body="")
    pages_by_name = {
        "front": pages.language_page(frame, [own, *others, long]),
        "empty": pages.language_page(frame, []),
        "item": pages.item_page(frame, own, TRANSLATIONS),
        "plain": pages.item_page(frame, long, ()),
        "withdrawn": pages.withdrawn_page(frame, item(3, withdrawn="An error & more.")),
        "missing": pages.not_found_page(frame),
        "root": pages.root_page(frame, list(TITLES.items())),
    }
    paths = []
    for name, content in pages_by_name.items():
        paths.append(folder / f"{name}.{language}.html")
        paths[-1].write_bytes(content)
    (folder / "style.css").write_bytes(pages.stylesheet(frame.site))
    return paths


def test_html_validate_finds_no_error(tmp_path: Path) -> None:
    node = require_program("node")
    program = TOOLS / "html-validate" / "bin" / "html-validate.mjs"
    if not program.is_file():
        missing("html-validate")
    for language in TITLES:
        write_all(tmp_path, language)
    (tmp_path / "rules.json").write_text(json.dumps({"root": True, "extends": ["html-validate:recommended"]}))
    command = [node, str(program), "--config", str(tmp_path / "rules.json"), *map(str, tmp_path.glob("*.html"))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_pages_declare_language_and_direction() -> None:
    for language, direction in {"en": "ltr", "ru": "ltr", "kk": "ltr", "ar": "rtl"}.items():
        page = item_page(replace(RICH, language=language), language)
        assert (page.get("lang"), page.get("dir")) == (language, direction)


def test_discovery_links_have_the_pages_language_first() -> None:
    # Liferea takes the first feed (getnikola/nikola#3248).
    for language in TITLES:
        links = front_page(language=language).cssselect("link[rel=alternate][type][title]")
        assert links[0].get("hreflang") == language
        assert links[0].get("href") == f"../feeds/{language}/all.rss"
        assert {link.get("hreflang") for link in links} == set(TITLES)
        assert all(link.get("title") and link.get("type") for link in links)
        languages = [link.get("hreflang") for link in links]
        assert language not in languages[languages.count(language) :]


def test_the_item_page_shows_everything_of_the_item() -> None:
    page = item_page()
    assert text(page, "h1") == [RICH.title]
    assert text(page, ".notice h2") == ["Correction"]
    assert "66 per cent, not 60." in text(page, ".notice")[0]
    assert text(page, ".facts dd") == ["1 April 2026, 09:00 – 11:00", "Almaty, Abay square"]
    assert [image.get("alt") for image in page.cssselect("figure img")] == ["A river", "A lake"]
    assert text(page, "figcaption") == ["The river in May Photo: N. Photographer"]
    assert text(page, ".files li") == ["Brief PDF, 1.2 MB", "Table XLSX, 45 kB"]
    assert text(page, ".tags dd") == ["Young people", "Water & rivers", "Unnamed", "UNICEF"]
    assert "By A. Author, B. Writer" in text(page, ".item-head")[0]
    assert "Published on 9 March 2026" in text(page, ".item-head")[0]
    assert text(page, ".body h2") == ["Why"]
    assert page.cssselect("link[rel=canonical]")[0].get("href") == RICH.url


def test_pages_use_the_words_of_their_language() -> None:
    page = item_page(replace(RICH, language="ru", updated=RICH.published), "ru")
    head = text(page, ".item-head")[0]
    assert "Событие" in head and "Опубликовано 9 марта 2026" in head and "Обновлено 9 марта 2026" in head
    assert text(page, ".notice h2") == ["Исправление"]
    assert text(page, ".files li")[0] == "Brief PDF, 1,2 МБ"
    kazakh = item_page(replace(RICH, language="kk"), "kk")
    assert "Жарияланған күні: 2026 ж. 9 наурыз" in text(kazakh, ".item-head")[0]


def test_translations_are_linked_and_known_to_search_engines() -> None:
    page = item_page()
    shown = [(link.get("hreflang"), link.get("href"), link.text) for link in page.cssselect(".item-head .meta a")]
    assert shown == [
        (each.language, f"../../{each.language}/{each.slug}/", language_name(each.language)) for each in TRANSLATIONS
    ]
    alternates = page.cssselect("link[rel=alternate]:not([type])")
    # Search engines want each version to list itself too.
    assert [(link.get("hreflang"), link.get("href")) for link in alternates] == [
        ("en", RICH.url),
        *((each.language, each.url) for each in TRANSLATIONS),
    ]
    switch = {link.get("hreflang"): link.get("href") for link in page.cssselect(".languages a")}
    # A language without a translation leads to its front page.
    assert switch == {"ru": "../../ru/reka/", "kk": "../../kk/ozen/", "ar": "../../ar/"}


def test_own_urls_are_relative_and_others_absolute() -> None:
    sample = replace(
        RICH,
        body=f'<p><a href="{SITE_URL}en/story-2/">a</a><a href="https://other.example.org/?a=1&amp;b=2">b</a>'
        f'<img src="{SITE_URL}media/aa/x.png" alt="x"></p>',
    )
    page = item_page(sample)
    assert [link.get("href") for link in page.cssselect(".body a")] == [
        "../../en/story-2/",
        "https://other.example.org/?a=1&b=2",
    ]
    for element in page.cssselect("main img, main a, link[rel=stylesheet], header a, footer a"):
        assert not (element.get("src") or element.get("href")).startswith(SITE_URL)


def test_a_picture_in_the_text_is_not_shown_twice() -> None:
    picture = RICH.images[1]
    page = item_page(replace(RICH, body=f'<p><img src="{picture.src}" alt="A lake"></p>'))
    assert len(page.cssselect("main img")) == 2


def test_a_picture_in_the_text_keeps_its_credit() -> None:
    picture = replace(RICH.images[0], caption="A lake & a boat", credit="Ada")
    shown = f'<p><img src="{picture.src}" alt="A lake"></p>'
    page = item_page(replace(RICH, images=(picture,), body=shown))
    assert [" ".join(each.itertext()).split() for each in page.cssselect(".body + p.meta")] == [
        ["A", "lake", "&", "a", "boat", "Photo:", "Ada"]
    ]
    page = item_page(replace(RICH, images=(picture,), body=f"{shown}<p>A lake &amp; a boat. Photo: Ada</p>"))
    assert not page.cssselect(".body + p.meta")


@given(st.text(max_size=80), st.text(max_size=80))
def test_item_text_never_becomes_markup(title: str, words: str) -> None:
    title = "</script><script>alert(1)</script>" + title
    sample = item(
        1, title=title, summary=words + "<b>", place="<i>" + words, starts=RICH.starts, correction=words + "<u>",
        images=(Image(SITE_URL + "x.png", words + '"><s>', words + "<s>", "<em>"),), authors=("<q>",), topics=("<tt>",),
    )  # fmt: skip
    page = item_page(sample)
    assert [script.get("type") for script in page.iter("script")] == ["application/ld+json"]
    assert not list(page.iter("b", "i", "u", "s", "em", "q", "tt"))
    data = json.loads(page.cssselect("script")[0].text)
    assert data["name"].startswith("</script><script>alert(1)</script>")


def test_stories_have_structured_data() -> None:
    event = json.loads(item_page().cssselect("script")[0].text)
    assert (event["@type"], event["startDate"], event["location"]["name"]) == (
        "Event", "2026-04-01T09:00:00+05:00", "Almaty, Abay square",
    )  # fmt: skip
    story = json.loads(item_page(item(1)).cssselect("script")[0].text)
    assert (story["@type"], story["headline"], story["datePublished"]) == (
        "NewsArticle", "Story number 1", "2026-03-03T09:00:00+05:00",
    )  # fmt: skip
    cards = {meta.get("property"): meta.get("content") for meta in item_page().cssselect("meta[property]")}
    assert cards["og:title"] == RICH.title
    assert cards["og:type"] == "article"
    assert cards["og:image"].startswith("https://") and cards["og:image:alt"] == "A river"
    assert cards["og:url"] == RICH.url


def test_a_story_names_who_answers_the_press() -> None:
    contacts = (Contact("Jane <Doe>", "Press officer", "jane@un.example", "+7 (727) 250-00-00"), Contact(name="Desk"))
    page = item_page(item(1, contacts=contacts))
    assert text(page, "[aria-labelledby=contact] li") == [
        "Jane <Doe>, Press officerjane@un.example +7 (727) 250-00-00",
        "Desk",
    ]
    links = [link.get("href") for link in page.cssselect("[aria-labelledby=contact] a")]
    assert links == ["mailto:jane@un.example", "tel:+77272500000"]
    data = json.loads(page.cssselect("script")[0].text)
    assert data["publisher"]["contactPoint"] == [
        {"@type": "ContactPoint", "contactType": "press", "name": "Jane <Doe>", "email": "jane@un.example",
         "telephone": "+7 (727) 250-00-00"},
        {"@type": "ContactPoint", "contactType": "press", "name": "Desk"},
    ]  # fmt: skip


def test_every_page_has_open_graph_and_linked_data() -> None:
    frame, story = PageContext(site("ru"), FEEDS), replace(RICH, language="ru")
    section = SectionPage("topics", "water", "Вода", (story,), languages=("ru", "kk"))
    for content, kind in (
        (Pages().language_page(frame, [story]), "WebSite"),
        (Pages().section_page(frame, section), "CollectionPage"),
        (Pages().item_page(frame, replace(story, starts=None), TRANSLATIONS[:1]), "NewsArticle"),
    ):
        page = html.document_fromstring(content.decode())
        cards = {meta.get("property"): meta.get("content") for meta in page.cssselect("meta[property]")}
        assert {"og:title", "og:type", "og:url", "og:site_name", "og:image", "og:image:alt"} <= set(cards)
        assert cards["og:locale"] == "ru_RU"
        assert "kk_KZ" in [meta.get("content") for meta in page.cssselect("meta[property='og:locale:alternate']")]
        (script,) = page.cssselect("script[type='application/ld+json']")
        assert json.loads(script.text)["@type"] == kind


def test_the_front_page_has_latest_by_kind_and_resources() -> None:
    items = [RICH, *(item(number, kind="press-release" if number % 2 else "story") for number in range(30, 15, -1))]
    page = front_page(*items)
    assert text(page, "main h1, main .section-title") == ["Latest", "By kind", "Resources"]
    assert len(page.cssselect(".card")) == 10
    assert text(page, ".kind h3") == ["Events", "Stories", "Press releases"]
    assert sum(len(kind.cssselect("li")) for kind in page.cssselect(".kind")) == len(items)
    assert [link.get("href") for link in page.cssselect(".files .file")] == [
        "../media/ef/brief.pdf",
        "../media/ef/table.xlsx",
    ]
    assert page.cssselect(".card h2 a")[0].get("href") == "../en/story-7/"


def test_notes_are_on_no_page() -> None:
    assert "Dear readers" not in front_page(item(1, kind="note", title="Dear readers")).text_content()


def test_a_withdrawn_page_shows_only_the_reason() -> None:
    page = Pages().withdrawn_page(PageContext(site(), FEEDS), replace(RICH, withdrawn="A <mistake>.")).decode()
    assert "A &lt;mistake&gt;." in page
    assert "noindex" in page
    assert "AT&amp;T" not in page and "river" not in page


@pytest.mark.parametrize(
    "colour", ["#ffffff", "#000000", "#ffcc00", "#0077b6", "#808080", "#ff0000", "#00ff00", "#7f7fff"]
)
def test_every_pair_of_colours_is_readable(colour: str) -> None:
    """WCAG 2.2, 1.4.3 (AA): 4.5 to 1, in light and in dark."""
    style = Pages().stylesheet(site(colour=colour)).decode()
    values = re.findall(r"--([\w-]+): (#[0-9a-f]{6});", style)
    light = dict(values[:10])
    dark = light | dict(values[10:])
    assert set(light) == {"brand", "on-brand", "accent", "ink", "muted", "line", "ground", "paper", "tint", "wrong"}
    assert len(values) == 18
    for scheme in (light, dark):
        assert contrast(scheme["on-brand"], scheme["brand"]) >= 4.5
        for ground in ("paper", "tint", "ground"):
            for ink in ("ink", "muted", "accent", "wrong"):
                assert contrast(scheme[ink], scheme[ground]) >= 4.5, (ink, ground)


def test_no_scripts_and_no_inline_styles() -> None:
    for page in (item_page(), front_page(RICH, item(1))):
        assert all(script.get("type") == "application/ld+json" for script in page.iter("script"))
        assert not list(page.iter("style"))
        assert not page.xpath("//*[@style or starts-with(name(@*), 'on')]")


def test_pages_work_with_keyboard_and_screen_reader() -> None:
    page = front_page(RICH, item(1))
    assert page.cssselect("body > a")[0].get("href") == "#content"
    assert page.get_element_by_id("content").tag == "main"
    assert len(page.cssselect("h1")) == 1
    assert all(nav.get("aria-label") for nav in page.iter("nav"))
    assert all(image.get("alt") is not None for image in page.iter("img"))
    assert b":focus-visible" in Pages().stylesheet(site())
    assert b"prefers-color-scheme: dark" in Pages().stylesheet(site())


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("Short", "Short – Site"),
        ("Site", "Site"),
        ("x" * 68, "x" * 68),
        ("word " * 30, "word " * 13 + "word…"),
        ("x" * 100, "x" * 69 + "…"),
    ],
)
def test_titles_of_tabs_are_short(title: str, expected: str) -> None:
    assert head_title(title.strip(), "Site") == expected
    assert len(expected) <= MAX_TITLE


def test_a_newsroom_overrides_single_files(tmp_path: Path) -> None:
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages" / "root.html.j2").write_text("{{ site.title }}|{{ page.doors | length }}")
    pages = Pages(tmp_path)
    assert pages.root_page(PageContext(site(), FEEDS), list(TITLES.items())) == b"Aul &amp; Steppe Newsroom|4"
    assert b"<main" in pages.item_page(PageContext(site(), FEEDS), RICH, ())


def test_templates_run_in_a_sandbox_with_strict_names(tmp_path: Path) -> None:
    (tmp_path / "pages").mkdir()
    for source in (
        "{{ nothing }}",
        "{{ site.tittle }}",
        "{{ page.__class__.__mro__ }}",
        "{{ page.update({}) }}",
        "{% if %}",
    ):
        (tmp_path / "pages" / "root.html.j2").write_text(source)
        with pytest.raises(InputError, match=r"root\.html\.j2"):
            Pages(tmp_path).root_page(PageContext(site(), FEEDS), [])


def test_an_endless_page_is_named_with_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tidings.render.templates._SECONDS", 1)
    (tmp_path / "pages").mkdir()
    loops = "{% for a in range(99999) %}" * 3 + "{% endfor %}" * 3
    (tmp_path / "pages" / "root.html.j2").write_text("<p>\n" + loops)
    with pytest.raises(InputError, match=r"^templates/pages/root\.html\.j2:2: takes too long"):
        Pages(tmp_path).root_page(PageContext(site(), FEEDS), [])


def test_a_mistake_in_a_template_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages" / "root.html.j2").write_text("<p>\n</p>\n{{ page.nothing }}")
    with pytest.raises(InputError, match=r"^templates/pages/root\.html\.j2:3: .*nothing"):
        Pages(tmp_path).root_page(PageContext(site(), FEEDS), [])


def test_same_input_same_bytes() -> None:
    frame = PageContext(site(), FEEDS)
    assert Pages().item_page(frame, RICH, TRANSLATIONS) == Pages().item_page(
        PageContext(site(), FEEDS), RICH, TRANSLATIONS
    )


def test_text_in_pre_keeps_its_lines() -> None:
    page = item_page(item(1, body="<pre>a\n\n  b \n</pre>"))
    assert page.cssselect("pre")[0].text == "a\n\n  b \n"


def test_a_text_that_begins_with_its_summary_is_shown_once() -> None:
    for body, shown in (("<p>One <b>day</b>.</p>", []), ("<p>Other.</p>", ["One day."])):
        assert text(item_page(replace(RICH, summary="One day.", body=body)), ".summary") == shown
