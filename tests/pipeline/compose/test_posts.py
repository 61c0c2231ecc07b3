"""Texts of posts: own words, hashtags, corrections, pictures, and limits for an hour."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from PIL import Image
from sqlalchemy import update

from tests.fixtures.mastodon import MastodonServer, open_mastodon_newsroom
from tests.fixtures.newsroom import DAY, HOUR, MONDAY, RunningNewsroom, open_newsroom
from tidings.channels.wording import hashtag_of_label
from tidings.pipeline.compose.posts import make_hashtags
from tidings.pipeline.deliver.thumbnails import Thumbnails
from tidings.store import schema as t
from tidings.store.content.items import load_items

ONE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
"""For rules that do not depend on the database."""

POSTS = 'cadence: {daily: "09:00"}\ndeliver: [{channel: team, per: item}]\n'


@pytest.fixture
def newsroom(tmp_path: Path) -> Iterator[RunningNewsroom]:
    with open_newsroom(
        tmp_path / "n", f"sqlite:///{tmp_path / 'tidings.db'}", {"daily": POSTS}, public=False
    ) as opened:
        yield opened


def said(newsroom: RunningNewsroom) -> list[str]:
    """Return the bodies that the sink got."""
    return [json.dumps(json.loads(request.body), ensure_ascii=False) for request in newsroom.folder.hook.received]


def test_the_editors_own_words_go_before_title_and_summary(newsroom: RunningNewsroom) -> None:
    newsroom.item("plain", summary="In short.")
    newsroom.item("own", post='{team: "For the team: look at this.", mastodon: no}')
    newsroom.item("all", post="Everybody: read it.")
    newsroom.tick(MONDAY)
    posts = {name: [one for one in said(newsroom) if name in one] for name in ("plain", "own", "all")}
    assert [len(found) for found in posts.values()] == [1, 1, 1]
    assert "For the team: look at this." in posts["own"][0]
    assert "Everybody: read it." in posts["all"][0] and "/en/all/" in posts["all"][0]
    newsroom.tick(MONDAY + DAY + HOUR)
    assert len(said(newsroom)) == 3


TOPICS = """\
topics:
  water: {label: {en: Clean water, ru: Чистая вода}, hashtag: {en: CleanWater, kk: "#ТазаСу"}}
  youth: {en: Youth and sport, ru: Молодёжь и спорт}
  health: {label: Health, hashtag: HealthForAll}
