"""Front matter as people write it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from tidings.model.dates import parse_moment
from tidings.model.errors import Problem
from tidings.sources.base import SourceContext, SourceItem, Sweep
from tidings.sources.folder.front_matter import KEYS, find_similar
from tidings.sources.folder.source import FolderSource, Settings

ALMATY = ZoneInfo("Asia/Almaty")
REF = "content/a.en.md"


def read(root: Path, front: str, body: str = "Body") -> Sweep:
    content = root / "content"
    content.mkdir(exist_ok=True)
    (content / "a.en.md").write_text(f"---\n{front}\n---\n{body}\n", encoding="utf-8")
    context = SourceContext("newsroom", root, "https://news.example/", ("en", "ru"), ALMATY)
    return FolderSource(Settings(type="folder"), context).sweep(datetime(2026, 1, 1, tzinfo=UTC))


def good(root: Path, front: str, body: str = "Body") -> SourceItem:
    swept = read(root, front, body)
    assert not [problem for problem in swept.problems if problem.level == "error"]
    return swept.items[0]


def bad(root: Path, front: str, body: str = "Body") -> list[Problem]:
    swept = read(root, front, body)
    assert swept.set_aside == (REF,) and not swept.items
    return [problem for problem in swept.problems if problem.level == "error"]


@pytest.mark.parametrize(
    ("written", "title"),
    [
        ("Driving change: UN and business: join forces", "Driving change: UN and business: join forces"),
        ("One paragraph.   #SDG5 and # more", "One paragraph. #SDG5 and # more"),
        ("@UN says: 'no'", "@UN says: 'no'"),
        ('"Reuse" and more', '"Reuse" and more'),
        ('"Yes" and "No"', '"Yes" and "No"'),
        ("'Tis the season for 'giving'", "'Tis the season for 'giving'"),
        ("'\"Reuse. Recycle\": a start'", '"Reuse. Recycle": a start'),
        ("'It''s on'", "It's on"),
        ('"UN agrees that Kazakhstan\'s way \\"works\\""', 'UN agrees that Kazakhstan\'s way "works"'),
        ('"C:\\path is no escape"', '"C:\\path is no escape"'),
        ("[Video] Youth & all", "[Video] Youth & all"),
        ("*Star* {x} %y `z` ! | >", "*Star* {x} %y `z` ! | >"),
        ("- 5 per cent", "- 5 per cent"),
        ("no", "no"),
        ("12:30", "12:30"),
        ("| pipes > and more", "| pipes > and more"),
        (">\n  Folded\n  text: here", "Folded text: here"),
        ("|-\n  Kept\n  lines", "Kept lines"),
        ("A long one: that\n  goes on: here", "A long one: that goes on: here"),
        ('"Quoted over\n  two lines"', "Quoted over two lines"),
    ],
)
def test_headlines_are_read_as_people_write_them(tmp_path: Path, written: str, title: str) -> None:
    one = good(tmp_path, f"title: {written}\nsummary: {written}\nkind: event")
    assert (one.title, one.summary, one.kind) == (title, title, "event")


def test_other_keys_have_comments_and_keep_their_text(tmp_path: Path) -> None:
    one = good(
        tmp_path, "title: T\nlisted: 2023-09-12   # the date\ngallery: 010 # x\nclock: 12:30\nflag: no\nversion: 1.10"
    )
    assert one.extra == {"listed": "2023-09-12", "gallery": "010", "clock": "12:30", "flag": "no", "version": "1.10"}


def test_nested_extras_are_json(tmp_path: Path) -> None:
    one = good(tmp_path, "title: T\ncolours: [red, 'blue']\nmap:\n  a: {b: 1}")
    assert one.extra == {"colours": '["red", "blue"]', "map": '{"a": {"b": "1"}}'}


def test_a_correction_may_hold_a_colon(tmp_path: Path) -> None:
    one = good(tmp_path, "title: T\ncorrection: Correction: it's 66, not 60.  # told at noon\nplace: Room 5: Astana")
    assert (one.correction, one.place) == ("Correction: it's 66, not 60.", "Room 5: Astana")


@pytest.mark.parametrize(
    ("key", "meant"),
    [("embago", "embargo"), ("Title", "title"), ("publishd", "published"), ("topic", "topics"), ("image", "images"),
     ("not-in", "not_in"), ("organizations", "organisations"), ("ids", "id"), ("languge", "language"),
     ("tittle", "title")],
)  # fmt: skip
def test_a_misspelt_key_sets_the_item_aside(tmp_path: Path, key: str, meant: str) -> None:
    [problem] = bad(
        tmp_path,
        f"title: T\nkind: story\n{key}: Some: thing" if meant == "title" else f"title: T\nkind: story\n{key}: x",
    )
    assert (problem.file, problem.line, problem.column) == (REF, 4, 1) and f"`{meant}`" in problem.mend


def test_custom_keys_do_not_count_as_misspelt() -> None:
    assert [find_similar(key, KEYS) for key in ("ru", "listed", "gallery", "x", "date", "audience")] == [None] * 6
    assert find_similar("embago", KEYS) == "embargo"


@pytest.mark.parametrize(
    ("front", "post"),
    [
        ("post: Water: it runs again", {"": "Water: it runs again"}),
        ("post: |\n  One line.\n\n  Another.", {"": "One line.\n\nAnother."}),
        ("post: {mastodon: Hello, team: Good morning}", {"mastodon": "Hello", "team": "Good morning"}),
        ("post: ''", {}),
    ],
)
def test_post_texts_are_read_by_channel(tmp_path: Path, front: str, post: dict[str, str]) -> None:
    assert good(tmp_path, f"title: T\n{front}").post == post


@pytest.mark.parametrize(
    ("front", "line", "words"),
    [
        ("title: T\ntitle: U", 3, "twice"),
        ("title: T\nkind: a\nkind: b", 4, "twice"),
        ("title: T\npublished: tomorrow", 3, "not a date"),
        ("title: T\npublished: 2023-02-30", 3, "does not exist"),
        ("title: T\npublished: 27.09.2023", 3, "not a date"),
        ("title: T\ndraft: maybe", 3, "true or false"),
        ("title: T\nkind: Press Release", 3, "not a valid kind"),
        ("title: T\nlanguage: kz", 3, "not one of the site's languages"),
        ("title: T\ntopics: [Good Topic]", 3, "not a plain name"),
        ("title: T\ntopics:\n- {a: b}", 4, "list of names"),
        ("title: T\npost: {team: [a]}", 3, "a map of channels"),
        ("title: T\nurl: /en/x", 3, "not a web address"),
        ("title: T\nurl: javascript:alert(1)", 3, "not a web address"),
        ("title: T\nimages: [{scr: a.jpg}]", 3, "no key `scr`"),
        ("title: T\nimages:\n- {src: a.jpg, alt: A}", 4, "no file 'a.jpg'"),
        ("title: T\nimages:\n- {src: 'javascript:x', alt: A}", 4, "left out"),
        ("title: T\nattachments:\n- {src: media/brief.pdf}", 4, "no file 'media/brief.pdf'"),
        ("title: T\nplace: {a: b}", 3, "must be text"),
        ("title: T\nplace: &a x", 3, "anchor"),
        ("title: T\nplace: *a", 3, "alias"),
        ("title: T\nstarts: 2023-09-27\nends: 2023-09-26", 4, "before it starts"),
        ("title: T\nkind: [a", 3, "never closed"),
        ("title: T\n\tkind: a", 3, "a tab"),
        ("title: T\n  kind: a", 3, "not in its column"),
    ],
)
def test_each_mistake_is_reported_with_line_and_advice(tmp_path: Path, front: str, line: int, words: str) -> None:
    problems = bad(tmp_path, front)
    assert any(
        words in problem.message and problem.line in (line, line + 1) and problem.mend for problem in problems
    ), problems


@pytest.mark.parametrize(
    ("written", "mend"),
    [
        ("Clean Water", "write clean-water"),
        ("Вода", "write voda"),
        ("water, youth", "write [water, youth]"),
        ("[ماء]", "write a name of Latin letters, such as water, and its label under `topics:` in tidings.yaml"),
        ("[水]", "write a name of Latin letters, such as water, and its label under `topics:` in tidings.yaml"),
    ],
)
def test_a_topic_in_another_script_is_explained(tmp_path: Path, written: str, mend: str) -> None:
    assert [problem.mend for problem in bad(tmp_path, f"title: T\ntopics: {written}")] == [mend]


def test_all_mistakes_of_a_file_are_reported_at_once(tmp_path: Path) -> None:
    problems = bad(
        tmp_path, "titel: T\nkind: Press Release\npublished: x\ndraft: y\nembago: 2023-01-01", "[x](b.en.md)"
    )
    assert len(problems) >= 6


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("2023-09-26", datetime(2023, 9, 25, 18, 0, tzinfo=UTC)),
        ("2023-09-26T10:00", datetime(2023, 9, 26, 4, 0, tzinfo=UTC)),
        ("2023-09-27 10:00", datetime(2023, 9, 27, 4, 0, tzinfo=UTC)),
        ("2023-09-27 9:05:07", datetime(2023, 9, 27, 3, 5, 7, tzinfo=UTC)),
        ("2023-09-26T10:00Z", datetime(2023, 9, 26, 10, 0, tzinfo=UTC)),
        ("2023-09-26T10:00:00.5+05:30", datetime(2023, 9, 26, 4, 30, 0, 500_000, tzinfo=UTC)),
        ("2023-09-26 10:00 -0300", datetime(2023, 9, 26, 13, 0, tzinfo=UTC)),
        ("2024-09-26T10:00", datetime(2024, 9, 26, 5, 0, tzinfo=UTC)),
    ],
)
def test_dates_without_an_offset_are_in_the_sites_zone(written: str, expected: datetime) -> None:
    """Almaty moved from +06 to +05 on 2024-03-01."""
    assert parse_moment(written, ALMATY) == expected


@pytest.mark.parametrize(
    "written", ["", "2023", "2023-9-1", "0001-01-01", "9999-12-31", "2023-09-26T25:00", "2023-01-01T10:00+99"]
)
def test_invalid_dates_are_refused(written: str) -> None:
    with pytest.raises(ValueError):
        parse_moment(written, ALMATY)


def test_an_event_expires_at_the_end_of_its_last_day(tmp_path: Path) -> None:
    one = good(tmp_path, "title: T\nkind: event\nstarts: 2026-03-01\nends: 2026-03-02")
    assert one.ends == one.expires == datetime(2026, 3, 2, 18, 59, 59, tzinfo=UTC)
    one = good(tmp_path, "title: T\nkind: event\nends: 2026-03-02T12:00\nexpires: 2026-03-01T12:00")
    assert one.expires == datetime(2026, 3, 1, 7, 0, tzinfo=UTC)
    assert good(tmp_path, "title: T\nends: 2026-03-02").expires is None


def test_an_id_that_is_no_uri_becomes_one(tmp_path: Path) -> None:
    assert good(tmp_path, "title: T\nid: tag:x.example,2023:a").explicit_id == "tag:x.example,2023:a"
    assert good(tmp_path, "title: T\nid: node 1234").explicit_id == "urn:tidings:node%201234"
    assert good(tmp_path, "title: T").explicit_id is None


def test_lists_flags_and_addresses_are_read(tmp_path: Path) -> None:
    one = good(
        tmp_path,
        "title: T\ntopics: [sdg-4, youth, youth]\norganisations: UNICEF\nauthors:\n- A. Author\n- Б. Автор\nlead: yes\n"
        "not_in: [digest, facebook]\ndraft: FALSE\nstory: Youth Forum\n"
        "url: https://example.org/ru/молодёжь и дети?q=да",
    )
    assert one.topics == ("sdg-4", "youth") and one.organisations == ("UNICEF",)
    assert (
        one.authors == ("A. Author", "Б. Автор") and one.lead and not one.draft and one.not_in == ("digest", "facebook")
    )
    assert one.story == "youth-forum"
    assert one.url == (
        "https://example.org/ru/%D0%BC%D0%BE%D0%BB%D0%BE%D0%B4%D1%91%D0%B6%D1%8C"
        "%20%D0%B8%20%D0%B4%D0%B5%D1%82%D0%B8?q=%D0%B4%D0%B0"
    )


def test_control_characters_are_removed_with_a_warning(tmp_path: Path) -> None:
    swept = read(tmp_path, 'title: A\x0bB\nsummary: "x\\u0000\\ud800y"', "C\x0c D&#11;&#xFFFE;E")
    [one] = swept.items
    assert (one.title, one.summary, one.body) == ("AB", "xy", "<p>C D\ufffd\ufffdE</p>")
    [warning] = swept.problems
    assert warning.level == "warning" and warning.line == 2


@pytest.mark.parametrize(
    ("key", "value", "meant"),
    [
        ("featured_image", "/media/w.jpg", "images"),
        ("heroImage", "../../assets/blog.webp", "images"),
        ("cover", "{image: a.png, alt: A}", "images"),
        ("thumbnail", "https://e.example/t.jpg?w=9", "images"),
        ("description", "What it is about", "summary"),
        ("excerpt", "What it is about", "summary"),
        ("tags", "[water]", "topics"),
        ("categories", "News", "topics"),
        ("lang", "fr", "language"),
        ("картинка", "media/w.jpg", "images"),
        ("image_url", "https://e.example/photo-1?w=9", "images"),
        ("subtitle", "What it is about", "summary"),
        ("теги", "[вода]", "topics"),
        ("byline", "Ada", "authors"),
        ("venue", "Almaty", "place"),
        ("type", "event", "kind"),
        ("lastmod", "2026-11-01", "updated"),
        ("event_date", "2030-05-01", "starts"),
        ("canonical_url", "https://e.example/a", "url"),
        ("translationKey", "forum", "story"),
        ("press_contact", "{name: Ada, email: ada@un.example}", "contact"),
        ("audio", "[media/a.mp3]", "attachments"),
        ("video", "https://youtu.be/abcDEF12345", "below the second ---"),
    ],
)
def test_another_programs_name_of_a_key_is_named(tmp_path: Path, key: str, value: str, meant: str) -> None:
    [problem] = read(tmp_path, f"title: T\n{key}: {value}").problems
    assert (problem.level, problem.line) == ("warning", 3)
    assert f"`{key}" in problem.message
    assert (meant if " " in meant else f"`{meant}`") in problem.mend


@pytest.mark.parametrize(
    ("front", "key", "meant"),
    [
        ("resources:\n  - {src: cover.jpg, title: Cover}", "resources.src", "images"),  # Hugo
        ("header:\n  teaser: /assets/w.jpg", "header.teaser", "images"),  # Jekyll
        ("images: [a.jpg]\ngallery:\n  - image_path: b.jpg", "gallery.image_path", "images"),
        ("seo:\n  description: In short", "seo.description", "summary"),  # Decap
        ("params:\n  author: Ada", "params.author", "authors"),
        ("taxonomies:\n  tags: [water]", "taxonomies.tags", "topics"),  # Zola
        ("extra:\n  image: w.png", "extra.image", "images"),
        ("event:\n  start: 2030-05-01", "event.start", "starts"),
        ("build:\n  render: never", "build.render", "draft"),
        ("params:\n  embargo_until: 2030-05-01", "params.embargo_until", "embargo"),
        ("params:\n  draft: true", "params.draft", "draft"),
    ],
)
def test_a_key_within_another_key_is_named(tmp_path: Path, front: str, key: str, meant: str) -> None:
    problems = [each for each in read(tmp_path, f"title: T\n{front}").problems if "`" in each.message]
    assert [(f"`{key}`" in each.message, f"`{meant}`" in each.mend) for each in problems] == [(True, True)]
    assert problems[0].level == ("error" if meant in ("draft", "embargo") else "warning")


def test_a_place_that_a_number_sign_cuts_is_named(tmp_path: Path) -> None:
    [problem] = read(tmp_path, "title: Room #3\nplace: Hall #3, Almaty").problems
    assert (problem.line, problem.column, problem.level) == (3, 13, "warning")
    assert "'#3, Almaty'" in problem.message


def test_a_letter_that_was_broken_before_us_is_named(tmp_path: Path) -> None:
    swept = read(tmp_path, "title: T", "One.\n\nThe Caf\ufffd.")
    [problem] = swept.problems
    assert (problem.line, problem.level) == (6, "warning")
    assert "a letter is broken" in problem.message
    assert "Caf\ufffd" in swept.items[0].body


@pytest.mark.parametrize(
    "front",
    [
        "summary: S\ndescription: D", "tags: []", "image_credit: Ada", "cover: blue", "layout: post", "weight: 3",
        "images: [{src: https://e.example/a.jpg, alt: A}]\nogImage: https://e.example/a.jpg?w=9", "toc: {hidden: true}",
        "type: post", "comments: false",
    ],
)  # fmt: skip
def test_an_own_key_is_no_mistake(tmp_path: Path, front: str) -> None:
    assert not read(tmp_path, f"title: T\n{front}").problems


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("+++\ntitle = 'T'\n+++\nB\n", "TOML"),
        ('{"title": "T"}\nB\n', "JSON"),
        ("—--\ntitle: T\n—--\n", "long dashes"),
        ("\n\n---\ntitle: T\n---\n", "empty lines"),
    ],
)
def test_another_format_of_front_matter_is_named(tmp_path: Path, text: str, part: str) -> None:
    read(tmp_path, "title: T")
    (tmp_path / "content" / "a.en.md").write_text(text, encoding="utf-8")
    context = SourceContext("newsroom", tmp_path, "https://news.example/", ("en", "ru"), ALMATY)
    [problem] = FolderSource(Settings(type="folder"), context).sweep(datetime(2026, 1, 1, tzinfo=UTC)).problems
    assert part in problem.message
    assert problem.mend
