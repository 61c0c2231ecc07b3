"""Imports from other tools, with files like their exports."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime

import pytest
from sqlalchemy import select

from tests.fixtures.people import NOW, ImportWorld
from tidings.model.errors import InputError
from tidings.store import schema as t
from tidings.store.people import consent, subscribers


def suppressed(world: ImportWorld) -> dict[str, tuple[str, str]]:
    """Return list and reason of each suppressed hash."""
    u = t.suppressions.c
    with world.store.read() as connection:
        return {row.hash: (row.list, row.reason) for row in connection.execute(select(u.hash, u.list, u.reason))}


def state_of(world: ImportWorld, address: str) -> tuple[str, datetime | None, list[str]]:
    row = next(row for row in world.rows()["subscriptions"] if row[0] == address)
    return row[2], row[6], row[8]


LISTMONK = """uuid,email,name,attributes,status,created_at,updated_at
0c7d,anna@example.org,Anna,"{""language"": ""ru"", ""tags"": [""Water"", ""VIP""], ""city"": ""Almaty""}",enabled,\
2021-03-04 05:06:07.123456 +0000 +0000,2022-01-01 00:00:00 +0000 UTC
0c7e,bad@example.org,Bob,{},blocklisted,2021-03-04 05:06:07 +0000 UTC,2022-02-03 04:05:06 +0000 UTC
0c7f,off@example.org,Off,{},disabled,2021-03-04 05:06:07 +0000 UTC,2022-02-03 04:05:06 +0000 UTC
0c80,broken@example.org,Broken,{,enabled,2021-03-04 05:06:07 +0000 UTC,2022-02-03 04:05:06 +0000 UTC
"""


def test_an_export_of_listmonk_is_imported(world: ImportWorld) -> None:
    before = world.rows()
    assert world.run(LISTMONK, tool="listmonk", dry_run=True).counts == {"added": 1, "away": 1, "refused": 2}
    assert world.rows() == before
    done = world.run(LISTMONK, tool="listmonk")
    assert done.counts == {"added": 1, "away": 1, "refused": 2}
    assert done.labels == {"VIP": 1}
    assert "disabled" in world.refused[4] and "JSON" in world.refused[5]
    since = datetime(2021, 3, 4, 5, 6, 7, 123_456, tzinfo=UTC)
    assert state_of(world, "anna@example.org") == ("confirmed", since, ["water"])
    assert world.rows()["subscribers"][0][2:4] == ("Anna", "ru")
    assert [row[2:] for row in world.rows()["consents"]] == [("confirmed", "fair", "", "", since)]
    # The addresses of blocked people are not stored.
    assert [row[0] for row in world.rows()["subscribers"]] == ["anna@example.org"]
    assert suppressed(world) == {consent.address_hash("bad@example.org"): ("", "blocked")}
    assert world.run("email\nbad@example.org\n").counts == {"suppressed": 1}
    assert world.run(LISTMONK, tool="listmonk").counts == {"exists": 1, "known_away": 1, "refused": 2}


def test_listmonk_does_not_say_who_confirmed(world: ImportWorld) -> None:
    world.run(LISTMONK, tool="listmonk", confirmed=False)
    assert state_of(world, "anna@example.org")[:2] == ("pending", None)
    text = (
        "email,name,subscription_status,created_at\n"
        "b@example.org,B,confirmed,\nc@example.org,C,unsubscribed,\nd@example.org,D,unconfirmed,\n"
    )
    assert world.run(text, tool="listmonk", confirmed=True).counts == {"added": 2, "away": 1}
    assert state_of(world, "b@example.org")[:2] == ("confirmed", NOW)
    assert state_of(world, "d@example.org")[0] == "pending"


_HEAD = (
    '"Email Address","First Name","Last Name",Address,LANGUAGE,MEMBER_RATING,'
    "OPTIN_TIME,OPTIN_IP,CONFIRM_TIME,CONFIRM_IP"
)
MAILCHIMP = f'''{_HEAD},LATITUDE,LAST_CHANGED,LEID,EUID,NOTES,TAGS
anna@example.org,Anna,Petrova,"10 St
Almaty",ru_RU,2,"2018-10-10 08:00:00",192.0.2.1,"2018-10-11 09:55:14",192.0.2.2,,"2019-01-01 00:00:00",1,a,,\
"""Youth"",""Вода"",""Gala, 2019"""
single@example.org,,,,,2,,,"2015-03-16 14:40:47",,,,2,b,,
mended@example.org,,,,,2,,,"16/03/2015 14:40",,,,2,b,,
'''
UNSUBSCRIBED = f"""{_HEAD},UNSUB_TIME,UNSUB_CAMPAIGN_TITLE,UNSUB_REASON,LEID,EUID,NOTES,TAGS
single@example.org,,,,,2,,,"2015-03-16 14:40:47",,"2020-01-02 03:04:05",News,,2,b,,
gone@example.org,,,,,2,,,"2015-03-16 14:40:47",,"2020-01-02 03:04:05",News,,2,b,,
"""
CLEANED = f"""{_HEAD},CLEAN_TIME,CLEAN_CAMPAIGN_TITLE,CLEAN_CAMPAIGN_ID,LEID,EUID,NOTES,TAGS
dead@example.org,,,,,2,,,"2015-03-16 14:40:47",,"2020-01-02 03:04:05",News,17,2,b,,
"""


def test_an_export_of_mailchimp_is_imported(world: ImportWorld) -> None:
    done = world.run(MAILCHIMP, "subscribed_members_export_0e63.csv", tool="mailchimp", confirmed=False)
    assert done.counts == {"added": 2, "refused": 1}
    assert "Did a spreadsheet change" in world.refused[5]
    assert done.labels == {"Gala, 2019": 1}
    assert "Address" in done.ignored and "NOTES" in done.ignored
    at = datetime(2018, 10, 11, 9, 55, 14, tzinfo=UTC)
    assert state_of(world, "anna@example.org") == ("confirmed", at, ["water", "youth"])
    assert world.rows()["subscribers"][0][2:4] == ("Anna Petrova", "ru")
    assert ("192.0.2.2", at) in [row[5:] for row in world.rows()["consents"]]
    # They left that tool before the import. People who leave later stay away too.
    done = world.run(UNSUBSCRIBED, "unsubscribed_members_export_0e63.csv", tool="mailchimp")
    assert done.counts == {"away": 2}
    assert state_of(world, "single@example.org")[0] == "unsubscribed"
    assert world.run(CLEANED, "cleaned_members_export_0e63.csv", tool="mailchimp").counts == {"away": 1}
    reasons = suppressed(world)
    assert reasons[consent.address_hash("gone@example.org")] == ("digest", "unsubscribed")
    assert reasons[consent.address_hash("dead@example.org")] == ("", "blocked")
    assert datetime(2020, 1, 2, 3, 4, 5, tzinfo=UTC) in [row[6] for row in world.rows()["consents"]]
    text = "Email Address,OPTIN_TIME\nx@example.org,2020-01-01 00:00:00\n"
    assert world.run(text, "nonsubscribed_members_export_0e63.csv", tool="mailchimp").counts == {"refused": 1}


def test_a_later_consent_here_outweighs_leaving_there(world: ImportWorld) -> None:
    world.run("email\nsingle@example.org\n")
    done = world.run(UNSUBSCRIBED, "unsubscribed_members_export_0e63.csv", tool="mailchimp")
    assert done.counts == {"since": 1, "away": 1} and "agreed here later" in world.refused[2]
    assert state_of(world, "single@example.org")[0] == "confirmed"


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize("dry_run", [True, False])
def test_in_one_file_leaving_outweighs_joining(world: ImportWorld, turned: bool, apart: bool, dry_run: bool) -> None:
    """In any order, and also in different chunks."""
    lines = ["a@example.org,true,2024-01-01T00:00:00.000Z,", "A@example.org,false,,"]
    filler = [f"f{number}@example.org,true,2024-01-01T00:00:00.000Z," for number in range(600 if apart else 1)]
    first, last = reversed(lines) if turned else lines
    text = "\n".join(["email,subscribed_to_emails,created_at,deleted_at", first, *filler, last]) + "\n"
    done = world.run(text, tool="ghost", dry_run=dry_run)
    assert done.counts["away"] == 1
    if not dry_run:
        assert world.run("email\na@example.org\n").counts == {"left": 1}


GHOST = """id,email,name,note,subscribed_to_emails,complimentary_plan,stripe_customer_id,\
created_at,deleted_at,labels,tiers
1,anna@example.org,'=Anna,,true,,,2023-05-06T07:08:09.000Z,,"water,Gala",Free
2,left@example.org,,,false,,,2023-05-06T07:08:09.000Z,,,Free
3,gone@example.org,,,true,,,2023-05-06T07:08:09.000Z,2024-01-01T00:00:00.000Z,,Free
4,odd@example.org,,,maybe,,,2023-05-06T07:08:09.000Z,,,Free
"""


@pytest.mark.parametrize(
    ("tool", "text", "kept", "away"),
    [
        ("mailpoet", "Email,First name,Last name,List,Global status,List status\na@x.org,A,,N,Subscribed,Subscribed\n"
         "b@x.org,B,,N,Unsubscribed,Subscribed\nc@x.org,C,,N,Bounced,Subscribed\nd@x.org,D,,N,Inactive,Subscribed\n"
         "e@x.org,E,,N,Subscribed,Unsubscribed\nf@x.org,F,,N,Unconfirmed,Unconfirmed\n",
         {"a": "confirmed", "d": "confirmed", "f": "pending"}, "bce"),
        ("keila", "Email,First name,Last name,Data,Status\na@x.org,A,B,{},active\nb@x.org,,,{},unsubscribed\n"
         "c@x.org,,,{},unreachable\n", {"a": "confirmed"}, "bc"),
        ("brevo", "CONTACT ID;EMAIL;FIRSTNAME;EMAIL_BLACKLISTED;SMS_BLACKLISTED\n1;a@x.org;A;0;1\n"
         "2;b@x.org;B;1;0\n", {"a": "pending"}, "b"),
        ("substack", "email,active_subscription,expiry,email_disabled,created_at\n"
         "a@x.org,false,,false,2024-01-02T03:04:05Z\nb@x.org,true,,true,2024-01-02T03:04:05Z\n",
         {"a": "confirmed"}, "b"),
        ("mautic", "id,email,firstname,lastname,dnc\n1,a@x.org,A,B,\n2,b@x.org,A,B,1\n3,c@x.org,A,B,0\n",
         {"a": "pending", "c": "pending"}, "b"),
        ("phplist", "id\temail\tconfirmed\tblacklisted\tbouncecount\tentered\n"
         "1\ta@x.org\t1\t0\t3\t2024-01-02 03:04:05\n2\tb@x.org\t1\t1\t0\t2024-01-02 03:04:05\n"
         "3\tc@x.org\t0\t0\t0\t2024-01-02 03:04:05\n",
         {"a": "confirmed", "c": "pending"}, "b"),
        ("constantcontact", "Email address,First name,Email status,Email opt-out date\na@x.org,A,Active,\n"
         "b@x.org,B,Unsubscribed,01/02/2024\nc@x.org,C,Awaiting confirmation,\nd@x.org,D,No permissions set,\n"
         "e@x.org,E,,\n", {"a": "confirmed", "c": "pending"}, "b"),
    ],
)  # fmt: skip
def test_people_who_left_in_another_tool_are_not_added(
    world: ImportWorld, tool: str, text: str, kept: dict[str, str], away: str
) -> None:
    world.run(text, tool=tool, confirmed=False)
    with world.store.read() as connection:
        states = {subscription.address[0]: subscription.state for subscription in subscribers.subscriptions(connection)}
        assert states == kept
        for letter in away:
            assert consent.suppression(connection, consent.address_hash(f"{letter}@x.org"), "digest")
    # Without `--from`, nobody who left is added, or the file is refused.
    with suppress(InputError):
        world.run(text, confirmed=True)
    with world.store.read() as connection:
        assert not {subscription.address[0] for subscription in subscribers.subscriptions(connection)} & set(away)


def test_an_export_without_its_status_column_is_refused(world: ImportWorld) -> None:
    with pytest.raises(InputError, match="no column says who has left"):
        world.run("email,firstname\na@x.org,A\n", tool="mautic")
    with pytest.raises(InputError, match="`blacklisted` is missing"):
        world.run("email,confirmed\na@x.org,1\n", tool="phplist")


def test_an_export_of_ghost_is_imported(world: ImportWorld) -> None:
    done = world.run(GHOST, tool="ghost", confirmed=False)
    assert done.counts == {"added": 1, "away": 2, "refused": 1}
    assert done.labels == {"Gala": 1}
    assert state_of(world, "anna@example.org") == ("confirmed", datetime(2023, 5, 6, 7, 8, 9, tzinfo=UTC), ["water"])
    assert world.rows()["subscribers"][0][2] == "=Anna"
    assert set(suppressed(world).values()) == {("digest", "unsubscribed")}


def test_an_export_of_mailman3_is_imported(world: ImportWorld) -> None:
    text = 'Anne Person <anne@example.com>\n"Bart, P." <bart@example.com>\ncris@example.com\n\nnobody\n'
    done = world.run(text, "members.txt", tool="mailman3", confirmed=False)
    assert done.counts == {"added": 3, "refused": 1}
    assert list(world.refused) == [5]
    assert {(row[0], row[2]) for row in world.rows()["subscribers"]} == {
        ("anne@example.com", "Anne Person"),
        ("bart@example.com", "Bart, P."),
        ("cris@example.com", ""),
    }
    assert world.run("ant.example.com has no members\n", "members.txt", tool="mailman3").counts == {}
