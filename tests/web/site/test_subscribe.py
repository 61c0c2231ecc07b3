"""Subscribing, preferences and data requests: GET shows, POST acts, and only a confirmation subscribes."""

from __future__ import annotations

import re
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from html import unescape
from pathlib import Path

import httpx
import pytest
from sqlalchemy import select

from tests.fixtures.newsroom_folder import NewsroomFolder, ReceivedMail, make_newsroom_folder
from tests.servers.judges import html_validate
from tests.web.server import served
from tidings.model.tokens import TokenPurpose
from tidings.pipeline.members import subscribe
from tidings.runtime.newsroom import Runtime, load_newsroom
from tidings.store import schema as t
from tidings.store.people import consent, sign_ups, subscribers
from tidings.web.app import newsroom_app

WEEKLY = "cadence: {weekly: fri 09:00}\ndeliver: [{list: digest, frequency: weekly}]\n"
DAILY = 'cadence: {daily: "09:00"}\ndeliver: [{list: digest, frequency: daily}]\n'
ADA = "ada@example.org"


@dataclass
class Site:
    folder: NewsroomFolder
    runtime: Runtime
    url: str

    def ask(self, address: str = ADA, path: str = "subscribe/digest", **fields: str | list[str]) -> httpx.Response:
        return httpx.post(self.url + path, data={"email": address, **fields})

    def mails(self) -> list[ReceivedMail]:
        """Process all requests, and return the mails."""
        self.runtime.answer_requests()
        self.runtime.deliver()
        return self.folder.mails.received

    def link(self, mail: ReceivedMail, what: str) -> str:
        match = re.search(rf"https://news\.example\.org/({what}/\S+)", mail.text)
        assert match is not None, mail.text
        return self.url + match[1]

    def states(self, address: str = ADA) -> dict[str, str]:
        with self.runtime.store.read() as connection:
            return {
                subscription.list: subscription.state
                for subscription in subscribers.subscriptions(connection, address=address)
            }

    def one(self, address: str = ADA, name: str = "digest") -> subscribers.Subscription:
        with self.runtime.store.read() as connection:
            return next(
                subscription
                for subscription in subscribers.subscriptions(connection, address=address)
                if subscription.list == name
            )

    def add(self, address: str = ADA, name: str = "digest", **values: str) -> int:
        with self.runtime.store.write() as connection:
            subscribers.add(
                connection,
                address,
                name,
                language=values.get("language", "en"),
                frequency=values.get("frequency", "weekly"),
                now=self.runtime.now(),
                confirmed=True,
            )
            subscriber = subscribers.find_id(connection, address)
            assert subscriber is not None
            return subscriber

    def preferences(self, subscriber: int) -> str:
        return f"{self.url}preferences/{self.runtime.keys.sign(TokenPurpose.PREFERENCES, subscriber, 'digest')}"


@pytest.fixture
def site(tmp_path: Path, database_url: str) -> Iterator[Site]:
    with make_newsroom_folder(tmp_path / "newsroom", database_url) as folder:
        folder.write("schedules/weekly.yaml", WEEKLY)
        folder.write("schedules/daily.yaml", DAILY)
        main = (folder.root / "tidings.yaml").read_text()
        folder.write("tidings.yaml", main.replace("languages: [en, ru, kk]", "languages: [en, ru, kk, ar]", 1))
        private = "  inner: {name: Inner, from: News <news@example.org>, public: false}\nchannels:\n"
        main = (folder.root / "tidings.yaml").read_text()
        folder.write("tidings.yaml", main.replace("channels:\n", private, 1))
        with folder.runtime() as runtime, served(newsroom_app(runtime)) as url:
            yield Site(folder, runtime, url)


def judged(folder: Path, pages: dict[str, str]) -> list[str]:
    folder.mkdir()
    files = [folder / f"{name}.html" for name in pages]
    for file, page in zip(files, pages.values(), strict=True):
        file.write_text(page, encoding="utf-8")
    # Checkboxes with one name are one choice of several (HTML §4.10.5.1.15).
    shared = {"form-dup-name": ["error", {"shared": ["radio", "checkbox", "submit"]}]}
    return html_validate(*files, extends=("recommended",), rules=shared)


