"""A story in several languages on one channel: once, as a thread, or once all translations exist."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from tests.fixtures.mastodon import MastodonServer, open_mastodon_newsroom
from tests.fixtures.newsroom import DAY, HOUR, MONDAY, RunningNewsroom, open_newsroom
from tidings.model.errors import RefusedError
from tidings.pipeline.deliver.recovery import resolve_in_doubt
from tidings.runtime.check import check_newsroom
from tidings.runtime.preview.plan import plan

ONE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
"""For rules that do not depend on the database."""
THREAD = "languages: [kk, ru, en], translations: thread"


@pytest.fixture
def network() -> MastodonServer:
    return MastodonServer()


@pytest.fixture
def threads(tmp_path: Path, database_url: str, network: MastodonServer) -> Iterator[RunningNewsroom]:
    """Open a newsroom that posts each story as a thread."""
    with open_mastodon_newsroom(tmp_path / "n", database_url, network, more=THREAD) as newsroom:
        yield newsroom


def told(newsroom: RunningNewsroom, name: str, *languages: str, **fields: str) -> None:
    """Write a story in these languages."""
    for language in languages:
        newsroom.item(name, language, **fields)


def states(newsroom: RunningNewsroom) -> list[tuple[str, str]]:
    return [(str(entry.state), entry.reason) for entry in newsroom.entries_of("social")]


# -- once, or as a thread ---------------------------------------------------------------------------------------------


@ONE
def test_story_goes_in_its_first_available_language(tmp_path: Path, database_url: str, network: MastodonServer) -> None:
    with open_mastodon_newsroom(tmp_path / "n", database_url, network, more="languages: [kk, ru]") as newsroom:
        told(newsroom, "both", "ru", "kk", "en")
        told(newsroom, "late", "ru")
        told(newsroom, "none", "en")
        newsroom.tick(MONDAY)
        assert sorted((status["language"], status["status"][:4]) for status in network.statuses.values()) == [
            ("kk", "both"),
            ("ru", "late"),
        ]
        told(newsroom, "late", "kk")
        newsroom.item("late", "ru", correction="66, not 60.")
        newsroom.tick(MONDAY + DAY)
    # It is not sent again. The correction reaches the post in the language of the post.
    assert len(network.statuses) == 2
    assert any("66, not 60." in text for text in network.texts)


def test_translations_reply_to_the_first_post(threads: RunningNewsroom, network: MastodonServer) -> None:
    told(threads, "one", "en", "ru", "kk")
    told(threads, "two", "en", "ru")
    for minute in range(3):
        threads.tick(MONDAY + timedelta(minutes=minute))
    assert sorted(network.threads.values()) == [["kk", "ru", "en"], ["ru", "en"]]
    for first, languages in network.threads.items():
        story = "one" if len(languages) == 3 else "two"
        answers = [status for status in network.statuses.values() if status.get("in_reply_to_id") == first]
        assert all(f"/{one['language']}/{story}/" in one["status"] for one in [network.statuses[first], *answers])
    assert states(threads) == [("accepted", "")] * 5
    assert threads.editions() == ["daily/1 done"]
    told(threads, "two", "kk")
    threads.tick(MONDAY + DAY)
    assert len(network.statuses) == 5


def test_corrections_reach_every_part_of_a_thread(threads: RunningNewsroom, network: MastodonServer) -> None:
    told(threads, "one", "en", "ru", "kk")
    threads.tick(MONDAY)
    for language in ("en", "ru", "kk"):
        threads.item("one", language, correction=f"66 ({language}).")
    threads.tick(MONDAY + HOUR)
    assert sorted(
        one["language"] for one in network.statuses.values() if f"66 ({one['language']})" in one["status"]
    ) == [
        "en",
        "kk",
        "ru",
    ]
    assert network.threads == {"1": ["kk", "ru", "en"]}
    threads.item("one", "ru", correction="66 (ru).", withdrawn="In error.")
    threads.tick(MONDAY + 2 * HOUR)
    assert network.threads == {"1": ["kk", "en"]}
    told(threads, "one", "en", "kk", withdrawn="In error.")
    threads.tick(MONDAY + 3 * HOUR)
    assert network.statuses == {}
    assert {state for state, _ in states(threads)} == {"accepted"} and len(states(threads)) == 9


@ONE
def test_an_edition_in_several_languages_is_a_thread_of_editions(
    threads: RunningNewsroom, network: MastodonServer
) -> None:
    threads.schedule("daily", 'cadence: {daily: "09:00"}\ndeliver: [{channel: social}]\n')
    told(threads, "one", "en", "ru", "kk")
    told(threads, "two", "ru", "en")
    threads.tick(MONDAY)
    assert network.threads == {"1": ["kk", "ru", "en"]}
    shown = [{name for name in ("one", "two") if f"/{name}/" in text} for text in network.texts]
    # The stories that the first post already shows in another language are not repeated.
    assert shown == [{"one", "two"}, {"one"}, {"one", "two"}]


def test_a_reply_waits_until_the_first_post_is_published(threads: RunningNewsroom, network: MastodonServer) -> None:
    network.lose = 1
    told(threads, "one", "en", "ru", "kk")
    threads.tick(MONDAY)
    assert network.threads == {"1": ["kk"]}
    assert states(threads)[1:] == [("deferred", "waits for the post that it answers")] * 2
    assert states(threads)[0][0] == "in_doubt"
    threads.tick(MONDAY + HOUR)
    assert network.threads == {"1": ["kk", "ru", "en"]}
    assert states(threads) == [("accepted", "")] * 3


@ONE
def test_a_refused_first_post_has_no_replies(threads: RunningNewsroom, network: MastodonServer) -> None:
    network.refuse = 1
    told(threads, "one", "en", "ru", "kk")
    threads.tick(MONDAY)
    assert [state for state, _ in states(threads)] == ["rejected", "skipped", "skipped"]
    assert {reason for _, reason in states(threads)[1:]} == {"unanswerable"} and network.statuses == {}
    assert threads.editions() == ["daily/1 done"]


@pytest.mark.parametrize("expected", [True, False])
def test_thread_continues_after_the_first_post_is_found(
    threads: RunningNewsroom, network: MastodonServer, expected: bool
) -> None:
    network.lose = 1
    told(threads, "one", "en", "ru")
    threads.tick(MONDAY)
    first = threads.entries_of("social")[0].id
    server = str(threads.runtime.newsroom.channels["social"].server)  # type: ignore[attr-defined]
    settled = partial(resolve_in_doubt, threads.runtime.store, threads.runtime.channels, first, "accepted", threads.now)
    with pytest.raises(
        RefusedError, match=f"the address of the post is missing: tidings resolve {first} --accepted URL"
    ):
        settled()
    with pytest.raises(RefusedError, match=r"https://elsewhere.example/1 is not a post of channel 'social'"):
        settled(url="https://elsewhere.example/1")
    assert states(threads)[0][0] == "in_doubt"
    if expected:
        settled(url=f"{server}@news/1")
        threads.tick(MONDAY + HOUR)
        assert network.threads == {"1": ["ru", "en"]}
    else:
        settled(alone=True)
        threads.tick(MONDAY + HOUR)
        assert network.threads == {"1": ["ru"]}
        assert [state for state, _ in states(threads)] == ["accepted", "skipped"]


@ONE
def test_a_pause_in_the_middle_of_a_thread_loses_nothing(threads: RunningNewsroom, network: MastodonServer) -> None:
    threads.configure("type: mastodon,", "type: mastodon, max_per_hour: 1,")
    told(threads, "one", "en", "ru", "kk")
    threads.tick(MONDAY)
    assert network.threads == {"1": ["kk"]}
    told(threads, "two", "en", "kk")
    for hour in range(1, 40):
        threads.tick(MONDAY + hour * HOUR)
    assert sorted(network.threads.values()) == [["kk", "en"], ["kk", "ru", "en"]]


@pytest.mark.slow
def test_kill_9_anywhere_in_a_thread_neither_doubles_nor_loses(
    threads: RunningNewsroom, network: MastodonServer
) -> None:
    command = [
        sys.executable,
        "-m",
        "tests.pipeline.deliver.thread_child",
        str(threads.folder.root),
        json.dumps(threads.folder.env),
    ]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdin is not None and child.stdout is not None
        for kills in range(100):
            told(threads, f"s{kills}", "en", "ru", "kk")
            day = MONDAY + kills * DAY
            ended = []
            for at, nth in ((day, 3 * kills + 1 + kills % 3), (day + HOUR, 0)):
                child.stdin.write(f"{at.isoformat()} {nth}\n")
                child.stdin.flush()
                ended.append(child.stdout.readline().strip())
            assert ended[1] == "0"
            if ended[0] == "0":
                break
        child.stdin.close()
    assert kills > 6
    assert [(thread[0], sorted(thread[1:])) for thread in network.threads.values()] == [("kk", ["en", "ru"])] * (
        kills + 1
    )
    assert {state for state, _ in states(threads)} == {"accepted"}


# -- waiting for translations -----------------------------------------------------------------------------------------


@pytest.fixture
def patient(tmp_path: Path, database_url: str, network: MastodonServer) -> Iterator[RunningNewsroom]:
    """Open a newsroom whose channel waits for two days."""
    more = "languages: [kk, en], translations: thread, wait_for_translations: 48h"
    with open_mastodon_newsroom(tmp_path / "n", database_url, network, more=more) as newsroom:
        yield newsroom


def test_a_story_visibly_waits_for_its_translation(patient: RunningNewsroom, network: MastodonServer) -> None:
    told(patient, "one", "en")
    told(patient, "two", "en", "kk")
    patient.tick(MONDAY - HOUR / 2)
    [slot] = plan(patient.runtime, patient.now, 1)[0].slots
    assert slot.outlets[0].skipped == {"untranslated: waits for its translation in kk": 1}
    assert slot.outlets[0].recipients == {"kk": 1, "en": 1}
    patient.tick(MONDAY)
    assert network.threads == {"1": ["kk", "en"]}
    assert ("skipped", "untranslated: waits for its translation in kk") in states(patient)
    patient.tick(MONDAY + DAY)
    assert patient.slots("daily")[-1][1] == "nothing new; one waits for its translation in kk (channel social)"
    told(patient, "one", "kk")
    patient.tick(MONDAY + DAY + HOUR)
    patient.tick(MONDAY + 2 * DAY)
    assert network.threads == {"1": ["kk", "en"], "3": ["kk", "en"]}
    patient.tick(MONDAY + 3 * DAY)
    assert len(network.statuses) == 4


@ONE
def test_waiting_for_translations_ends(patient: RunningNewsroom, network: MastodonServer) -> None:
    told(patient, "one", "en")
    for day in range(2):
        patient.tick(MONDAY + day * DAY)
    assert network.statuses == {}
    patient.tick(MONDAY + 2 * DAY)
    assert network.threads == {"1": ["en"]}
    told(patient, "one", "kk")
    patient.tick(MONDAY + 3 * DAY)
    assert len(network.statuses) == 1


@pytest.mark.slow
@ONE
@pytest.mark.parametrize("translated", [True, False])
def test_on_new_waits_for_translations_up_to_a_limit(
    patient: RunningNewsroom, network: MastodonServer, translated: bool
) -> None:
    patient.schedule("daily", "cadence: {on: new, settle: 10m}\ndeliver: [{channel: social, per: item}]\n")
    patient.tick(MONDAY - HOUR / 2)
    told(patient, "one", "en")
    patient.tick(MONDAY)
    patient.tick(MONDAY + HOUR)
    assert network.statuses == {}
    moment = MONDAY + (2 * HOUR if translated else 2 * DAY)
    if translated:
        told(patient, "one", "kk")
    patient.tick(moment)
    patient.tick(moment + HOUR)
    assert list(network.threads.values()) == [["kk", "en"] if translated else ["en"]]
    patient.tick(moment + 2 * HOUR)
    patient.tick(moment + 3 * DAY)
    assert len(network.statuses) == 1 + translated


@ONE
def test_a_story_that_a_person_sends_does_not_wait(patient: RunningNewsroom, network: MastodonServer) -> None:
    told(patient, "one", "en")
    patient.tick(MONDAY - HOUR / 2)
    schedule = patient.runtime.newsroom.schedules["daily"]
    patient.runtime.composer.compose(schedule, patient.now, stories=["one"])
    patient.runtime.deliver()
    assert network.threads == {"1": ["en"]}


# -- the check --------------------------------------------------------------------------------------------------------


def test_check_refuses_impossible_threads(tmp_path: Path) -> None:
    with open_newsroom(tmp_path / "n", "sqlite:///tidings.db", public=False) as newsroom:
        root = newsroom.folder.root
        text = (root / "tidings.yaml").read_text(encoding="utf-8")

        def problems(settings: str) -> list[str]:
            changed = text.replace("team: {type: slack,", f"team: {{type: slack, {settings},")
            (root / "tidings.yaml").write_text(changed, encoding="utf-8")
            line = next(n for n, line in enumerate(changed.splitlines(), 1) if "type: slack" in line)
            messages = [
                str(problem)
                for problem in check_newsroom(root)
                if problem.level == "error" and "team" in problem.message
            ]
            assert all(one.startswith(f"tidings.yaml:{line}:") for one in messages)
            return messages

        [cannot] = problems("languages: [kk, en], translations: thread")
        assert "slack cannot do `translations: thread`" in cannot and "translations: first" in cannot
        [alone] = problems("languages: [kk], wait_for_translations: 48h")
        assert "has one language" in alone
        assert problems("languages: [kk, en], wait_for_translations: 48h") == []
