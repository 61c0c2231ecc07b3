"""The welcome mail for new subscribers, and the reconfirmation of an old list."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx

from tests.fixtures.newsroom_folder import item
from tests.web.site.test_subscribe import ADA, Site, site
from tidings.runtime.people_files.importer import ImportOptions, import_people
from tidings.runtime.tick import tick
from tidings.store.people import subscribers

__all__ = ["site"]

WELCOME = (
    "  digest:\n    welcome: {subject: {en: Welcome, ru: Добро пожаловать}, text: {en: Hello there., ru: Рады вам.}, "
    "latest: true}\n    name: Digest\n    from: News <news@example.org>\n    fallback: [en]\n"
)


def with_welcome(site: Site) -> None:
    main = (site.folder.root / "tidings.yaml").read_text()
    before = next(line for line in main.splitlines(keepends=True) if line.startswith("  digest:"))
    site.folder.write("tidings.yaml", main.replace(before, WELCOME, 1))
    from tidings.runtime.newsroom import load_newsroom

    newsroom = load_newsroom(site.folder.root, site.folder.env).newsroom
    assert newsroom is not None
    site.runtime.apply_configuration(newsroom)


def test_a_new_subscriber_gets_one_welcome_with_the_last_edition(site: Site) -> None:
    with_welcome(site)
    site.add("old@example.org", language="ru")
    friday = datetime(2026, 11, 20, 4, tzinfo=UTC)
    site.runtime.set_clock(friday - timedelta(days=1))
    tick(site.runtime, friday - timedelta(days=1))
    site.folder.write("content/one.ru.md", item("Вода"))
    site.runtime.set_clock(friday)
    tick(site.runtime, friday)
    assert [mail.recipient for mail in site.folder.mails.received] == ["old@example.org"]
    site.ask(language="ru")
    link = site.link(site.mails()[-1], "confirm")
    for _ in range(2):
        httpx.post(link)
    welcome, *rest = [mail for mail in site.mails() if mail.message["Subject"] == "Добро пожаловать"]
    assert rest == [] and welcome.recipient == ADA
    assert "Рады вам." in welcome.text
    assert "Вода" in httpx.get(site.link(welcome, "archive")).text


def test_an_old_list_is_reconfirmed_and_silence_ends_it(site: Site) -> None:
    for name in ("yes", "no", "gone"):
        site.add(f"{name}@example.org")
    with site.runtime.store.write() as connection:
        number = subscribers.find_id(connection, "gone@example.org")
        assert number is not None
        subscribers.unsubscribe(connection, number, "digest", source="link", now=site.runtime.now())
    end = datetime.now(UTC) + timedelta(days=30)
    assert site.runtime.request_reconfirmation("digest", end) == 2
    assert site.runtime.request_reconfirmation("digest", end) == 0
    mails = {mail.recipient: mail for mail in site.mails()}
    assert set(mails) == {"yes@example.org", "no@example.org"}
    link = site.link(mails["yes@example.org"], "confirm")
    assert "<form" in httpx.get(link).text
    for _ in range(2):
        assert httpx.post(link).status_code == 200
    assert site.states("no@example.org") == {"digest": "confirmed"}
    site.runtime.set_clock(end)
    tick(site.runtime, end)
    assert site.states("yes@example.org") == {"digest": "confirmed"}
    assert site.states("no@example.org") == {"digest": "pending"}
    late = site.link(mails["no@example.org"], "confirm")
    assert httpx.post(late).status_code == 200
    assert site.states("no@example.org") == {"digest": "confirmed"}


def test_reconfirm_again_asks_who_was_not_asked(site: Site) -> None:
    """A reader who joined between two runs was never asked, and then lapsed."""
    site.add("first@example.org")
    end = datetime.now(UTC) + timedelta(days=30)
    assert site.runtime.request_reconfirmation("digest", end) == 1
    httpx.post(site.link(site.mails()[0], "confirm"))
    site.add("second@example.org")
    assert site.runtime.request_reconfirmation("digest", end) == 1
    assert [mail.recipient for mail in site.mails()] == ["first@example.org", "second@example.org"]
    site.runtime.set_clock(end)
    tick(site.runtime, end)
    assert site.states("first@example.org") == {"digest": "confirmed"}
    assert site.states("second@example.org") == {"digest": "pending"}


def test_leaving_ends_an_open_reconfirmation(site: Site) -> None:
    """The link of the question lifted the suppression of a person who had left."""
    reader = site.add()
    site.runtime.request_reconfirmation("digest", datetime.now(UTC) + timedelta(days=30))
    link = site.link(site.mails()[0], "confirm")
    with site.runtime.store.write() as connection:
        subscribers.unsubscribe(connection, reader, "digest", source="link", now=site.runtime.now())
    with site.runtime.store.read() as connection:
        assert subscribers.subscription_states(connection, reader, ["digest"]) == {"digest": "unsubscribed"}
    assert httpx.get(link).status_code == httpx.post(link).status_code == 410
    assert site.states() == {"digest": "unsubscribed"}


def test_nobody_lapses_before_the_question_is_sent(site: Site) -> None:
    site.add()
    end = datetime.now(UTC) + timedelta(days=30)
    site.runtime.request_reconfirmation("digest", end)
    with site.runtime.store.write() as connection:
        assert subscribers.expire_reconfirmations(connection, end) == 0
    assert len(site.mails()) == 1
    with site.runtime.store.write() as connection:
        assert subscribers.expire_reconfirmations(connection, end) == 1


def test_many_lapse_in_small_transactions(site: Site) -> None:
    """While 100,000 people lapsed at once, nobody could subscribe, and on SQLite nothing was sent."""
    site.add()
    site.add("grace@example.org")
    end = datetime.now(UTC) + timedelta(days=30)
    site.runtime.request_reconfirmation("digest", end)
    site.mails()
    with site.runtime.store.write() as connection:
        assert [subscribers.expire_reconfirmations(connection, end, most=1) for _ in range(3)] == [1, 1, 0]


def test_an_import_brings_nobody_back_who_lapsed(site: Site, tmp_path: Path) -> None:
    site.add()
    end = datetime.now(UTC) + timedelta(days=30)
    site.runtime.request_reconfirmation("digest", end)
    site.mails()
    with site.runtime.store.write() as connection:
        subscribers.expire_reconfirmations(connection, end)
    file = tmp_path / "people.csv"
    file.write_text(f"email\n{ADA}\n")
    options = ImportOptions("digest", confirmed=True, source="fair")
    import_people(site.runtime.store, site.runtime.newsroom, file, options, now=end)
    assert site.states() == {"digest": "pending"}
