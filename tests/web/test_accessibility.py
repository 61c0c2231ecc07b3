"""html-validate and axe-core, in a real Chromium, find nothing on any kind of page of the site.

Light and dark, on a phone and a computer, from left to right and from right to left.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest.mock import Mock

import httpx
import pytest
from sqlalchemy.exc import OperationalError

from tests.servers.chromium import chromium
from tests.servers.judges import html_validate
from tests.web.server import served
from tidings.model.tokens import TokenPurpose
from tidings.pipeline.compose.review import review_url
from tidings.pipeline.publish.archive import publish_archive
from tidings.runtime.init import init_newsroom
from tidings.runtime.newsroom import open_runtime
from tidings.runtime.tick import tick
from tidings.store.content import editions
from tidings.store.people import subscribers
from tidings.web import reader_actions
from tidings.web.app import newsroom_app

FRIDAY = datetime(2026, 9, 11, 4, tzinfo=UTC)
STORY = """---
title: {title}
kind: event
starts: 2027-01-10T09:00
place: Almaty
topics: [water]
organisations: [undp]
contact: {{name: Jane Doe, role: Press officer, email: jane@example.org, phone: +7 727 250 00 00}}
{more}---
{text}

| A | B |
|---|---|
| 1 | [a link](https://un.example/) |

> [!note] {title}
> {text}

<video src="https://un.example/v.mp4" controls></video>
"""
PAGES = {
    "front": "", "language": "en/", "rtl": "ar/", "story": "en/mobile-clinics/", "rtl story": "ar/wells/",
    "withdrawn": "en/gone/", "search": "en/search/", "rtl search": "ar/search/", "topics": "en/topics/",
    "topic": "en/topics/water/", "rtl topic": "ar/topics/water/", "organisations": "ru/organisations/",
    "organisation": "en/organisations/undp/", "kinds": "kk/kinds/", "kind": "en/kinds/event/",
    "archive": "archive/digest/", "not found": "en/nothing-here/",
    "subscribe": "subscribe/digest",
    "confirm": "confirm/{confirm}", "bad confirm": "confirm/x", "preferences": "preferences/{preferences}",
    "unsubscribe": "unsubscribe/{unsubscribe}", "bad unsubscribe": "unsubscribe/x", "review": "review/{review}",
}  # fmt: skip

# Checkboxes with one name are one choice of several (HTML §4.10.5.1.15).
RULES = {"form-dup-name": ["error", {"shared": ["radio", "checkbox", "submit"]}]}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Serve the sample newsroom with all kinds of pages. Returns their addresses by kind."""
    root = init_newsroom(tmp_path_factory.mktemp("sample") / "newsroom")
    for name, old, new in (
        ("tidings.yaml", "languages: [en, ru, kk]", "languages: [en, ru, kk, ar]"),
        ("schedules/weekly.yaml", "cadence:", "approval: {by: [boss@example.org]}\ncadence:"),
    ):
        file = root / name
        text = file.read_text(encoding="utf-8")
        assert old in text
        file.write_text(text.replace(old, new, 1), encoding="utf-8")
    with open_runtime(root, {}) as runtime:
        # Stories from before this time go into no edition.
        tick(runtime, FRIDAY - timedelta(days=1, hours=2), deliver=False)
    for name, title, more, text in (
        ("wells.en", "New wells", "", "Water for 40 villages."),
        ("wells.ar", "آبار جديدة", "", "ماء لأربعين قرية."),
        ("gone.en", "Not true", "withdrawn: It was not true.\n", "It never was."),
    ):
        story = STORY.format(title=title, more=more, text=text)
        (root / f"content/{name}.md").write_text(story, encoding="utf-8")
    with open_runtime(root, {}) as runtime:
        runtime.set_clock(FRIDAY)
        with runtime.store.write() as connection:
            reader = {"language": "en", "frequency": "weekly", "now": FRIDAY}
            subscribers.add(connection, "a@example.org", "digest", confirmed=True, **reader)
            subscribers.add(connection, "b@example.org", "digest", confirmed=False, **reader)
            subscribers.add(connection, "c@example.org", "digest", confirmed=True, **reader | {"frequency": "daily"})
        tick(runtime, FRIDAY, deliver=False)
        with runtime.store.read() as connection:
            [edition] = [each for each in editions.list_editions(connection) if each.schedule == "weekly"]
        publish_archive(runtime.store, runtime.newsroom, now=FRIDAY)
        keys, newsroom = runtime.keys, runtime.newsroom
        tokens = {
            "confirm": keys.sign(TokenPurpose.CONFIRM, 2, "1:digest"),
            "preferences": keys.sign(TokenPurpose.PREFERENCES, 1, "digest"),
            "unsubscribe": keys.sign(TokenPurpose.UNSUBSCRIBE, 1, "digest"),
            "review": review_url(newsroom, keys, edition.id, "boss@example.org").rpartition("/")[2],
        }
        with served(newsroom_app(runtime)) as url:
            yield {kind: url + path.format(**tokens) for kind, path in PAGES.items()}


@pytest.mark.slow
def test_every_kind_of_page_is_valid_html(site: dict[str, str], tmp_path: Path) -> None:
    statuses = {}
    for kind, url in site.items():
        answer = httpx.get(url)
        statuses[kind] = answer.status_code
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8", kind
        (tmp_path / f"{kind}.html").write_bytes(answer.content)
    others = {"withdrawn": 410, "confirm": 410, "not found": 404, "bad confirm": 404, "bad unsubscribe": 404}
    assert statuses == dict.fromkeys(site, 200) | others
    assert html_validate(*tmp_path.glob("*.html"), extends=("recommended", "a11y"), rules=RULES) == []


@pytest.mark.slow
@pytest.mark.parametrize(("scheme", "width", "other"), [("light", 360, 1280), ("dark", 1280, 360)])
def test_axe_finds_nothing_on_every_kind_of_page(
    site: dict[str, str], scheme: str, width: int, other: int, tmp_path: Path
) -> None:
    with chromium(tmp_path / "profile", "en") as tab:
        for kind, url in site.items():
            tab.screen(width, scheme=scheme)
            tab.open(url)
            assert tab.look("document.documentElement.dir") == ("rtl" if kind.startswith("rtl") else "ltr")
            assert (tab.axe(), tab.overflow()) == ([], 0), kind
            tab.screen(other, scheme=scheme)
            assert tab.overflow() == 0, kind


@pytest.mark.slow
def test_answers_to_a_form_are_sound_pages_too(
    site: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a mistake, after a request, after too many requests, and while the store cannot be used."""
    url = site["subscribe"]
    (base := tmp_path / "answers").mkdir()
    for language in ("en", "ar"):

        def ask(address: str, language: str = language) -> httpx.Response:
            headers = {"Accept-Language": language}
            return httpx.post(f"{url}?lang={language}", data={"email": address, "language": language}, headers=headers)

        answers = [ask("not an address"), ask(f"reader-{language}@example.org")]
        with monkeypatch.context() as patched:
            error = OperationalError("", {}, Exception("the disk is gone"))
            patched.setattr(reader_actions, "request_subscription", Mock(side_effect=error))
            answers.append(ask("reader@example.org"))
        for number in range(60):
            if (answer := ask(f"{number}@example.org")).status_code == 429:
                answers.append(answer)
                break
        # Both languages count as one client, so the second one has reached the limit.
        assert [answer.status_code for answer in answers] == [422, 200 if language == "en" else 429, 503, 429]
        assert answers[2].headers["Retry-After"] == "60"
        for answer in answers:
            text = answer.text.replace("<head>", f'<head><base href="{site["front"]}">', 1)
            (base / f"{language}-{answer.status_code}.html").write_text(text, encoding="utf-8")
    pages = sorted(base.glob("*.html"))
    assert html_validate(*pages, extends=("recommended", "a11y"), rules=RULES) == []
    with chromium(tmp_path / "profile", "en") as tab:
        for page in pages:
            for width, scheme in ((360, "light"), (360, "dark"), (1280, "light"), (1280, "dark")):
                tab.screen(width, scheme=scheme)
                tab.open(page.as_uri())
                assert tab.look("document.documentElement.dir") == ("rtl" if page.name.startswith("ar") else "ltr")
                assert (tab.axe(), tab.overflow()) == ([], 0), (page.name, width, scheme)
