"""`tidings explain`: why this reader did or did not get it, in words."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime

from sqlalchemy import Connection

from tidings.config.cross_checks import served_frequencies
from tidings.config.settings import Newsroom
from tidings.model.delivery import FeedbackKind
from tidings.model.errors import InputError
from tidings.model.item import Item
from tidings.store.content import editions, schedules
from tidings.store.content.items import load_story
from tidings.store.delivery import history, ledger, retention
from tidings.store.people import consent, feedback, subscribers
from tidings.store.service import pauses

_SKIPPED = {
    "suppressed": "this address must not be mailed (it bounced or complained)",
    "unsubscribed": "they had left the list",
    "not_confirmed": "they had not confirmed the list yet",
    "erased": "the person was erased",
    "expired": "the story had expired",
    "nothing_for_reader": "nothing in it was for this reader: other topics, no translation, or had it all before",
    "other_list": "they got the same edition through another list",
    "paused": "they had asked for a pause; what came out meanwhile goes to them with the first edition after it",
    "withdrawn": "a story in it was withdrawn",
}

_STOPPED: dict[str, str] = {
    FeedbackKind.HARD: "the address does not exist, or refuses for good",
    FeedbackKind.SOFT: "it bounced on too many days",
    FeedbackKind.COMPLAINT: "they called a mail spam",
    "blocked": "it had bounced, or was barred, in the tool from which readers were imported",
}


def explain(
    connection: Connection, newsroom: Newsroom, address: str, story: str | None, show: Callable[[datetime], str]
) -> list[str]:
    """Sentences, oldest first. Raises InputError for an address or a story that nobody knows."""
    subscriber = subscribers.find_id(connection, address)
    digest = consent.address_hash(address)
    lines = []
    if subscriber is None:
        reason = consent.suppression(connection, digest, "")
        if reason == "erased":
            return [
                "This address was erased at the person's wish; only its hash is kept, so that nobody mails it again."
            ]
        if away := list(_away(connection, digest, _STOPPED | {"unsubscribed": "they left"}, show)):
            return away
        raise InputError(f"nobody with the address {address} is known here, and nothing was ever sent to it")
    for one in subscribers.subscriptions(connection, address=address):
        lines.append(_subscription(newsroom, one, show))
    if story is not None and not load_story(connection, story):
        raise InputError(f"there is no story {story!r}; a story's name is its file's name without language and ending")
    entries = [
        entry
        for entry in ledger.entries(connection, subscriber=subscriber)
        if story is None or history.shows_story(connection, entry.id, story)
    ]
    stopped = pauses.active_pauses(connection)
    back = feedback.of_deliveries(connection, [entry.id for entry in entries])
    lines += [_entry(entry, stopped, back.get(entry.id, []), show) for entry in entries]
    lines += _away(connection, digest, _STOPPED, show)
    if story is not None and not entries:
        lines += _never(connection, newsroom, story, subscriber, address)
    elif not entries:
        lines.append("Nothing was ever addressed to them.")
    return lines


def _away(
    connection: Connection, digest: str, words: Mapping[str, str], show: Callable[[datetime], str]
) -> Iterator[str]:
    for name, (why, when) in consent.suppressions_of(connection, digest).items():
        if why in words:
            where = f"The list {name} never writes" if name else "No list writes"
            yield f"{where} to them again since {show(when)}: {words[why]}."


def _subscription(newsroom: Newsroom, one: subscribers.Subscription, show: Callable[[datetime], str]) -> str:
    what = f"List {one.list}: {one.state}, in {one.language}, {one.frequency}, {', '.join(one.topics) or 'all topics'}"
    if one.state == subscribers.UNSUBSCRIBED and one.left_at:
        return f"{what}; left on {show(one.left_at)}."
    served = served_frequencies(newsroom, one.list)
    if one.state == subscribers.CONFIRMED and "all" not in served and one.frequency not in served:
        return f"{what}. No schedule serves {one.frequency!r}, so they get nothing."
    return f"{what}."


def _entry(
    entry: ledger.LedgerEntry,
    stopped: list[pauses.Pause],
    back: list[feedback.Feedback],
    show: Callable[[datetime], str],
) -> str:
    what = entry.edition or f"a {entry.purpose}"
    if entry.story:
        what += f" ({entry.story})"
    at = show(entry.at)
    match entry.state:
        case "accepted":
            returned = "; ".join(_came_back(one, show) for one in back) or entry.returned or "nothing came back since"
            words = f"accepted by {entry.via or 'the mail host'} at {at} as {entry.receipt or 'unnamed'}; {returned}"
        case "skipped":
            words = f"not sent at {at}: {_SKIPPED.get(entry.reason, entry.reason)}"
        case "rejected":
            words = f"refused at {at}: {entry.reason}"
        case "in_doubt":
            words = f"in doubt since {at}: {entry.reason}. Settle it with `tidings resolve {entry.id}`"
        case "deferred":
            words = f"put off at {at} ({entry.reason}); it is tried again by itself"
        case "quarantined":
            words = f"set aside at {at} after {entry.attempts} attempts: {entry.reason}"
        case "cancelled":
            words = f"cancelled at {at}{f': {entry.reason}' if entry.reason else ''}"
        case _:
            words = f"waiting to be sent since {at}"
    if entry.edition and entry.state in ("pending", "deferred", "in_doubt"):
        why = pauses.find_pause(stopped, schedule=entry.schedule, list_name=entry.list, channel=entry.channel)
        words += f"; {_paused(why, show)}" if why is not None else ""
    return f"{what}: {words}."


def _came_back(one: feedback.Feedback, show: Callable[[datetime], str]) -> str:
    code = f" {one.code}" if one.code else ""
    said = f": {one.text}" if one.text else ""
    return f"came back: {one.kind}{code}, heard by {one.via} at {show(one.at)}{said}"


def _paused(one: pauses.Pause, show: Callable[[datetime], str]) -> str:
    end = f"until {show(one.until)}" if one.until else "until `tidings resume`"
    return f"{one.what} is paused since {show(one.since)} by {one.who}, {end}{f' ({one.reason})' if one.reason else ''}"


def _never(connection: Connection, newsroom: Newsroom, story: str, subscriber: int, address: str) -> list[str]:
    people = list(subscribers.subscriptions(connection, address=address))
    if story in history.stories_received(connection, [story], subscribers=[subscriber]).get(subscriber, ()):
        return [f"{story} was sent to them, longer ago than the ledger goes back (`keep`)."]
    lines = [f"{story} was never in anything addressed to them."]
    items = load_story(connection, story)
    if any(item.withdrawn for item in items):
        lines.append(f"It was withdrawn: {next(item.withdrawn for item in items if item.withdrawn)}")
    for schedule in newsroom.schedules:
        used = schedules.used_since(connection, schedule, 0)
        if story in used:
            edition = editions.get_edition(connection, used[story])
            thinned = bool(retention.count_deleted(connection, edition=edition.id))
            mine = list(ledger.entries(connection, subscriber=subscriber, edition=edition.name))
            lines.append(f"{edition.name} carried it{_why_not(newsroom, items, mine, people, thinned)}.")
        elif story in schedules.used_stories(connection, schedule):
            lines.append(f"Schedule {schedule} does not send it: it was out before the schedule first ran.")
    return lines


def _why_not(
    newsroom: Newsroom,
    items: list[Item],
    mine: list[ledger.LedgerEntry],
    people: list[subscribers.Subscription],
    thinned: bool,
) -> str:
    """Why an edition that carried a story did not bring it to this reader."""
    if not mine and thinned:
        return "; whether to them, the ledger no longer says (`keep`)"
    if not mine:
        return ", but they were not among those it was for (another list or frequency)"
    if mine[0].state == "skipped":
        return f": {_SKIPPED.get(mine[0].reason, mine[0].reason)}"
    person = next((one for one in people if one.list == mine[0].list), None)
    if person is None:
        return ""
    topics = {topic for item in items for topic in item.topics}
    if person.topics and topics.isdisjoint(person.topics):
        return f", but its topics ({', '.join(sorted(topics)) or 'none'}) are not among those they chose"
    languages = {person.language, *newsroom.lists[person.list].fallback} if person.list in newsroom.lists else set()
    if languages.isdisjoint(item.language for item in items):
        return f", but it exists in none of {', '.join(sorted(languages))}"
    return ", but their part of it was made without it: they had it before, or it stays out of this list (not_in)"
