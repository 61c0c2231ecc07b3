"""Gates on the content of an edition, as `gates:` sets them."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cli.conftest import Run, run_in  # noqa: F401
from tests.fixtures.newsroom import DAILY, HOUR, MONDAY, RunningNewsroom
from tests.render.mail.samples import document, many, message
from tidings.model.edition import Selection
from tidings.pipeline.compose import gates, links
from tidings.pipeline.compose.gates import measure_spam
from tidings.pipeline.compose.links import LinkLookups
from tidings.testing.http_sink import HttpSink, Received, Step


def _site(request: Received) -> Step:
    """A website with every type of answer."""
    path = request.path.partition("?")[0]
    is_browser = "Mozilla" in request.headers.get("User-Agent", request.headers.get("user-agent", ""))
    if path == "/shy":
        return Step(200 if is_browser else 404)
    if path == "/moved":
        return Step(301, headers={"Location": "/gone"})
    if path == "/walled":
        return Step(404, headers={"cf-mitigated": "challenge"})
    if path == "/slow":
        return Step(200, stall=2.0)
    status = path.strip("/")
    return Step(int(status) if status.isdigit() else 404 if path == "/gone" else 200)


@pytest.fixture
def site() -> Iterator[HttpSink]:
    with HttpSink(answer=_site) as sink:
        yield sink


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "_PAUSE", 0.0)
    monkeypatch.setattr(links, "_TIMEOUT", 0.5)


@pytest.fixture
def lookups(newsroom: RunningNewsroom) -> LinkLookups:
    return LinkLookups(newsroom.runtime.store, allow_private=True)


def _base(site: HttpSink) -> str:
    return site.url.partition("/hook")[0].rstrip("/")


def _set(newsroom: RunningNewsroom, gates: str) -> None:
    """Write `gates:` into tidings.yaml, and a daily schedule with its baseline and one reader."""
    path = newsroom.folder.root / "tidings.yaml"
    newsroom.folder.write("tidings.yaml", path.read_text() + f"gates: {gates}\n")
    newsroom.schedule("daily", DAILY)
    newsroom.reader("reader")
    newsroom.tick(MONDAY - 12 * HOUR)


def _holds(newsroom: RunningNewsroom) -> list[str]:
    return [hold.detail for hold in newsroom.edition("daily/1").holds]


# -- links -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/gone", "/404", "/410", "/moved", "/gone?x=1#part"])
def test_a_link_to_a_page_that_is_gone_is_dead(lookups: LinkLookups, site: HttpSink, path: str) -> None:
    url = _base(site) + path
    lookups.look_up([url], time.time())
    assert lookups.find_dead([url]).keys() == {url}


@pytest.mark.parametrize(
    "path", ["/200", "/401", "/403", "/405", "/429", "/500", "/503", "/999", "/shy", "/walled", "/slow"]
)
def test_a_slow_or_closed_site_is_not_dead(lookups: LinkLookups, site: HttpSink, path: str) -> None:
    url = _base(site) + path
    lookups.look_up([url], time.time())
    assert lookups.find_dead([url]) == {}


def test_a_dead_link_was_tried_twice(lookups: LinkLookups, site: HttpSink) -> None:
    lookups.look_up([_base(site) + "/gone"], time.time())
    assert [request.path for request in site.received] == ["/gone", "/gone"]


def test_results_are_kept_and_dead_links_asked_again(lookups: LinkLookups, site: HttpSink) -> None:
    now, base = time.time(), _base(site)
    lookups.look_up([base + "/200", base + "/gone"], now)
    asked = len(site.received)
    lookups.look_up([base + "/200", base + "/gone"], now + 10)
    assert len(site.received) == asked
    lookups.look_up([base + "/200", base + "/gone"], now + 100)
    assert [request.path for request in site.received[asked:]] == ["/gone", "/gone"]


def test_a_private_address_is_not_asked_unless_allowed(newsroom: RunningNewsroom, site: HttpSink) -> None:
    lookups, url = LinkLookups(newsroom.runtime.store), _base(site) + "/gone"
    lookups.look_up([url], time.time())
    assert (lookups.find_dead([url]), site.received) == ({}, [])


@pytest.mark.parametrize("url", ["https://example.org/x", "https://news.example/", "mailto:a@b.kz", "https://[::1/"])
def test_names_for_examples_are_not_asked(lookups: LinkLookups, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setattr(links, "_try", lambda *args: pytest.fail("asked"))
    lookups.look_up([url], time.time())
    assert lookups.find_dead([url]) == {}


def test_a_name_that_does_not_exist_is_dead(lookups: LinkLookups, site: HttpSink) -> None:
    gone, here = "https://no-such-ministry.kz/", _base(site).replace("127.0.0.1", "localhost") + "/200"
    lookups.look_up([gone, here, "http://nowhere.invalid/"], time.time())
    assert lookups.find_dead([gone, here, "http://nowhere.invalid/"]).keys() == {gone, "http://nowhere.invalid/"}


def test_offline_no_name_is_dead(lookups: LinkLookups) -> None:
    """Without a network every name seems not to exist."""
    urls = ["https://no-such-ministry.kz/", "https://un.kz/"]
    lookups.look_up(urls, time.time())
    assert lookups.find_dead(urls) == {}


def test_a_name_server_in_trouble_makes_nothing_dead(
    lookups: LinkLookups, site: HttpSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    lookup = socket.getaddrinfo

    def busy(host: Any, *args: Any, **kwargs: Any) -> Any:
        if host == "busy.kz":
            raise socket.gaierror(socket.EAI_AGAIN, "try again")
        return lookup(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", busy)
    urls = ["https://busy.kz/", _base(site).replace("127.0.0.1", "localhost") + "/200"]
    lookups.look_up(urls, time.time())
    assert lookups.find_dead(urls) == {}


def test_slow_sites_hold_up_an_edition_for_seconds(
    newsroom: RunningNewsroom, site: HttpSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(links, "BUDGET", 0.2)
    lookups = LinkLookups(newsroom.runtime.store, allow_private=True)
    began = time.monotonic()
    lookups.look_up([f"{_base(site)}/slow?{n}" for n in range(5)], time.time())
    assert time.monotonic() - began < 10


@pytest.mark.parametrize(("action", "state"), [("hold", "held"), ("warn", "done"), ("off", "done")])
def test_an_edition_with_a_dead_link(newsroom: RunningNewsroom, site: HttpSink, action: str, state: str) -> None:
    _set(newsroom, f"{{links: {action}, allow_private: true}}")
    url = f"{_base(site)}/gone"
    newsroom.item("flood", body=f"Read [the report]({url}) and [this]({_base(site)}/200).")
    newsroom.tick(MONDAY)
    assert newsroom.editions() == [f"daily/1 {state}"]
    if action == "hold":
        assert f"the link {url} in the story flood is dead: HTTP 404; correct the link" in _holds(newsroom)[0]
        newsroom.item("flood", body="Read nothing.")
        newsroom.tick(MONDAY + HOUR)
        edition, schedule = newsroom.edition("daily/1"), newsroom.runtime.newsroom.schedules["daily"]
        assert newsroom.runtime.composer.recompose(edition, schedule, newsroom.now, "me").state.value == "sending"


# -- words left over -------------------------------------------------------------------------------------------------


def test_an_edition_with_words_left_over_is_held(newsroom: RunningNewsroom) -> None:
    _set(newsroom, "{}")
    newsroom.item("flood", summary="Lorem ipsum and [insert quote].")
    newsroom.tick(MONDAY)
    assert newsroom.editions() == ["daily/1 held"]
    assert any("the story flood (en) contains 'Lorem ipsum'" in detail for detail in _holds(newsroom))


def test_a_warning_is_shown_and_holds_nothing(
    newsroom: RunningNewsroom,
    run_in: Run,  # noqa: F811
) -> None:
    _set(newsroom, "{leftovers: warn}")
    newsroom.item("flood", "ru", summary="Итог: TODO")
    newsroom.item("flood", "en", summary="Result: [insert number]")
    preview = run_in(newsroom.folder.root, "preview", "daily", "--out", str(newsroom.folder.root / "p")).ok()
    assert "warning: digest (ru): the story flood (ru) contains 'TODO'" in preview.out
    newsroom.tick(MONDAY)
    assert newsroom.editions() == ["daily/1 done"]
    shown = run_in(newsroom.folder.root, "edition", "show", "daily/1").ok()
    assert "warning: digest (en): the story flood (en) contains '[insert number]'" in shown.out
    about = run_in(newsroom.folder.root, "edition", "show", "daily/1", "--json").ok().json
    assert len(about["warnings"]) == 1


def test_a_notice_is_in_the_first_language_of_the_newsroom(newsroom: RunningNewsroom) -> None:
    """Notices to `notify` were English for everybody."""
    text = (newsroom.folder.root / "tidings.yaml").read_text()
    newsroom.folder.write(
        "tidings.yaml", text.replace("languages: [en, ru, kk]\n  timezone", "languages: [ru, en, kk]\n  timezone")
    )
    _set(newsroom, "{}")
    newsroom.item("flood", summary="Result: TODO")
    newsroom.tick(MONDAY)
    assert any(
        "Выпуск daily/1 задержан" in notice and "Посмотреть: tidings preview daily/1" in notice
        for notice in newsroom.notices()
    )


def test_the_subject_of_a_schedule_is_looked_at_too(newsroom: RunningNewsroom) -> None:
    _set(newsroom, "{}")
    newsroom.schedule("daily", DAILY.replace("frequency: daily", 'frequency: daily, subject: "News of [date]"'))
    newsroom.item("flood")
    newsroom.tick(MONDAY)
    assert any("the subject contains '[date]'" in detail for detail in _holds(newsroom))


def test_a_post_is_looked_at_too(newsroom: RunningNewsroom) -> None:
    _set(newsroom, "{}")
    newsroom.schedule("posts", 'cadence: {daily: "09:00"}\ndeliver: [{channel: desk}]\n')
    newsroom.tick(MONDAY - 11 * HOUR)
    newsroom.item("flood", post="XXX people [link]")
    newsroom.tick(MONDAY)
    held = newsroom.edition("posts/1").holds
    assert any("desk (en): the post contains 'XXX'" in hold.detail for hold in held)


# -- spam ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("then", "state"), [("5", "held"), ("{score: 5, then: warn}", "done"), ("9", "done")])
def test_a_mail_that_looks_like_spam(
    newsroom: RunningNewsroom, monkeypatch: pytest.MonkeyPatch, then: str, state: str
) -> None:
    score = gates.SpamScore(7.5, (("FREE_MONEY", 4.5, "Free money"), ("SHOUTING", 3.0, "Subject in capitals")))
    monkeypatch.setattr(gates, "measure_spam", lambda message: score)
    _set(newsroom, f"{{spam: {then}}}")
    newsroom.item("flood")
    newsroom.tick(MONDAY)
    assert newsroom.editions() == [f"daily/1 {state}"]
    if state == "held":
        assert "7.5 points, and 5 are too many: FREE_MONEY (+4.5: Free money)" in _holds(newsroom)[0]


def test_without_spamassassin_nothing_is_held(newsroom: RunningNewsroom, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    _set(newsroom, "{spam: 5}")
    newsroom.item("flood")
    newsroom.tick(MONDAY)
    assert newsroom.editions() == ["daily/1 done"]


@pytest.mark.slow
def test_spamassassin_names_the_rules_that_cost_most() -> None:
    few = many(2)
    clean = message(document(few), Selection("en", few[0], tuple(few[1:])))
    gtube = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"
    head, _, body = clean.partition(b"\r\n\r\n")
    bad = head.replace(b"Subject: ", b"Subject: " + gtube.encode() + b" ") + b"\r\n\r\n" + body
    good, spam = measure_spam(clean), measure_spam(bad)
    assert good is not None
    assert spam is not None
    assert good.points < 3
    assert (spam.points > 900, spam.rules[0][0]) == (True, "GTUBE")
