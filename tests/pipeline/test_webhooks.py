"""Event webhooks: each event is sent once, signed, through the ledger, and nothing waits for a receiver."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from tests.fixtures.newsroom import DAILY, HOUR, MONDAY, RunningNewsroom, open_newsroom
from tests.fixtures.newsroom_folder import SECRET, MailServer
from tidings.channels.http import HttpChannel
from tidings.config.adapters import EventWebhookSettings
from tidings.model.delivery import EventType
from tidings.model.errors import RefusedError
from tidings.pipeline import webhooks
from tidings.pipeline.deliver.senders import channel_key
from tidings.pipeline.track.complaints_and_unsubscribes import record_provider_unsubscribe
from tidings.pipeline.track.events import FeedbackEvent
from tidings.runtime.people_files.importer import ImportOptions, import_people
from tidings.store.delivery import senders
from tidings.store.people import consent, feedback, subscribers
from tidings.store.people.feedback import Recipient
from tidings.store.service.events import delete_old_events, record_event, unqueued_events
from tidings.testing.http_sink import HttpSink, Step

NAME = "webhook:crm"


@contextmanager
def _newsroom(root: Path, url: str, sink: HttpSink, events: str = "") -> Iterator[RunningNewsroom]:
    with open_newsroom(root, url, {"daily": DAILY}, public=False) as newsroom:
        newsroom.folder.env |= {"CRM_URL": sink.url, "CRM_SECRET": SECRET}
        only = f", events: [{events}]" if events else ""
        text = f"webhooks: {{crm: {{url: {{env: CRM_URL}}, secret: {{env: CRM_SECRET}}, allow_private: true{only}}}}}\n"
        path = newsroom.folder.root / "tidings.yaml"
        path.write_text(path.read_text(encoding="utf-8") + text, encoding="utf-8")
        newsroom.reload()
        newsroom.tick()
        yield newsroom


def _told(sink: HttpSink) -> list[tuple[str, str]]:
    """Return the type of each event, and its subject."""
    events = []
    for received in sink.received:
        event = json.loads(received.body)
        data = event["data"]
        events.append((event["type"], str(data.get("edition") or data.get("story") or data.get("subscriber"))))
    return events


def _later(newsroom: RunningNewsroom, minutes: int) -> datetime:
    return newsroom.now + timedelta(minutes=minutes)


def test_events_of_a_week_are_sent_in_order_once_and_signed(tmp_path: Path, database_url: str) -> None:
    with HttpSink() as sink, _newsroom(tmp_path / "n", database_url, sink) as newsroom:
        newsroom.reader("anna")
        newsroom.item("one")
        newsroom.tick(MONDAY - HOUR)
        assert _told(sink) == [("subscriber.joined", "1"), ("story.out", "one")]
        newsroom.tick(MONDAY)
        newsroom.tick(MONDAY + HOUR)
        assert _told(sink)[2:] == [("edition.composed", "daily/1"), ("edition.sent", "daily/1")]
        with newsroom.runtime.store.write() as connection:
            subscribers.unsubscribe(connection, 1, "digest", source="test", now=newsroom.now)
            recipient = Recipient("0" * 64, "digest", 1, 5)
            for _ in range(2):
                feedback.record(
                    connection, "k", recipient, "hard", code="5.1.1", text="a@b", via="test", now=newsroom.now
                )
        newsroom.tick(MONDAY + 2 * HOUR)
        newsroom.tick(MONDAY + 2 * HOUR)
        assert _told(sink)[4:] == [("subscriber.left", "1"), ("feedback.received", "1")]
        ids = [received.headers["webhook-id"] for received in sink.received]
        assert len(set(ids)) == len(ids) and all(uid.startswith("evt_") for uid in ids)
        for received in sink.received:
            Webhook(SECRET).verify(received.body, received.headers)
            assert b"@" not in received.body, "no address leaves with an event"
        with pytest.raises(WebhookVerificationError):
            Webhook(SECRET).verify(sink.received[0].body + b" ", sink.received[0].headers)
        rows = newsroom.entries_of(NAME)
        assert [row.story for row in rows] == ids and {row.state for row in rows} == {"accepted"}
        assert {(row.target, row.purpose) for row in rows} == {(NAME, "event")}


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_receiver_that_is_down_delays_and_loses_nothing(tmp_path: Path, database_url: str) -> None:
    with HttpSink([Step(503), Step()]) as sink, _newsroom(tmp_path / "n", database_url, sink, "story.out") as newsroom:
        address = newsroom.folder.env["CRM_URL"]
        newsroom.folder.env["CRM_URL"] = "http://127.0.0.1:9/nothing-listens"
        newsroom.reload()
        newsroom.reader("anna")
        newsroom.item("one")
        newsroom.tick(MONDAY)
        assert [row.state for row in newsroom.entries_of(NAME)] == ["pending"], "it costs no attempt"
        assert newsroom.editions() == ["daily/1 done"] and len(newsroom.mails("anna@example.org")) == 1
        with newsroom.runtime.store.read() as connection:
            assert senders.load_healths(connection, None)[channel_key(NAME)].reason
        newsroom.folder.env["CRM_URL"] = address
        newsroom.reload()
        newsroom.tick(_later(newsroom, 1))
        assert [(row.state, row.reason) for row in newsroom.entries_of(NAME)] == [("in_doubt", "HTTP 503")]
        newsroom.tick(_later(newsroom, 5))
        assert [row.state for row in newsroom.entries_of(NAME)] == ["accepted"]
        first, second = sink.received
        assert first.body == second.body and first.headers["webhook-id"] == second.headers["webhook-id"]
        assert _told(sink)[-1] == ("story.out", "one")


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_refused_mail_and_a_held_edition_send_events(
    tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = "edition.held, delivery.rejected"
    with HttpSink() as sink, _newsroom(tmp_path / "n", database_url, sink, events) as newsroom:
        newsroom.schedule("daily", DAILY + "approval: {by: [boss@example.org], ahead: 0h}\n")
        newsroom.reader("anna")
        newsroom.reader("nobody")
        keep = MailServer.handle_DATA

        async def refuse(mails: MailServer, server: Any, session: Any, envelope: Any) -> str:
            if envelope.rcpt_tos == ["nobody@example.org"]:
                return "550 5.1.1 nobody@example.org is unknown"
            return await keep(mails, server, session, envelope)

        monkeypatch.setattr(MailServer, "handle_DATA", refuse)
        newsroom.item("one")
        newsroom.tick(MONDAY)
        newsroom.tick(_later(newsroom, 1))
        assert _told(sink) == [("edition.held", "daily/1")]
        newsroom.runtime.editions.release(newsroom.edition("daily/1"), newsroom.now, "boss")
        newsroom.tick(_later(newsroom, 2))
        newsroom.tick(_later(newsroom, 3))
        event = json.loads(sink.received[-1].body)
        assert (event["type"], event["data"]["subscriber"]) == ("delivery.rejected", 2)
        assert "5.1.1 [address] is unknown" in event["data"]["reason"]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_mail_goes_while_a_receiver_hangs(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The deliverer of mail never calls a webhook: only `deliver_events` does."""
    with HttpSink() as sink, _newsroom(tmp_path / "n", database_url, sink) as newsroom:
        newsroom.reader("anna")
        newsroom.item("one")
        newsroom.tick(MONDAY, deliver=False)
        webhooks.queue_events(newsroom.runtime.store, newsroom.runtime.newsroom.webhooks, MONDAY)

        def fail(*_: object, **__: object) -> None:
            raise AssertionError("the deliverer of mail called a webhook")

        with monkeypatch.context() as patch:
            patch.setattr(HttpChannel, "request", fail)
            newsroom.runtime.deliver()
        assert len(newsroom.mails("anna@example.org")) == 1 and not sink.received
        newsroom.runtime.deliver_events()
        assert ("edition.composed", "daily/1") in _told(sink)