def test_only_a_confirmation_subscribes(site: Site) -> None:
    answer = site.ask(language="ru", frequency="daily", topic=["water", "nonsense"])
    assert answer.status_code == 200
    [mail] = site.mails()
    assert (mail.recipient, mail.message["Subject"]) == (ADA, "Подтвердите подписку: Digest")
    assert mail.message["Auto-Submitted"] and not mail.message["List-Unsubscribe"]
    assert site.states() == {"digest": "pending"}
    link = site.link(mail, "confirm")
    for _ in range(3):
        assert httpx.get(link).status_code == httpx.head(link).status_code == 200
    assert site.states() == {"digest": "pending"}
    assert "Вы подписаны" in httpx.post(link).text
    subscription = site.one()
    assert (subscription.state, subscription.language, subscription.frequency, subscription.topics) == (
        "confirmed",
        "ru",
        "daily",
        ("water",),
    )
    assert httpx.post(link).status_code == 200
    with site.runtime.store.read() as connection:
        rows = connection.execute(select(t.consents).order_by(t.consents.c.id)).all()
    assert [row.what for row in rows] == ["joined", "confirmed"]
    assert (rows[1].wording, rows[1].ip) == (subscribe.wording_version(), "127.0.0.1")


def test_one_mail_a_day_without_anything_that_was_typed(site: Site) -> None:
    for _ in range(4):
        site.ask(name="<b>Free money</b>", website="")
        site.mails()
    [mail] = site.mails()
    assert "money" not in mail.data.decode()
    site.runtime.set_clock(datetime.now(UTC) + timedelta(days=1))
    site.ask()
    assert len(site.mails()) == 2


def test_known_and_unknown_get_the_same_answer(site: Site) -> None:
    site.add()
    known, unknown = site.ask(), site.ask("nobody@example.org")
    assert known.text == unknown.text and known.status_code == unknown.status_code
    mails = {mail.recipient: mail for mail in site.mails()}
    assert "already" in mails[ADA].text and "/preferences/" in mails[ADA].text
    assert "/confirm/" in mails["nobody@example.org"].text


def test_an_unsubscribed_reader_returns_only_by_confirmation(site: Site) -> None:
    reader = site.add()
    with site.runtime.store.write() as connection:
        subscribers.unsubscribe(connection, reader, "digest", source="link", now=site.runtime.now())
    site.ask()
    [mail] = site.mails()
    digest = consent.address_hash(ADA)
    with site.runtime.store.read() as connection:
        assert consent.suppression(connection, digest, "digest") == "unsubscribed"
    httpx.post(site.link(mail, "confirm"))
    assert site.states() == {"digest": "confirmed"}
    with site.runtime.store.read() as connection:
        assert consent.suppression(connection, digest, "digest") is None


@pytest.mark.parametrize(("name", "reason"), [("digest", "hard"), ("", "complaint"), ("", "erased")])
def test_a_dead_mailbox_gets_no_confirmation_mail(site: Site, name: str, reason: str) -> None:
    with site.runtime.store.write() as connection:
        consent.suppress(connection, consent.address_hash(ADA), name, reason, site.runtime.now())
    assert site.ask().status_code == 200
    assert site.mails() == []


@pytest.mark.usefixtures("one_window")
def test_requests_of_robots_and_floods_are_dropped(site: Site) -> None:
    assert site.ask("robot@example.org", website="https://spam.example").status_code == 200
    codes = [site.ask(f"reader{number}@example.org").status_code for number in range(40)]
    assert codes.count(200) == 19 and set(codes[19:]) == {429}
    assert "robot@example.org" not in {mail.recipient for mail in site.mails()}


def test_a_missing_field_has_its_error_beside_it(site: Site, tmp_path: Path) -> None:
    answer = site.ask("not an address", path="subscribe/?lang=ru")
    assert answer.status_code == 422
    assert 'aria-describedby="email-error"' in answer.text and 'value="not an address"' in answer.text
    assert "Выберите хотя бы один" in answer.text
    assert judged(tmp_path / "judged", {"form": answer.text}) == []
    assert site.ask('"><script>', path="subscribe/digest").text.count("<script>") == 0


def test_a_private_list_is_a_404(site: Site) -> None:
    for path in ("subscribe/inner", "subscribe/nonsense"):
        assert httpx.get(site.url + path).status_code == 404
        assert site.ask(path=path).status_code == 404
    assert site.ask(path="subscribe/", list=["inner"]).status_code == 422
    assert "Inner" not in httpx.get(site.url + "subscribe/").text
    assert site.mails() == []