"""


@pytest.mark.parametrize(
    ("language", "tags"),
    [
        ("en", "#CleanWater #YouthAndSport #HealthForAll"),
        ("ru", "#ЧистаяВода #МолодёжьИСпорт #HealthForAll"),
        ("kk", "#ТазаСу #YouthAndSport #HealthForAll"),
    ],
)
def test_hashtags_are_in_the_language_of_the_post(newsroom: RunningNewsroom, language: str, tags: str) -> None:
    newsroom.configure("topics: {water: Water, youth: Youth, health: Health, climate: Climate}\n", TOPICS)
    newsroom.item("one", language, topics="[water, youth, health]")
    newsroom.tick(MONDAY - DAY)
    with newsroom.runtime.store.read() as connection:
        (item,) = load_items(connection)
    assert " ".join(make_hashtags(newsroom.runtime.newsroom, item, "team")) == tags


def test_hashtags_can_be_fixed_or_off(newsroom: RunningNewsroom) -> None:
    newsroom.item("one", topics="[water]")
    newsroom.tick(MONDAY - DAY)
    with newsroom.runtime.store.read() as connection:
        (item,) = load_items(connection)
    newsroom.configure("allow_private: true}", "allow_private: true, hashtags: none}")
    assert make_hashtags(newsroom.runtime.newsroom, item, "team") == ()
    newsroom.configure("hashtags: none", 'hashtags: ["#UN", Астана]')
    assert make_hashtags(newsroom.runtime.newsroom, item, "team") == ("#UN", "#Астана")


@pytest.mark.parametrize(
    ("label", "tag"),
    [
        ("Good health and well-being", "#GoodHealthAndWellBeing"),
        ("المياه النظيفة", "#المياه_النظيفة"),
        ("清洁饮水", "#清洁饮水"),
        ("2030", ""),
        ("!?", ""),
    ],
)
def test_a_label_becomes_a_hashtag_in_any_script(label: str, tag: str) -> None:
    assert hashtag_of_label(label) == tag


# -- published posts are corrected and deleted ------------------------------------------------------------------------


@pytest.fixture
def network() -> MastodonServer:
    return MastodonServer()


@pytest.fixture
def social(tmp_path: Path, database_url: str, network: MastodonServer) -> Iterator[RunningNewsroom]:
    """Open a newsroom that posts each story to Mastodon."""
    with open_mastodon_newsroom(tmp_path / "n", database_url, network) as newsroom:
        yield newsroom


def test_correction_edits_and_withdrawal_removes_a_post(social: RunningNewsroom, network: MastodonServer) -> None:
    social.item("one")
    social.item("two")
    social.tick(MONDAY)
    assert len(network.texts) == 2 and not any("Correction" in text for text in network.texts)
    social.item("one", correction="66 per cent, not 60.")
    for minute in range(3):
        social.tick(MONDAY + HOUR + timedelta(minutes=minute))
    [edited] = [text for text in network.texts if "/en/one/" in text]
    assert "Correction: 66 per cent, not 60." in edited and len(network.texts) == 2
    assert sum(call.startswith("PUT") for call in network.calls) == 1
    # A second correction is a second edit. A published post is never posted again.
    social.item("one", correction="66.5 per cent, not 60.")
    social.tick(MONDAY + 2 * HOUR)
    assert any("66.5 per cent" in text for text in network.texts)
    social.item("one", correction="66.5 per cent, not 60.", withdrawn="In error.")
    for minute in range(3):
        social.tick(MONDAY + 3 * HOUR + timedelta(minutes=minute))
    assert [text for text in network.texts if "/en/one/" in text] == [] and len(network.texts) == 1
    assert sum(call.startswith("DELETE") for call in network.calls) == 1
    states = {(entry.purpose.partition("-")[0], entry.state) for entry in social.entries_of("social")}
    assert states == {("story", "accepted"), ("correction", "accepted"), ("retraction", "accepted")}


def test_a_correction_before_the_post_makes_no_edit(social: RunningNewsroom, network: MastodonServer) -> None:
    social.item("one", correction="66 per cent, not 60.")
    social.tick(MONDAY)
    social.tick(MONDAY + HOUR)
    assert [call.partition(" ")[0] for call in network.calls] == ["POST"]


def test_an_edit_whose_answer_is_lost_is_made_again(social: RunningNewsroom, network: MastodonServer) -> None:
    social.item("one")
    social.tick(MONDAY)
    network.lose = 1
    social.item("one", correction="66 per cent, not 60.")
    social.tick(MONDAY + HOUR)
    social.tick(MONDAY + 2 * HOUR)
    assert [call.partition(" ")[0] for call in network.calls] == ["POST", "PUT", "PUT"]
    assert {entry.state for entry in social.entries_of("social")} == {"accepted"}


@pytest.mark.parametrize("way", ["reply", "leave"])
@ONE
def test_the_newsroom_says_what_happens_to_its_posts(
    social: RunningNewsroom, network: MastodonServer, way: str
) -> None:
    social.configure("type: mastodon,", f"type: mastodon, on_correction: {way}, on_withdrawal: leave,")
    social.item("one")
    social.tick(MONDAY)
    social.item("one", correction="66 per cent, not 60.")
    social.tick(MONDAY + HOUR)
    answers = [status for status in network.statuses.values() if status.get("in_reply_to_id") == "1"]
    assert len(answers) == (way == "reply") and all("66 per cent" in answer["status"] for answer in answers)
    assert ("correct it there by hand" in "".join(social.notices())) == (way == "leave")
    social.item("one", withdrawn="In error.")
    social.tick(MONDAY + 2 * HOUR)
    notices = [text for text in social.notices() if "delete it there by hand" in text]
    assert len(notices) == 1 and "https://social.example/@news/1" in notices[0]


def test_a_person_withdraws_where_the_channel_cannot(newsroom: RunningNewsroom) -> None:
    newsroom.item("one")
    newsroom.tick(MONDAY)
    newsroom.item("one", withdrawn="In error.")
    for minute in range(3):
        newsroom.tick(MONDAY + HOUR + timedelta(minutes=minute))
    assert len([text for text in newsroom.notices() if "still online" in text]) == 1
    assert len(said(newsroom)) == 1


@pytest.mark.slow
@pytest.mark.parametrize("taken", [True, False])
def test_old_doubt_is_settled_by_looking_at_the_account(
    social: RunningNewsroom, network: MastodonServer, taken: bool
) -> None:
    network.lose = 1
    social.item("one")
    social.tick(MONDAY)
    [entry] = social.entries_of("social")
    assert entry.state == "in_doubt"
    if not taken:
        network.statuses.clear()
        network.keys.clear()
    with social.runtime.store.write() as connection:
        connection.execute(update(t.deliveries).values(handed_at=datetime.now(UTC) - timedelta(hours=2)))
    social.tick(MONDAY + HOUR)
    [entry] = social.entries_of("social")
    assert (entry.state, entry.doubts) == ("accepted", 1) and entry.via.endswith("/1")
    assert len(network.texts) == 1
    assert sum(call.startswith("POST") for call in network.calls) == 1 + (not taken)


@ONE
def test_unsettled_doubt_waits_for_a_person(social: RunningNewsroom, network: MastodonServer) -> None:
    network.lose = 1
    social.item("one")
    social.tick(MONDAY)
    with social.runtime.store.write() as connection:
        connection.execute(update(t.deliveries).values(handed_at=datetime.now(UTC) - timedelta(hours=2)))
    for day in range(1, 12):
        network.lose = 2
        social.tick(MONDAY + day * DAY)
    [entry] = social.entries_of("social")
    assert (entry.state, entry.doubts) == ("in_doubt", 1) and len(network.texts) == 1
    assert sum(call.startswith("POST") for call in network.calls) == 1
    before = len(network.calls)
    social.tick(MONDAY + 20 * DAY)
    assert len(network.calls) == before


# -- pictures of cards ------------------------------------------------------------------------------------------------


def test_no_picture_is_decoded_in_this_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "media" / "abc").mkdir(parents=True)
    Image.new("P", (7_745, 7_745)).save(tmp_path / "media" / "abc" / "large.png")
    monkeypatch.setattr(Image, "open", None)
    made = Thumbnails(tmp_path, "https://news.example.org/")("https://news.example.org/media/abc/large.png", 150_000)
    assert made is not None
    assert made[:2] == b"\xff\xd8"


def test_a_picture_is_made_to_fit_and_the_same_each_time(tmp_path: Path) -> None:
    folder = tmp_path / "media" / "abc123"
    folder.mkdir(parents=True)
    Image.effect_noise((2400, 1600), 90).convert("RGBA").save(folder / "big photo.png")
    picture = Thumbnails(tmp_path, "https://news.example.org/")
    url = "https://news.example.org/media/abc123/big%20photo.png"
    made = picture(url, 150_000)
    assert made is not None and len(made) <= 150_000
    assert made == Thumbnails(tmp_path, "https://news.example.org/")(url, 150_000)
    with Image.open(io.BytesIO(made)) as shown:
        assert shown.format == "JPEG" and shown.width / shown.height == 1.5
    assert picture(url, 500) is None


def test_no_picture_is_read_from_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "media" / "abc").mkdir(parents=True)
    (tmp_path / "media" / "abc" / "broken.jpg").write_bytes(b"no picture")
    Image.new("RGB", (10, 10)).save(tmp_path / "secret.png")
    picture = Thumbnails(tmp_path, "https://news.example.org/")
    for path in (
        "media/abc/broken.jpg",
        "media/abc/none.jpg",
        "media/abc/..%2f..%2fsecret.png",
        "media/../secret.png",
        "",
    ):
        assert picture(f"https://news.example.org/{path}", 10**6) is None
    assert picture("https://elsewhere.example/media/abc/x.png", 10**6) is None


# -- posts are spread -------------------------------------------------------------------------------------------------


def test_posts_above_the_hourly_limit_wait_and_none_is_lost(social: RunningNewsroom, network: MastodonServer) -> None:
    social.configure("type: mastodon,", 'type: mastodon, max_per_hour: 2, quiet_hours: "11:00-13:00",')
    for number in range(5):
        social.item(f"s{number}")
    seen = []
    for minute in range(0, 60 * 6, 30):
        social.tick(MONDAY + timedelta(minutes=minute))
        seen.append(len(network.texts))
    # From 09:00 on, one each half hour; quiet from 11:00 to 13:00.
    assert seen == [2, 2, 4, 4, 4, 4, 4, 4, 5, 5, 5, 5]
    assert {entry.state for entry in social.entries_of("social")} == {"accepted"}
    assert {entry.attempts for entry in social.entries_of("social")} == {1}