def test_an_import_sends_one_event_for_each_join_and_leave(tmp_path: Path, database_url: str) -> None:
    with HttpSink() as sink, _newsroom(tmp_path / "n", database_url, sink) as newsroom:
        newsroom.reader("anna")
        newsroom.reader("boris")
        store, settings = newsroom.runtime.store, newsroom.runtime.newsroom
        with store.write() as connection:
            subscribers.add(connection, "waits@example.org", "digest", language="en", frequency="", now=newsroom.now)
            people = {
                name: subscribers.find_id(connection, f"{name}@example.org") for name in ("anna", "boris", "waits")
            }
        path = tmp_path / "people.csv"
        path.write_text(
            "email,state,confirmed_at,left_at\nanna@example.org,confirmed,,\n"
            "boris@example.org,unsubscribed,,\nwaits@example.org,confirmed,,\n"
            "new@example.org,confirmed,,\nlater@example.org,pending,,\naway@example.org,unsubscribed,,\n",
            encoding="utf-8",
        )
        for dry_run in (True, False, False):
            options = ImportOptions("digest", True, "the fair", dry_run=dry_run)
            import_people(store, settings, path, options, now=newsroom.now)
        with store.read() as connection:
            people["new"] = subscribers.find_id(connection, "new@example.org")
        newsroom.tick(_later(newsroom, 1))
        joined = [("subscriber.joined", str(people[name])) for name in ("anna", "boris", "waits", "new")]
        assert _told(sink) == [*joined, ("subscriber.left", str(people["boris"]))]
        data = json.loads(sink.received[3].body)["data"]
        assert data == {"subscriber": people["new"], "list": "digest", "language": "en"}


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_an_import_records_only_events_with_a_receiver(tmp_path: Path, database_url: str) -> None:
    with HttpSink() as sink, _newsroom(tmp_path / "n", database_url, sink, "story.out") as newsroom:
        path = tmp_path / "people.csv"
        path.write_text("email\nnew@example.org\n", encoding="utf-8")
        store, settings = newsroom.runtime.store, newsroom.runtime.newsroom
        import_people(store, settings, path, ImportOptions("digest", True, "the fair"), now=newsroom.now)
        with store.read() as connection:
            assert unqueued_events(connection) == []


