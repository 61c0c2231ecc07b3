"""The reviewer's page: GET shows the exact mail and changes nothing. A button decides; person and time are recorded."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from tests.fixtures.newsroom import DAILY, HOUR, MONDAY, RunningNewsroom, open_newsroom
from tests.fixtures.newsroom_folder import ReceivedMail
from tests.servers.judges import html_validate
from tests.web.server import served
from tidings.model.tokens import TokenPurpose
from tidings.store.content import editions
from tidings.web.app import newsroom_app

APPROVED = DAILY + "approval: {by: [boss@example.org, deputy@example.org], ahead: 3h%s}\n"
BEFORE = MONDAY - 2 * HOUR


@dataclass
class ReviewSite:
    newsroom: RunningNewsroom
    url: str

    def link(self, who: str = "boss") -> str:
        """Return the link in the newest mail to this reviewer, on the test's server."""
        texts = [mail.text for mail in self.newsroom.mails(f"{who}@example.org") if "/review/" in mail.text]
        match = re.search(r"https://news\.example\.org/(review/\S+)", texts[-1])
        assert match is not None
        return self.url + match[1]

    def press(self, what: str, who: str = "boss", page: str = "") -> httpx.Response:
        """Open the page and press its button as a browser would."""
        page = page or httpx.get(self.link(who)).text
        frozen = re.search(r'name="frozen" value="(\w+)"', page)
        assert frozen is not None
        return httpx.post(self.link(who), data={"frozen": frozen[1], "decision": what})

    def history(self, name: str = "daily/1") -> list[tuple[str, str]]:
        with self.newsroom.runtime.store.read() as connection:
            return [(what, who) for _, what, who in editions.get_history(connection, self.newsroom.edition(name).id)]


def _subject(mail: ReceivedMail) -> str:
    return str(mail.message["Subject"])


@pytest.fixture
def review_site(tmp_path: Path, database_url: str) -> Iterator[ReviewSite]:
    with (
        open_newsroom(tmp_path / "n", database_url, public=False) as newsroom,
        served(newsroom_app(newsroom.runtime)) as url,
    ):
        newsroom.schedule("daily", APPROVED % "")
        newsroom.reader("anna")
        newsroom.reader("boris", language="ru")
        newsroom.tick(MONDAY - 12 * HOUR)
        newsroom.item("one", title="A well & a road")
        newsroom.item("one", "ru", title="Колодец и дорога")
        newsroom.tick(BEFORE)
        yield ReviewSite(newsroom, url)


def test_each_reviewer_gets_one_mail_with_every_language(review_site: ReviewSite) -> None:
    review_site.newsroom.tick(BEFORE)
    for who in ("boss", "deputy"):
        mails = {_subject(mail): mail.text for mail in review_site.newsroom.mails(f"{who}@example.org")}
        assert len(review_site.newsroom.mails(f"{who}@example.org")) == 3
        copies = ("[en] A well & a road", "[ru] Колодец и дорога")
        assert set(mails) == {"For your approval: Daily 1", *(f"[For approval] {each}" for each in copies)}
        # They look like the real mails, but are marked, so that nobody mistakes them.
        question = mails["For your approval: Daily 1"]
        assert "It goes to 2 readers: English 1, Русский 1." in question
        assert "It is due on 2 March 2026, 09:00" in question
        assert "If nobody answers, it is not sent" in question
    assert review_site.link("boss") != review_site.link("deputy")
    assert review_site.newsroom.mails("anna@example.org") == []


def test_opening_the_link_and_its_frames_decides_nothing(review_site: ReviewSite) -> None:
    page = httpx.get(review_site.link())
    assert page.status_code == 200
    assert "A well &amp; a road" in page.text
    assert "Колодец и дорога" in page.text
    assert page.headers["cache-control"] == "no-store"
    frames = re.findall(r'<iframe[^>]* src="([^"]+)" sandbox', page.text)
    assert len(frames) == 4
    for frame in frames:
        shown = httpx.get(review_site.url + frame.lstrip("/"))
        assert shown.status_code == 200
        assert shown.headers["content-security-policy"].startswith("sandbox; default-src 'none'")
        assert "/unsubscribe/" in shown.text
    assert httpx.head(review_site.link()).status_code == 200
    assert httpx.get(review_site.link(), params={"decision": "release"}).status_code == 200
    assert review_site.newsroom.editions() == ["daily/1 held"]


