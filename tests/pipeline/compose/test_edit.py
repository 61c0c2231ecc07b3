"""An editor changes a held edition: it is frozen and approved again, the change is recorded, and readers get it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.shapes import misfits
from tests.fixtures.newsroom import DAILY, DAY, HOUR, MONDAY, RunningNewsroom, open_newsroom
from tidings.model.edition import Edition
from tidings.model.errors import InputError, RefusedError
from tidings.pipeline.compose.edit import EditionChanges, describe_edition
from tidings.runtime.schemas import make_schemas

APPROVED = DAILY + "approval: {by: [boss@example.org], ahead: 3h}\n"


@pytest.fixture
def held(tmp_path: Path, database_url: str) -> Iterator[RunningNewsroom]:
    """`daily/1` with three stories for a reader of English and one of Russian waits for the boss."""
    with open_newsroom(tmp_path / "n", database_url, public=False) as newsroom:
        newsroom.schedule("daily", APPROVED)
        newsroom.reader("anna")
        newsroom.reader("ivan", language="ru")
        newsroom.tick(MONDAY - 12 * HOUR)
        for name in ("one", "two", "three"):
            newsroom.item(name)
            newsroom.item(name, "ru")
        newsroom.tick(MONDAY - 3 * HOUR)
        assert newsroom.editions() == ["daily/1 held"]
        yield newsroom


def edit(newsroom: RunningNewsroom, **changes: object) -> Edition:
    schedule = newsroom.runtime.newsroom.schedules["daily"]
    held, wanted = newsroom.edition("daily/1"), EditionChanges(**changes)  # type: ignore[arg-type]
    return newsroom.runtime.composer.edit(held, schedule, wanted, newsroom.now, "vera")


def test_a_waiting_edition_can_be_changed(held: RunningNewsroom) -> None:
    asked = len(held.mails("boss@example.org"))
    edition = edit(
        held,
        drop=("two",),
        lead="one",
        note={"": "Good <morning>.\n\nMore soon.", "ru": "Доброе утро."},
        subject={"en": "Read {{ this }} & that 🎉"},
    )
    assert (edition.state, [hold.reason for hold in edition.holds]) == ("held", ["approval"])
    assert set(edition.stories) == {"one", "three"}
    held.tick(MONDAY - 2 * HOUR)
    # The boss is asked again, and sees the new bytes.
    mails = held.mails("boss@example.org")[asked:]
    assert len(mails) == 3 and "two" not in "".join(mail.text for mail in mails)
    held.runtime.editions.release(held.edition("daily/1"), held.now, "boss")
    held.tick(MONDAY)
    (anna,), (ivan,) = held.mails("anna@example.org"), held.mails("ivan@example.org")
    assert held.read("anna@example.org") == [["one", "three"]]
    assert anna.message["Subject"] == "Read {{ this }} & that 🎉"
    assert "one (ru)" in ivan.message["Subject"]
    assert "Good <morning>." in anna.text and anna.text.index("More soon.") < anna.text.index("one (en)")
    assert "Доброе утро." in ivan.text and "Good" not in ivan.text
    with held.runtime.store.read() as connection:
        about = describe_edition(connection, edition, ("en", "ru"))
    about = json.loads(json.dumps(about, default=str))
    assert misfits(about, make_schemas()["edition show --json"]) == []
    (event,) = [event for event in about["history"] if event["what"].startswith("edited")]
    assert event["who"] == "vera" and "dropped two; lead one; note: Good <morning>." in event["what"]
    # A dropped story is new again.
    held.tick(MONDAY + DAY - 3 * HOUR)
    assert held.edition("daily/2").stories == ("two",)


def test_changes_add_up_and_can_be_taken_back(held: RunningNewsroom) -> None:
    edit(held, order=("three", "one"), subject={"ru": "Раз", "en": "One"}, note={"": "Hello"})
    edit(held, lead="two", subject={"ru": ""}, note={"": ""})
    # Composing again keeps the editor's decisions.
    schedule = held.runtime.newsroom.schedules["daily"]
    again = held.runtime.composer.recompose(held.edition("daily/1"), schedule, held.now, "vera")
    assert again.holds[0].reason == "approval"
    held.runtime.editions.release(again, held.now, "boss")
    held.tick(MONDAY)
    assert held.read("ivan@example.org") == [["two", "three", "one"]]
    (anna,), (ivan,) = held.mails("anna@example.org"), held.mails("ivan@example.org")
    assert anna.message["Subject"] == "One" and "two" in ivan.message["Subject"] and "Hello" not in ivan.text


def test_an_edited_edition_waits_until_somebody_has_checked_it(tmp_path: Path) -> None:
    with open_newsroom(tmp_path / "n", "sqlite:///tidings.db", public=False) as newsroom:
        newsroom.schedule("daily", DAILY)
        newsroom.reader("anna")
        newsroom.tick(MONDAY - 12 * HOUR)
        newsroom.item("good")
        newsroom.item("bad", images="[{src: https://example.org/a.png}]")
        newsroom.tick(MONDAY)
        edition = edit(newsroom, drop=("bad",))
        assert [hold.reason for hold in edition.holds] == ["edited"] and "vera" in edition.holds[0].detail
        newsroom.tick(MONDAY + HOUR)
        assert newsroom.read("anna@example.org") == []
        newsroom.runtime.editions.release(newsroom.edition("daily/1"), newsroom.now, "vera")
        newsroom.tick(MONDAY + 2 * HOUR)
        assert newsroom.read("anna@example.org") == [["good"]]
        with pytest.raises(RefusedError, match="must be held"):
            edit(newsroom, lead="good")


def test_a_wrong_change_changes_nothing(held: RunningNewsroom) -> None:
    before = held.edition("daily/1")
    wrong: list[tuple[dict[str, object], str]] = [
        ({}, "say what to change"),
        ({"drop": ("tow",)}, "Did you mean 'two'"),
        ({"lead": "two", "drop": ("two",)}, "cannot be dropped and"),
        ({"subject": {"xx": "A"}}, "not a language"),
        ({"subject": {"en": "A\nBcc: b@example.org"}}, "line break"),
        ({"drop": ("one", "two", "three")}, "would have no story"),
    ]
    for changes, message in wrong:
        with pytest.raises((RefusedError, InputError), match=message):
            edit(held, **changes)
    assert held.edition("daily/1") == before