def test_erasing_or_leaving_every_list_sends_events(tmp_path: Path, database_url: str) -> None:
    with HttpSink() as sink, _newsroom(tmp_path / "n", database_url, sink, "subscriber.left") as newsroom:
        for name in ("anna", "boris"):
            newsroom.reader(name)
            newsroom.reader(name, "press")
        with newsroom.runtime.store.write() as connection:
            anna, boris = (subscribers.find_id(connection, f"{name}@example.org") for name in ("anna", "boris"))
            assert anna is not None and boris is not None
            subscribers.unsubscribe(connection, anna, "press", source="test", now=newsroom.now)
            subscribers.erase(connection, anna, now=newsroom.now)
            # A provider's own list of people who left does not say which list they left.
            everywhere = Recipient(consent.address_hash("boris@example.org"), "", boris)
            event = FeedbackEvent(everywhere, "", "unsubscribed", "provider", newsroom.now)
            for _ in range(2):
                record_provider_unsubscribe(connection, event)
        newsroom.tick(_later(newsroom, 1))
        payloads = [json.loads(received.body)["data"] for received in sink.received]
        assert [(data["subscriber"], data["list"]) for data in payloads] == [
            (anna, "press"), (anna, "digest"), (boris, "digest"), (boris, "press"),
        ]  # fmt: skip


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_no_event_from_before_the_first_start_is_sent(tmp_path: Path, database_url: str) -> None:
    with HttpSink() as sink, open_newsroom(tmp_path / "n", database_url, {"daily": DAILY}, public=False) as newsroom:
        newsroom.item("old")
        newsroom.reader("anna")
        newsroom.tick(MONDAY - 3 * HOUR)
        newsroom.folder.env |= {"CRM_URL": sink.url, "CRM_SECRET": SECRET}
        newsroom.configure(
            "channels:",
            "webhooks:\n  crm: {url: {env: CRM_URL}, secret: {env: CRM_SECRET}, allow_private: true}\nchannels:",
        )
        newsroom.tick(MONDAY - 2 * HOUR)
        assert _told(sink) == []
        newsroom.item("new")
        newsroom.tick(MONDAY - HOUR)
        assert _told(sink) == [("story.out", "new")]
        with newsroom.runtime.store.write() as connection:
            uid = webhooks.queue_test(connection, newsroom.runtime.newsroom.webhooks, "crm", newsroom.now)
            with pytest.raises(RefusedError, match="there is no webhook 'other'"):
                webhooks.queue_test(connection, newsroom.runtime.newsroom.webhooks, "other", newsroom.now)
        newsroom.runtime.deliver_events()
        assert sink.received[-1].headers["webhook-id"] == uid
        assert json.loads(sink.received[-1].body)["type"] == "webhook.test"


def test_an_event_is_recorded_once_and_deleted_when_old(tmp_path: Path, database_url: str) -> None:
    with open_newsroom(tmp_path / "n", database_url, public=False) as newsroom:
        store = newsroom.runtime.store
        with store.write() as connection:
            assert record_event(connection, EventType.EDITION_SENT, "1", {"edition": "daily/1"}, MONDAY)
            assert not record_event(connection, EventType.EDITION_SENT, "1", {}, MONDAY)
            assert delete_old_events(connection, MONDAY + HOUR) == 0, "it is not queued yet"
        assert webhooks.queue_events(store, {}, MONDAY) == 0
        with store.write() as connection:
            assert unqueued_events(connection) == []
            assert delete_old_events(connection, MONDAY + HOUR) == 1


def test_a_wrong_event_names_the_nearest_one() -> None:
    with pytest.raises(ValidationError, match=r"'story\.oot' is not an event\. Did you mean 'story\.out'"):
        EventWebhookSettings.model_validate({"url": "https://x.example.org/", "secret": SECRET, "events": "story.oot"})
