"""The welcome mail to new subscribers, and the reconfirmation of an old list."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import httpx

from tests.fixtures.newsroom_folder import item
from tests.web.site.test_subscribe import ADA, Site, site
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