def test_release_sends_the_same_bytes_and_records_who_decided(review_site: ReviewSite) -> None:
    after = review_site.press("release")
    assert after.status_code == 200
    assert "boss@example.org released it on" in after.text
    assert "<form" not in after.text
    assert review_site.history()[-1] == ("released", "boss@example.org")
    review_site.newsroom.tick(MONDAY - HOUR)
    assert review_site.newsroom.mails("anna@example.org") == []
    review_site.newsroom.tick(MONDAY)
    (mail,) = review_site.newsroom.mails("anna@example.org")
    marked = f"[For approval] [en] {_subject(mail)}"
    (shown,) = [mail for mail in review_site.newsroom.mails("boss@example.org") if _subject(mail) == marked]
    personal = re.compile(r"https://\S*/(?:unsubscribe|preferences)/\S+")
    assert personal.sub("", mail.text) == personal.sub("", shown.text)


def test_a_reviewer_may_comment(review_site: ReviewSite) -> None:
    newsroom = review_site.newsroom
    newsroom.reader("deputy", language="ru")
    newsroom.runtime.composer.recompose(
        newsroom.edition("daily/1"), newsroom.runtime.newsroom.schedules["daily"], newsroom.now, "vera"
    )
    newsroom.tick(BEFORE)
    # The deputy reads Russian; lists have their titles.
    assert any("На одобрение" in _subject(mail) for mail in newsroom.mails("deputy@example.org"))
    page = httpx.get(review_site.link("deputy")).text
    assert 'lang="ru"' in page and "Комментарий для редакции" in page and "· Digest</h2>" in page
    frozen = re.search(r'name="frozen" value="(\w+)"', page)
    assert frozen is not None
    fields = {"frozen": frozen[1], "decision": "comment", "comment": "The <second>\nstory is wrong."}
    shown = httpx.post(review_site.link("deputy"), data=fields).text
    assert "<strong>deputy@example.org</strong>: The &lt;second&gt; story is wrong." in shown
    assert newsroom.editions() == ["daily/1 held"]
    # The other reviewer sees it, and the team gets a notice.
    assert "story is wrong" in httpx.get(review_site.link()).text
    newsroom.tick(BEFORE)
    assert any("deputy@example.org about edition daily/1: The <second> story" in text for text in newsroom.notices())
    httpx.post(review_site.link(), data={**fields, "decision": "cancel", "comment": ""})
    assert [what for what, _ in review_site.history()][-2:] == ["comment: The <second> story is wrong.", "cancelled"]


def test_a_reviewer_sends_the_edition_back_from_the_mail(review_site: ReviewSite) -> None:
    page = httpx.get(review_site.link()).text
    frozen = re.search(r'name="frozen" value="(\w+)"', page)
    assert frozen is not None and 'value="send_back"' in page
    fields = {"frozen": frozen[1], "decision": "send_back"}
    assert httpx.post(review_site.link(), data=fields).status_code == 422
    shown = httpx.post(review_site.link(), data={**fields, "comment": "Shorter, please."}).text
    assert "It cannot go yet: boss@example.org sent it back: Shorter, please." in shown
    assert 'value="release"' not in shown
    assert review_site.newsroom.editions() == ["daily/1 held"]


def test_cancel_drops_the_edition_and_the_page_says_who_did(review_site: ReviewSite) -> None:
    page = httpx.get(review_site.link("deputy")).text
    review_site.press("cancel")
    late = review_site.press("release", "deputy", page)
    assert late.status_code == 200
    assert "boss@example.org cancelled it on" in late.text
    assert review_site.history()[-1] == ("cancelled", "boss@example.org")
    review_site.newsroom.tick(MONDAY)
    assert review_site.newsroom.mails("anna@example.org") == []


def test_two_people_must_approve_where_two_are_needed(review_site: ReviewSite) -> None:
    newsroom = review_site.newsroom
    needed = "approval: {by: [boss@example.org, deputy@example.org, chief@example.org], ahead: 3h, needed: 2}\n"
    newsroom.schedule("daily", DAILY + needed)
    schedule = newsroom.runtime.newsroom.schedules["daily"]
    newsroom.runtime.composer.recompose(newsroom.edition("daily/1"), schedule, newsroom.runtime.now(), "me")
    newsroom.tick(BEFORE + timedelta(minutes=1))
    assert "Approvals needed: 2. So far: nobody." in newsroom.mails("chief@example.org")[0].text
    page = review_site.press("release", "boss").text
    assert "Approvals needed: 2. So far: boss@example.org." in page
    assert 'value="release"' not in page and 'value="cancel"' in page
    assert newsroom.editions() == ["daily/1 held"]
    assert "1 of 2 approved it; waits for deputy@example.org, chief@example.org" in str(
        newsroom.edition("daily/1").holds
    )
    # The same person again, with the page as it was before: it still counts once.
    review_site.press("release", "boss", page)
    assert newsroom.editions() == ["daily/1 held"]
    newsroom.tick(MONDAY - timedelta(minutes=1))
    assert newsroom.mails("anna@example.org") == []
    assert "deputy@example.org released it" in review_site.press("release", "deputy").text
    assert [who for what, who in review_site.history() if what.startswith(("approved", "released"))] == [
        "boss@example.org",
        "deputy@example.org",
    ]
    newsroom.tick(MONDAY)
    assert len(newsroom.mails("anna@example.org")) == 1


