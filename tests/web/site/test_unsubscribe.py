"""Unsubscribing: GET shows, POST acts, and a link never expires."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from tests.fixtures.newsroom_folder import make_newsroom_folder
from tests.servers.judges import html_validate
from tests.web.server import served
from tidings.model.tokens import TokenPurpose
from tidings.pipeline.compose.baseline import rename_outlets
from tidings.runtime.newsroom import Runtime
from tidings.store.delivery.notices import unsent_notices
from tidings.store.people import consent, subscribers
from tidings.web.app import newsroom_app

NOW = datetime(2026, 9, 1, tzinfo=UTC)
ADDRESS = "anna@example.org"


@dataclass
class Site:
    runtime: Runtime
    url: str

    def link(self, subscriber: int = 1, list_name: str = "digest") -> str:
        return f"{self.url}unsubscribe/{self.runtime.keys.sign(TokenPurpose.UNSUBSCRIBE, subscriber, list_name)}"

    def state(self) -> str:
        with self.runtime.store.read() as connection:
            return next(subscribers.subscriptions(connection, address=ADDRESS)).state


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with (
        make_newsroom_folder(tmp_path / "newsroom", "sqlite:///tidings.db") as folder,
        folder.runtime() as runtime,
        served(newsroom_app(runtime)) as url,
    ):
        with runtime.store.write() as connection:
            subscribers.add(connection, ADDRESS, "digest", language="ru", frequency="weekly", now=NOW, confirmed=True)
        yield Site(runtime, url)


def test_get_and_head_change_nothing(site: Site) -> None:
    for _ in range(3):
        assert httpx.get(site.link()).status_code == 200
        assert httpx.head(site.link()).status_code == 200
    assert site.state() == "confirmed"


def test_rfc_8058_one_click_unsubscribes_and_a_repeat_is_allowed(site: Site) -> None:
    for body in ({"List-Unsubscribe": "One-Click"}, {"List-Unsubscribe": "One-Click"}):
        answer = httpx.post(site.link(), data=body)
        assert answer.status_code == 200
        assert "set-cookie" not in answer.headers
    assert site.state() == "unsubscribed"
    with site.runtime.store.read() as connection:
        assert consent.suppression(connection, consent.address_hash(ADDRESS), "digest") == "unsubscribed"
        outcomes = [what for _, _, what, _ in subscribers.consents_of(connection, ADDRESS)]
    assert outcomes == ["confirmed", "unsubscribed"]


def test_a_multipart_body_unsubscribes_too(site: Site) -> None:
    answer = httpx.post(site.link(), files={"List-Unsubscribe": (None, "One-Click")})
    assert answer.status_code == 200
    assert site.state() == "unsubscribed"


def test_the_page_is_in_the_readers_language_without_an_address(site: Site) -> None:
    page = httpx.get(site.link()).text
    assert '<html lang="ru" dir="ltr">' in page
    assert "Отписаться" in page
    assert ADDRESS not in page
    after = httpx.post(site.link()).text
    assert "<form" not in after
    assert "<form" not in httpx.get(site.link()).text


def test_an_altered_token_or_one_for_another_purpose_is_a_404(site: Site) -> None:
    wrong = site.runtime.keys.sign(TokenPurpose.PREFERENCES, 1, "digest")
    for token in (wrong, "x", site.link().rsplit("/", 1)[1][:-2] + "AA"):
        for answer in (httpx.get(f"{site.url}unsubscribe/{token}"), httpx.post(f"{site.url}unsubscribe/{token}")):
            assert answer.status_code == 404
    assert site.state() == "confirmed"


def test_an_erased_reader_sees_that_they_are_unsubscribed(site: Site) -> None:
    with site.runtime.store.write() as connection:
        subscribers.erase(connection, 1, now=NOW)
    assert httpx.post(site.link()).status_code == 200


def test_the_link_of_a_test_mail_unsubscribes_nobody(site: Site) -> None:
    answer = httpx.post(site.link(subscriber=0))
    assert answer.status_code == 200
    assert "test mail" in answer.text
    assert site.state() == "confirmed"


def test_any_spelling_of_the_body_unsubscribes(site: Site) -> None:
    """Mail programs and browsers send different bodies; only the token counts."""
    for subscriber, body in enumerate(("List-Unsubscribe=One-Click\r\n", "list-unsubscribe=one-click", ""), 2):
        with site.runtime.store.write() as connection:
            address = f"r{subscriber}@example.org"
            subscribers.add(connection, address, "digest", language="en", frequency="weekly", now=NOW, confirmed=True)
        assert httpx.post(site.link(subscriber), content=body).status_code == 200
        with site.runtime.store.read() as connection:
            assert next(subscribers.subscriptions(connection, address=address)).state == "unsubscribed"


def test_the_suppression_is_committed_before_the_answer(site: Site) -> None:
    """If the store cannot be written, the page does not say 'done'. A later try works."""
    with site.runtime.store.write() as connection:
        connection.exec_driver_sql("ALTER TABLE suppressions RENAME TO away")
    answer = httpx.post(site.link())
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "60"
    assert site.state() == "confirmed"
    with site.runtime.store.write() as connection:
        connection.exec_driver_sql("ALTER TABLE away RENAME TO suppressions")
    assert httpx.post(site.link()).status_code == 200
    assert site.state() == "unsubscribed"


def test_a_link_from_before_a_rename_leaves_both_names(site: Site) -> None:
    before = site.runtime.newsroom
    lists = {"news": before.lists["digest"].model_copy(update={"was": "digest"}), "press": before.lists["press"]}
    site.runtime.newsroom = before.model_copy(update={"lists": lists})
    assert "Digest" in httpx.get(site.link()).text
    assert httpx.post(site.link()).status_code == 200
    assert site.state() == "unsubscribed"
    with site.runtime.store.read() as connection:
        for name in ("digest", "news"):
            assert consent.suppression(connection, consent.address_hash(ADDRESS), name) == "unsubscribed"


def _rename(site: Site, was: str, name: str) -> None:
    before = site.runtime.newsroom
    lists = {name: before.lists[was].model_copy(update={"was": was}), "press": before.lists["press"]}
    site.runtime.newsroom = before.model_copy(update={"lists": lists})
    rename_outlets(site.runtime.store, site.runtime.newsroom)


@pytest.mark.parametrize("api", [False, True])
def test_a_former_name_is_known_for_ever(site: Site, api: bool) -> None:
    """After a second rename, or without `was:`, the answer was 200 and the reader stayed on the list."""
    link = site.link().replace("unsubscribe/", "api/unsubscriptions/" if api else "unsubscribe/")
    _rename(site, "digest", "news")
    _rename(site, "news", "weekly")
    lists = {name: each.model_copy(update={"was": None}) for name, each in site.runtime.newsroom.lists.items()}
    site.runtime.newsroom = site.runtime.newsroom.model_copy(update={"lists": lists})
    assert api or "Digest" in httpx.get(link).text
    answer = httpx.post(link)
    assert answer.status_code == 200 and (not api or answer.json()["status"] == "left")
    assert site.state() == "unsubscribed"
    with site.runtime.store.read() as connection:
        assert consent.suppression(connection, consent.address_hash(ADDRESS), "weekly") == "unsubscribed"


@pytest.mark.parametrize("path", ["unsubscribe/", "api/unsubscriptions/"])
def test_leaving_is_confirmed_only_by_the_store(site: Site, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscribers, "unsubscribe", lambda *_, **__: None)
    answer = httpx.post(site.link().replace("unsubscribe/", path))
    assert (answer.status_code, site.state()) == (404, "confirmed")


@pytest.mark.parametrize(("joined_before", "news"), [(True, "unsubscribed"), (False, "confirmed")])
def test_an_old_link_leaves_though_its_name_is_taken(site: Site, joined_before: bool, news: str) -> None:
    """The reader stayed on the list whose link they had used, and the page said `left`."""
    _rename(site, "digest", "news")
    before = site.runtime.newsroom
    site.runtime.newsroom = before.model_copy(update={"lists": {**before.lists, "digest": before.lists["press"]}})
    later = NOW + timedelta(days=1)
    with site.runtime.store.write() as connection:
        subscribers.add(connection, ADDRESS, "digest", language="ru", frequency="now", now=later, confirmed=True)
        if not joined_before:
            connection.exec_driver_sql("UPDATE subscriptions SET created = created + 172800000000 WHERE list = 'news'")
    page = httpx.post(site.link())
    assert page.status_code == 200
    with site.runtime.store.read() as connection:
        states = {each.list: each.state for each in subscribers.subscriptions(connection, address=ADDRESS)}
    assert states == {"digest": "unsubscribed", "news": news}
    # On the preferences page, the name means the list that it shows.
    with site.runtime.store.read() as connection:
        assert subscribers.names_to_leave(connection, 1, "digest") in (["digest"], ["news"])


def test_a_list_that_nobody_knows_is_not_called_left(site: Site) -> None:
    link = site.link(list_name="gone")
    assert httpx.post(link).status_code == 404
    assert httpx.post(link.replace("unsubscribe/", "api/unsubscriptions/")).status_code == 404
    assert site.state() == "confirmed"
    with site.runtime.store.read() as connection:
        [notice] = unsent_notices(connection)
    assert "the list gone" in notice.text and ADDRESS not in notice.text


def test_a_mangled_link_still_leads_to_leaving(site: Site) -> None:
    before, _, token = site.link().rpartition("/")
    ends = [
        f"{token.upper()}.",
        f"{token})",
        f"{token}%20",
        f"{token}=20",
        f"{token}/",
        f"{token}%3E",
        f"%3C{token}%3E",
    ]
    ends += [f"{token[:20]}{sign}{token[20:]}" for sign in ("%0D%0A", "=%0D%0A", "%20", "%E2%80%8B", "%C2%AD", "=")]
    ends += [f"{token}?utm_source=a&fbclid=b", f"{token}&utm_source=a", f"{token}%3Futm_source=a", f"{token}%E2%80%9D"]
    links = [f"{before}/{end}" for end in ends]
    links += [f"{site.url}/Unsubscribe//{token}", f"{site.url}UNSUBSCRIBE/{token.upper()}"]
    for link in links:
        with site.runtime.store.write() as connection:
            connection.exec_driver_sql("DELETE FROM suppressions")
            connection.exec_driver_sql("UPDATE subscriptions SET state = 'confirmed'")
        assert "<form" in httpx.get(link).text, link
        assert httpx.post(link).status_code == 200
        assert site.state() == "unsubscribed", link


def test_links_in_base64_of_older_versions_still_work(site: Site) -> None:
    token = base64.urlsafe_b64encode(bytes.fromhex(site.link().rpartition("/")[2])).rstrip(b"=").decode()
    assert httpx.post(f"{site.url}unsubscribe/{token})").status_code == 200
    assert site.state() == "unsubscribed"


def test_a_removed_list_can_be_left(site: Site) -> None:
    before = site.runtime.newsroom
    site.runtime.newsroom = before.model_copy(update={"lists": {"press": before.lists["press"]}})
    assert "<form" in httpx.get(site.link()).text
    assert httpx.post(site.link()).status_code == 200
    assert site.state() == "unsubscribed"


def test_a_broken_template_does_not_stop_an_unsubscription(site: Site) -> None:
    folder = site.runtime.root / "templates" / "pages"
    folder.mkdir(parents=True)
    (folder / "leave.html.j2").write_text("{{ nobody.knows.this }}")
    assert "<form" in httpx.get(site.link()).text
    assert httpx.post(site.link()).status_code == 200
    assert site.state() == "unsubscribed"


def test_a_reader_without_a_language_gets_the_browsers(site: Site) -> None:
    headers = {"Accept-Language": "fr-CH, kk-KZ;q=0.8, en;q=0.5, *;q=odd"}
    answer = httpx.get(f"{site.url}unsubscribe/x", headers=headers)
    assert answer.headers["content-language"] == "kk"
    assert httpx.get(f"{site.url}unsubscribe/x").headers["content-language"] == "en"
    assert httpx.get(site.link(), headers=headers).headers["content-language"] == "ru"


def test_the_page_shows_nothing_of_the_request(site: Site) -> None:
    for answer in (
        httpx.get(f"{site.url}unsubscribe/<script>alert(1)</script>?q=<b>quoted"),
        httpx.get(f"{site.url}unsubscribe/ekszotikus-token"),
        httpx.post(site.link(), data={"List-Unsubscribe": "One-Click", "note": "<b>quoted"}),
    ):
        assert "alert(1)" not in answer.text
        assert "quoted" not in answer.text
        assert "ekszotikus" not in answer.text


def test_other_methods_change_nothing(site: Site) -> None:
    for method in ("PUT", "DELETE", "PATCH", "OPTIONS"):
        assert httpx.request(method, site.link()).status_code == 405
    assert site.state() == "confirmed"


def test_nothing_is_kept_or_indexed(site: Site) -> None:
    headers = httpx.get(site.link()).headers
    assert headers["cache-control"] == "no-store"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["x-robots-tag"] == "noindex"


def test_a_huge_body_is_refused(site: Site) -> None:
    assert httpx.post(site.link(), content=b"x" * 100_000).status_code == 413
    assert site.state() == "confirmed"


@pytest.mark.slow
def test_the_pages_are_valid_html(site: Site, tmp_path: Path) -> None:
    files = []
    for number, answer in enumerate(
        (
            httpx.get(site.link()),
            httpx.get(f"{site.url}unsubscribe/x"),
            httpx.post(site.link(subscriber=0)),
            httpx.post(site.link()),
        )
    ):
        files.append(tmp_path / f"{number}.html")
        files[-1].write_text(answer.text, encoding="utf-8")
    assert html_validate(*files, extends=("recommended",)) == []