def test_several_lists_by_one_mail(site: Site) -> None:
    site.ask(path="subscribe/", list=["digest", "press"])
    [mail] = site.mails()
    httpx.post(site.link(mail, "confirm"))
    assert site.states() == {"digest": "confirmed", "press": "confirmed"}


def _stuck(site: Site) -> int:
    """Return deliveries that wait although nothing is due."""
    with site.runtime.store.read() as connection:
        rows = connection.execute(select(t.deliveries.c.state)).scalars().all()
    return sum(state in ("pending", "leased", "deferred") for state in rows)


def test_every_sign_up_of_one_day_gets_its_mail(site: Site) -> None:
    """The second request of a day waited for ever, in a mailing that was closed."""
    site.ask()
    assert len(site.mails()) == 1
    site.ask(path="subscribe/press")
    assert len(site.mails()) == 2 and site.mails()[-1].message["Subject"] == "Please confirm: Press"
    site.ask(language="ru")
    assert len(site.mails()) == 3 and site.mails()[-1].message["Subject"] == "Подтвердите подписку: Digest"
    httpx.post(site.link(site.mails()[-1], "confirm"))
    assert site.one().language == "ru"
    site.ask(language="ru")
    assert len(site.mails()) == 4 and "/preferences/" in site.mails()[-1].text
    with site.runtime.store.write() as connection:
        subscribers.unsubscribe(connection, 1, "digest", source="link", now=site.runtime.now())
    assert site.states() == {"digest": "unsubscribed", "press": "pending"}
    site.runtime.store.close()
    site.ask(language="ru")
    assert len(site.mails()) == 5
    httpx.post(site.link(site.mails()[-1], "confirm"))
    assert site.states() == {"digest": "confirmed", "press": "pending"}
    assert _stuck(site) == 0