def test_an_approval_is_of_the_bytes_that_were_shown(review_site: ReviewSite) -> None:
    newsroom = review_site.newsroom
    needed = "approval: {by: [boss@example.org, deputy@example.org], ahead: 3h, needed: 2}\n"
    newsroom.schedule("daily", DAILY + needed)
    review_site.press("release", "boss")
    newsroom.item("one", title="A well & a wide road")
    newsroom.tick(BEFORE + timedelta(minutes=1))
    schedule = newsroom.runtime.newsroom.schedules["daily"]
    newsroom.runtime.composer.recompose(newsroom.edition("daily/1"), schedule, newsroom.runtime.now(), "me")
    newsroom.tick(BEFORE + timedelta(minutes=2))
    review_site.press("release", "deputy")
    assert newsroom.editions() == ["daily/1 held"]
    review_site.press("release", "boss")
    assert newsroom.editions() == ["daily/1 sending"]


def test_a_rebuilt_edition_needs_a_new_decision(review_site: ReviewSite) -> None:
    page = httpx.get(review_site.link()).text
    review_site.newsroom.item("two")
    review_site.newsroom.tick(BEFORE + timedelta(minutes=1))
    schedule = review_site.newsroom.runtime.newsroom.schedules["daily"]
    review_site.newsroom.runtime.composer.recompose(
        review_site.newsroom.edition("daily/1"), schedule, review_site.newsroom.now, "me"
    )
    review_site.newsroom.tick(BEFORE + timedelta(minutes=2))
    assert len([mail for mail in review_site.newsroom.mails("boss@example.org") if "/review/" in mail.text]) == 2
    stale = review_site.press("release", page=page)
    assert stale.status_code == 409
    assert "has changed in the meantime" in stale.text
    assert review_site.newsroom.editions() == ["daily/1 held"]
    assert review_site.press("release").status_code == 200
    assert review_site.newsroom.editions() == ["daily/1 sending"]


def test_an_edition_with_a_failing_gate_cannot_be_released(review_site: ReviewSite) -> None:
    review_site.newsroom.item("one", title="A well & a road", withdrawn="Published in error.")
    review_site.newsroom.tick(BEFORE + timedelta(minutes=1))
    page = httpx.get(review_site.link()).text
    assert 'value="release"' not in page
    assert "It cannot go yet" in page
    assert review_site.press("release").status_code == 409
    assert review_site.newsroom.editions() == ["daily/1 held"]


def test_a_link_of_another_kind_or_of_a_former_reviewer_is_a_404(review_site: ReviewSite) -> None:
    keys, link = review_site.newsroom.runtime.keys, review_site.link("deputy")
    wrong = keys.sign(TokenPurpose.UNSUBSCRIBE, 1, "digest")
    odd = [keys.sign(TokenPurpose.REVIEW, number, "0" * 16) for number in (1, 99, 2**63)]
    for token in (wrong, *odd, "x"):
        assert httpx.get(f"{review_site.url}review/{token}").status_code == 404
        assert httpx.post(f"{review_site.url}review/{token}", data={"decision": "release"}).status_code == 404
    review_site.newsroom.schedule("daily", (APPROVED % "").replace(", deputy@example.org", ""))
    assert httpx.get(link).status_code == 404
    assert httpx.post(link, data={"decision": "release"}).status_code == 404
    assert httpx.post(review_site.link(), data={"decision": "dance"}).status_code == 400
    assert httpx.post(review_site.link(), content=b"x" * 5_000).status_code == 413
    assert review_site.newsroom.editions() == ["daily/1 held"]


def test_the_page_says_what_happens_on_silence(review_site: ReviewSite) -> None:
    review_site.press("cancel")
    review_site.newsroom.schedule("daily", APPROVED % ", silence: send")
    review_site.newsroom.tick(MONDAY + 22 * HOUR)
    assert any(
        "it is sent automatically on 3 March 2026, 09:00" in mail.text
        for mail in review_site.newsroom.mails("boss@example.org")
    )
    review_site.newsroom.tick(MONDAY + 24 * HOUR)
    assert "Nobody answered, so it was released automatically" in httpx.get(review_site.link()).text
    assert len(review_site.newsroom.mails("anna@example.org")) == 1


@pytest.mark.slow
def test_the_page_is_valid_html(review_site: ReviewSite, tmp_path: Path) -> None:
    file = tmp_path / "review.html"
    file.write_bytes(httpx.get(review_site.link()).content)
    assert html_validate(file, extends=("recommended",)) == []