def test_ten_mails_a_day_to_one_address_and_the_page_says_so(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    from tidings.web import reader_actions

    for limit in ("BY_MAILBOX", "MAILBOX_A_DAY", "BY_CLIENT"):
        monkeypatch.setattr(reader_actions, limit, 1_000)
    for number in range(12):
        page = site.ask(
            language=("en", "ru", "kk")[number % 3], path="subscribe/", list=["digest", "press"][number % 2]
        )
        site.mails()
        if number % 4 == 3:
            with site.runtime.store.write() as connection:
                for name in ("digest", "press"):
                    subscribers.unsubscribe(connection, 1, name, source="link", now=site.runtime.now())
    assert "at most ten such mails a day" in page.text or "не больше десяти" in page.text or "оннан артық" in page.text
    assert len(site.mails()) == 10 and _stuck(site) == 0


def test_a_link_from_before_leaving_confirms_nothing(site: Site) -> None:
    site.ask()
    first = site.link(site.mails()[0], "confirm")
    httpx.post(first)
    with site.runtime.store.write() as connection:
        subscribers.unsubscribe(connection, 1, "digest", source="link", now=site.runtime.now())
    assert httpx.post(first).status_code == 410
    # A stranger who types her address must not make the old link work again.
    site.ask()
    second = site.link(site.mails()[-1], "confirm")
    assert httpx.get(first).status_code == httpx.post(first).status_code == 410
    assert site.states() == {"digest": "pending"}
    assert httpx.post(second).status_code == 200 and site.states() == {"digest": "confirmed"}


def test_a_confirmation_lifts_no_hard_suppression(site: Site) -> None:
    site.ask()
    link = site.link(site.mails()[0], "confirm")
    digest = consent.address_hash(ADA)
    for name, reason in (("digest", "hard"), ("", "hard"), ("", "complaint")):
        with site.runtime.store.write() as connection:
            consent.lift(connection, digest, name)
            consent.suppress(connection, digest, name, reason, site.runtime.now())
        assert httpx.get(link).status_code == httpx.post(link).status_code == 410
        with site.runtime.store.read() as connection:
            assert consent.suppressions_of(connection, digest)[name][0] == reason
    assert site.states() == {"digest": "pending"}


def test_links_of_older_versions_still_confirm(site: Site) -> None:
    site.ask()
    site.mails()
    old = f"{site.url}confirm/{site.runtime.keys.sign(TokenPurpose.CONFIRM, 1, 'digest')}"
    assert httpx.post(old).status_code == 200 and site.states() == {"digest": "confirmed"}
    with site.runtime.store.write() as connection:
        subscribers.unsubscribe(connection, 1, "digest", source="link", now=site.runtime.now())
    site.ask()
    site.mails()
    assert httpx.post(old).status_code == 410 and site.states() == {"digest": "pending"}


@pytest.mark.usefixtures("one_window")
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_mangled_links_confirm_and_open_preferences(site: Site) -> None:
    site.ask()
    [mail] = site.mails()
    for link in (site.link(mail, "confirm"), site.preferences(site.one().subscriber)):
        before, _, token = link.rpartition("/")
        for end in (
            f"{token}/",
            f"{token}%3C/a%3E",
            f"%3C{token}",
            f"{token[:9]}=%0D%0A{token[9:]}",
            f"{token.upper()}.",
        ):
            assert "<form" in httpx.get(f"{before}/{end}").text, end
            assert httpx.head(f"{before}/{end}").status_code == 200
        assert site.states() == {"digest": "pending"}
    httpx.post(site.link(mail, "confirm") + "/")
    assert site.states() == {"digest": "confirmed"}


@pytest.mark.parametrize(
    "addresses",
    [
        [f"ada+{number}@example.org" for number in range(16)],
        [f"{'.'.join('adalovelace'[:number])}{'adalovelace'[number:]}@gmail.com" for number in range(1, 9)],
        [f"a{sign}da{tag}@{domain}" for sign in ".-" for tag in ("", "+x") for domain in ("ya.ru", "yandex.kz")],
        [f"ada{'_' * number}@{domain}" for number in range(4) for domain in ("pm.me", "proton.me")],
        [f"{name}@{domain}" for name in ("adal", "ad.al", "a.dal") for domain in ("gmail.com", "googlemail.com")],
    ],
    ids=["tags", "dots", "yandex", "proton", "two domains"],
)
def test_addresses_of_one_mailbox_are_limited(site: Site, addresses: list[str]) -> None:
    codes = [site.ask(address).status_code for address in addresses]
    assert codes.count(200) == 5 and set(codes[5:]) == {429}
    assert len(site.mails()) == 5


@pytest.mark.parametrize(("network", "most"), [("2001:db8:1:{n:x}::", 60), ("2001:db8:{n:x}::", 100)])
def test_networks_of_one_site_are_limited_together(site: Site, network: str, most: int) -> None:
    from tidings.web.reader_actions import request_subscription

    taken = [
        request_subscription(
            site.runtime, f"r{n}@d{n}.example", ("digest",), languages=["en"], topics=[], frequencies=[], source="form",
            client=network.format(n=n),
        )
        for n in range(1, 101)
    ]  # fmt: skip
    assert sum(taken) == most


def test_a_flood_does_not_keep_the_readers_of_a_domain_out(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    from tidings.web import reader_actions

    monkeypatch.setattr(reader_actions, "BY_DOMAIN", 10)

    def ask(address: str, client: str) -> bool:
        return reader_actions.request_subscription(
            site.runtime, address, ("digest",), languages=["en"], topics=[], frequencies=[], source="form",
            client=client,
        )  # fmt: skip

    assert [ask(f"robot{n}@mail.example", "192.0.2.1") for n in range(15)].count(True) == 10
    assert ask("ada@mail.example", "198.51.100.7") and not ask("bob@mail.example", "198.51.100.7")


@pytest.mark.parametrize("language", ["en", "ru", "kk", "ar"])
def test_every_page_is_valid_in_every_language(site: Site, language: str, tmp_path: Path) -> None:
    reader = site.add(language=language)
    site.ask("eve@example.org", language=language)
    [mail] = site.mails()
    token = site.runtime.keys.sign(TokenPurpose.ERASE, reader, "")
    leave = site.runtime.keys.sign(TokenPurpose.UNSUBSCRIBE, reader, "digest")
    pages = {
        "form": httpx.get(f"{site.url}subscribe/?lang={language}").text,
        "list": httpx.get(f"{site.url}subscribe/digest?lang={language}").text,
        "confirm": httpx.get(site.link(mail, "confirm")).text,
        "preferences": httpx.get(site.preferences(reader)).text,
        "erase": httpx.get(f"{site.url}erase/{token}").text,
        "leave": httpx.get(f"{site.url}unsubscribe/{leave}").text,
    }
    direction = "rtl" if language == "ar" else "ltr"
    for name, page in pages.items():
        assert f'<html lang="{language}" dir="{direction}">' in page, name
        assert ADA not in page
    assert judged(tmp_path / "judged", pages) == []
    body = mail.message.get_body(("html",))
    assert body is not None
    assert f'lang="{language}"' in str(body.get_content()) and mail.message["Content-Language"] == language


def test_preferences_change_on_post_and_not_on_get(site: Site) -> None:
    reader = site.add()
    link = site.preferences(reader)
    page = unescape(httpx.get(link).text)
    assert 'value="weekly" checked' in page and "a…@example.org" in page
    answer = httpx.post(
        link,
        data={"language": "kk", "frequency.digest": "daily", "topic.digest": ["water"], "pause": "30", "do": "save"},
    )
    assert 'role="status"' in answer.text and 'lang="kk"' in answer.text
    subscription = site.one()
    assert (subscription.language, subscription.frequency, subscription.topics) == ("kk", "daily", ("water",))
    with site.runtime.store.read() as connection:
        until = connection.execute(select(t.subscriptions.c.paused_until)).scalar_one()
    assert timedelta(days=29) < until - datetime.now(UTC) < timedelta(days=31)
    httpx.post(link, data={"frequency.digest": "never", "language": "xx", "pause": "keep", "topic.digest": "nonsense"})
    subscription = site.one()
    assert (subscription.language, subscription.frequency, subscription.topics) == ("kk", "daily", ())
    with site.runtime.store.read() as connection:
        assert connection.execute(select(t.subscriptions.c.paused_until)).scalar_one() == until


def test_a_form_changes_only_what_it_showed(site: Site) -> None:
    reader = site.add()
    link = site.preferences(reader)
    page = httpx.get(link).text
    shown = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', page))
    assert shown == {"shown.digest": "water youth health climate"}
    site.add(name="press", frequency="now")
    with site.runtime.store.write() as connection:
        for name, topics in (("press", ["youth"]), ("digest", ["water", "new-one"])):
            subscribers.change(connection, reader, list_name=name, topics=topics)
    for fields in (shown, {}):
        httpx.post(link, data={**fields, "frequency.digest": "daily", "topic.digest": ["health"], "do": "save"})
        assert site.one(name="press").topics == ("youth",) and site.one(name="press").frequency == "now"
        assert site.one().frequency == "daily" and "health" in site.one().topics
    httpx.post(link, data={**shown, "frequency.digest": "daily", "pause": "30", "do": "save"})
    with site.runtime.store.read() as connection:
        rows = connection.execute(select(t.subscriptions.c.list, t.subscriptions.c.paused_until)).all()
    assert {row.list for row in rows if row.paused_until is not None} == {"digest"}
    assert site.one().topics == ()


def test_erasing_by_the_page_leaves_no_trace(site: Site, tmp_path: Path) -> None:
    """The address stayed in the write-ahead log, and hashes of it in the counts of requests."""
    site.ask()
    httpx.post(site.link(site.mails()[0], "confirm"))
    keys = sign_ups.limit_keys(ADA)
    with site.runtime.store.read() as connection:
        counts = connection.execute(select(t.request_counts.c.key)).scalars().all()
        assert set(keys) & set(counts)
    erase = f"{site.url}erase/{site.runtime.keys.sign(TokenPurpose.ERASE, 1, '')}"
    page = httpx.post(erase).text
    assert "Your data is erased" in page and "Backups" in page
    with site.runtime.store.read() as connection:
        assert not set(keys) & set(connection.execute(select(t.request_counts.c.key)).scalars().all())
    path = site.runtime.store.path
    if path is not None:
        for file in (path, path.with_name(path.name + "-wal")):
            assert not file.exists() or ADA.encode() not in file.read_bytes(), file


def test_data_and_erasure_go_through_the_mailbox(site: Site) -> None:
    reader = site.add()
    for what in ("data", "data", "erase"):
        page = httpx.post(site.preferences(reader), data={"do": what}).text
        assert ADA not in page
    mails = {str(mail.message["Subject"]): mail for mail in site.mails()}
    assert len(mails) == len(site.folder.mails.received) == 2
    assert f'"address": "{ADA}"' in mails["The data that we have about you"].text
    link = site.link(mails["Erase all your data?"], "erase")
    assert httpx.get(link).status_code == 200 and site.states() == {"digest": "confirmed"}
    assert "Your data is erased" in httpx.post(link).text
    assert site.states() == {}
    assert httpx.post(link).status_code == 404
    assert httpx.get(site.preferences(reader)).status_code == 404


def test_a_token_of_another_purpose_opens_nothing(site: Site) -> None:
    reader = site.add()
    for purpose in TokenPurpose:
        token = site.runtime.keys.sign(purpose, reader, "digest")
        for path, own in (
            ("confirm", TokenPurpose.CONFIRM),
            ("preferences", TokenPurpose.PREFERENCES),
            ("erase", TokenPurpose.ERASE),
        ):
            if purpose is not own:
                assert httpx.get(f"{site.url}{path}/{token}").status_code == 404
                assert httpx.post(f"{site.url}{path}/{token}").status_code == 404
    assert site.states() == {"digest": "confirmed"}


@pytest.mark.parametrize(
    ("address", "odd"),
    [("ada\u200b@example.org", "U+200B ZERO WIDTH SPACE"), ("bоb@example.org", "U+043E CYRILLIC SMALL LETTER O")],
)
def test_a_character_that_nobody_sees_is_named(site: Site, address: str, odd: str) -> None:
    """Such an address was added beside the one that had left."""
    for path in ("subscribe/digest", "subscribe/digest?lang=ru"):
        page = httpx.post(site.url + path, data={"email": address})
        assert page.status_code == 422 and f"({odd})" in page.text
    answer = httpx.post(site.url + "api/subscriptions", json={"email": address, "lists": ["digest"]})
    assert answer.status_code == 422 and odd in answer.text
    assert not site.mails()


def test_an_invalid_form_is_refused(site: Site) -> None:
    for body, code in ((b"x" * 20_000, 413), ("é".encode(), 400), (b"&".join([b"a=1"] * 600), 400)):
        assert httpx.post(site.url + "subscribe/digest", content=body).status_code == code


@pytest.mark.slow
def test_nobody_can_tell_known_from_unknown_by_the_clock(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    from tidings.web import reader_actions

    monkeypatch.setattr(reader_actions, "BY_CLIENT", 10**9)
    monkeypatch.setattr(reader_actions, "BY_MAILBOX", 10**9)
    monkeypatch.setattr(reader_actions, "BY_DOMAIN", 10**9)
    site.add()
    taken: dict[str, list[float]] = {ADA: [], "eve@example.org": []}
    with httpx.Client() as client:
        for _ in range(600):
            for address, seconds in taken.items():
                began = time.perf_counter()
                client.post(site.url + "subscribe/digest", data={"email": address})
                seconds.append(time.perf_counter() - began)
    known, unknown = (sorted(seconds)[: len(seconds) * 9 // 10] for seconds in taken.values())
    spread = statistics.variance(known) / len(known) + statistics.variance(unknown) / len(unknown)
    assert abs(statistics.mean(known) - statistics.mean(unknown)) / spread**0.5 < 4.5


@pytest.mark.slow
@pytest.mark.usefixtures("one_window")
def test_500_requests_a_second_of_one_address_end_in_one_mail(site: Site) -> None:
    with httpx.Client() as client:
        codes = [client.post(site.url + "subscribe/digest", data={"email": ADA}).status_code for _ in range(500)]
    assert codes.count(429) >= 450
    assert len(site.mails()) == 1


def test_own_frequencies_are_named_in_the_readers_language(site: Site) -> None:
    main = (site.folder.root / "tidings.yaml").read_text(encoding="utf-8")
    names = "frequencies: {fortnightly: {en: Every two weeks, ru: Раз в две недели, kk: Екі аптада бір рет}}"
    site.folder.write("tidings.yaml", main.replace("fallback: [en], unsub", f"fallback: [en], {names}, unsub", 1))
    site.folder.write("schedules/weekly.yaml", WEEKLY.replace("frequency: weekly", "frequency: fortnightly"))
    site.folder.write("schedules/daily.yaml", DAILY)
    loaded = load_newsroom(site.folder.root, site.folder.env).newsroom
    assert loaded is not None
    site.runtime.apply_configuration(loaded)
    for language, label in (("ru", "Раз в две недели"), ("kk", "Екі аптада бір рет"), ("en", "Every two weeks")):
        page = httpx.get(f"{site.url}subscribe/digest", params={"lang": language}).text
        assert label in page, (language, page)
