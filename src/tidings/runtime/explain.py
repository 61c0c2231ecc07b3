"""`tidings explain`: why a reader did or did not get a story or an edition."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection

from tidings.config.cross_checks import served_frequencies
from tidings.config.schedule import ListDelivery
from tidings.config.settings import Newsroom
from tidings.model.cadence import OnNew, next_slots
from tidings.model.delivery import FeedbackKind
from tidings.model.edition import Edition, EditionState
from tidings.model.errors import InputError
from tidings.model.item import Item
from tidings.model.plurals import count_noun
from tidings.pipeline.compose.select import Story, group_stories, matches_rules
from tidings.store.content import editions, schedules
from tidings.store.content.items import load_story
from tidings.store.delivery import history, ledger, retention
from tidings.store.people import consent, feedback, subscribers
from tidings.store.service import pauses

_SKIPPED = {
    "suppressed": "this address must not get mail, because of a bounce or a complaint",
    "unsubscribed": "they had unsubscribed from the list",
    "not_confirmed": "they had not confirmed their subscription yet",
    "erased": "the person was erased",
    "expired": "the story had expired",
    "nothing_for_reader": "it had nothing for this reader: other topics, no translation, or they already had all of it",
    "other_list": "they got the same edition through another list",
    "paused": "they had asked for a pause; they get it with the first edition after the pause",
    "withdrawn": "a story in it was withdrawn",
}

_SUPPRESSED: dict[str, str] = {
    FeedbackKind.HARD: "the address does not exist or refuses all mail",
    FeedbackKind.SOFT: "it bounced on too many days",
    FeedbackKind.COMPLAINT: "they reported a mail as spam",
    "blocked": "it was bounced or blocked in the tool from which the subscribers were imported",
}

_SLOTS_TO_LOOK_AT = 20
"""To find the next one, because the first may be skipped."""

Show = Callable[[datetime], str]
"""Formats a moment in the site's time zone."""


def explain(
    connection: Connection,
    newsroom: Newsroom,
    address: str,
    story: str | None,
    show: Show,
    now: datetime | None = None,
) -> list[str]:
    """Return sentences, oldest first. Raises InputError if the address or the story is unknown."""
    subscriber = subscribers.find_id(connection, address)
    address_hash = consent.address_hash(address)
    if subscriber is None:
        if consent.suppression(connection, address_hash, "") == "erased":
            return ["The person asked to be erased. Only a hash of the address is kept, so that nobody mails it again."]
        reasons = _SUPPRESSED | {"unsubscribed": "they unsubscribed"}
        if suppressions := list(_suppressions(connection, address_hash, reasons, show)):
            return suppressions
        raise InputError(f"No subscriber has the address {address}, and nothing was ever sent to it.")
    if story is not None and not load_story(connection, story):
        raise InputError(
            f"There is no story {story!r}. The name of a story is the name of its file, without the language and `.md`."
        )
    subscriptions = list(subscribers.subscriptions(connection, address=address))
    entries = [
        entry
        for entry in ledger.entries(connection, subscriber=subscriber)
        if story is None or history.shows_story(connection, entry.id, story)
    ]
    active = pauses.active_pauses(connection)
    feedbacks = feedback.of_deliveries(connection, [entry.id for entry in entries])
    lines = [_describe_subscription(newsroom, subscription, show) for subscription in subscriptions]
    held = {edition.name: edition for edition in editions.list_editions(connection, states=[EditionState.HELD])}
    lines += [_describe_delivery(entry, active, held, feedbacks.get(entry.id, []), show) for entry in entries]
    lines += _suppressions(connection, address_hash, _SUPPRESSED, show)
    if story is not None and not entries:
        lines += _explain_absence(connection, newsroom, story, subscriber, subscriptions)
        lines += _explain_ahead(connection, newsroom, story, subscriptions, show, now or datetime.now(UTC))
    elif not entries:
        lines.append("No mail was ever prepared for them.")
    return lines


def _suppressions(connection: Connection, address_hash: str, reasons: Mapping[str, str], show: Show) -> Iterator[str]:
    for name, (reason, since) in consent.suppressions_of(connection, address_hash).items():
        if reason in reasons:
            lists = f"The list {name} has" if name else "All lists have"
            yield f"{lists} sent them nothing since {show(since)}: {reasons[reason]}."


def _describe_subscription(newsroom: Newsroom, subscription: subscribers.Subscription, show: Show) -> str:
    topics = ", ".join(subscription.topics) or "all topics"
    frequency = subscription.frequency
    text = f"List {subscription.list}: {subscription.state}, in {subscription.language}, {frequency}, {topics}"
    if subscription.state == subscribers.UNSUBSCRIBED and subscription.left_at:
        return f"{text}; unsubscribed on {show(subscription.left_at)}."
    served = served_frequencies(newsroom, subscription.list)
    if subscription.state == subscribers.CONFIRMED and "all" not in served and frequency not in served:
        return f"{text}. No schedule sends with the frequency {frequency!r}, so they get nothing."
    return f"{text}."


def _describe_delivery(
    entry: ledger.LedgerEntry,
    active: list[pauses.Pause],
    held: Mapping[str, Edition],
    feedbacks: Sequence[feedback.Feedback],
    show: Show,
) -> str:
    name = entry.edition or f"a {entry.purpose}"
    if entry.story:
        name += f" ({entry.story})"
    at = show(entry.at)
    match entry.state:
        case "accepted":
            returned = "; ".join(_describe_feedback(event, show) for event in feedbacks) or entry.returned
            words = f"accepted by {entry.via or 'the mail host'} at {at} as {entry.receipt or 'unnamed'}"
            words += f"; {returned or 'neither a bounce nor a complaint since'}"
        case "skipped":
            words = f"not sent at {at}: {_SKIPPED.get(entry.reason, entry.reason)}"
        case "rejected":
            words = f"refused at {at}: {entry.reason}"
        case "in_doubt":
            words = f"in doubt since {at}: {entry.reason}. Decide with `tidings resolve {entry.id}`"
        case "deferred":
            words = f"postponed at {at} ({entry.reason}); it is tried again automatically"
        case "quarantined":
            words = f"stopped at {at} after {count_noun(entry.attempts, 'attempt', 'attempts')}: {entry.reason}"
        case "cancelled":
            words = f"cancelled at {at}{f': {entry.reason}' if entry.reason else ''}"
        case _:
            words = f"waiting to be sent since {at}"
            if (edition := held.get(entry.edition)) is not None:
                words = f"prepared on {at}, but the edition is held: {'; '.join(hold.detail for hold in edition.holds)}"
    if entry.edition and entry.state in ("pending", "deferred", "in_doubt"):
        pause = pauses.find_pause(active, schedule=entry.schedule, list_name=entry.list, channel=entry.channel)
        words += f"; {_describe_pause(pause, show)}" if pause is not None else ""
    return f"{name}: {words}."


def _describe_feedback(event: feedback.Feedback, show: Show) -> str:
    code = f" {event.code}" if event.code else ""
    text = f": {event.text}" if event.text else ""
    return f"came back: {event.kind}{code}, reported by {event.via} at {show(event.at)}{text}"


def _describe_pause(pause: pauses.Pause, show: Show) -> str:
    end = f"until {show(pause.until)}" if pause.until else "until `tidings resume`"
    reason = f" ({pause.reason})" if pause.reason else ""
    return f"{pause.what} is paused since {show(pause.since)} by {pause.who}, {end}{reason}"


def _explain_absence(
    connection: Connection,
    newsroom: Newsroom,
    story: str,
    subscriber: int,
    subscriptions: Sequence[subscribers.Subscription],
) -> list[str]:
    """Explain why no delivery to this subscriber contains a story."""
    if story in history.stories_received(connection, [story], subscribers=[subscriber]).get(subscriber, ()):
        return [f"{story} was sent to them. The ledger no longer has the details (`keep` in tidings.yaml)."]
    lines = [f"{story} was never part of a mail to them."]
    items = load_story(connection, story)
    if withdrawn := next((item.withdrawn for item in items if item.withdrawn), ""):
        lines.append(f"It was withdrawn: {withdrawn}")
    for schedule in newsroom.schedules:
        used = schedules.find_editions_of_stories(connection, schedule)
        if story in used:
            edition = editions.get_edition(connection, used[story])
            entries = list(ledger.entries(connection, subscriber=subscriber, edition=edition.name))
            if entries:
                waits = history.waits_for_more(connection, entries[0].id)
                reason = _explain_without(newsroom, items, entries[0], subscriptions, waits=waits)
            elif retention.count_deleted(connection, edition=edition.id):
                reason = ". The ledger no longer says whether it went to them (`keep` in tidings.yaml)"
            else:
                reason = ", but they did not get this edition (another list or frequency)"
            lines.append(f"{edition.name} contained it{reason}.")
        elif story in schedules.used_stories(connection, schedule):
            lines.append(f"The schedule {schedule} does not send it: it was already out when the schedule started.")
    return lines


def _explain_ahead(
    connection: Connection,
    newsroom: Newsroom,
    story: str,
    subscriptions: Sequence[subscribers.Subscription],
    show: Show,
    now: datetime,
) -> Iterator[str]:
    """Say when a story that is not out yet, or in no edition yet, goes to this reader."""
    items = load_story(connection, story)
    if any(item.withdrawn for item in items):
        return
    if all(item.draft for item in items):
        yield "It is a draft."
        return
    ready = [item for item in items if not item.draft]
    out = min(max(filter(None, (item.published, item.embargo, now))) for item in ready)
    if out > now:
        is_embargoed = any(item.embargo is not None and item.embargo > now for item in ready)
        yield f"It is {'under embargo' if is_embargoed else 'not out'} until {show(out)}."
    confirmed = [choices for choices in subscriptions if choices.state == subscribers.CONFIRMED]
    candidates = group_stories(ready, max(out, now))
    for name, schedule in newsroom.schedules.items():
        found = candidates.get(story)
        parts = [part for part in schedule.deliver if isinstance(part, ListDelivery)]
        if found is None or not matches_rules(found, schedule.select):
            continue
        if not any(_is_for(part, choices, found) for part in parts for choices in confirmed):
            continue
        if story in schedules.used_stories(connection, name):
            continue
        slots = next_slots(schedule.cadence, max(out - timedelta(microseconds=1), now), _SLOTS_TO_LOOK_AT)
        slot = next((slot for slot in slots if not slot.skip_reason), None)
        asked = f", once {', '.join(schedule.approval.by)} approve it" if schedule.approval is not None else ""
        if isinstance(schedule.cadence.rule, OnNew):
            moment = "after that" if out > now else "at its next slot"
            yield f"The schedule {name} sends it {moment}{asked}."
        elif slot is not None:
            yield f"The schedule {name} is due on {show(slot.at)} and takes it{asked}."


def _is_for(part: ListDelivery, choices: subscribers.Subscription, story: Story) -> bool:
    """Whether a part of a schedule brings a story to a reader with these choices."""
    if part.list != choices.list or choices.list in story.not_in:
        return False
    if part.everyone:
        return True
    is_frequency = part.frequency in (None, "all", choices.frequency)
    return is_frequency and (not choices.topics or not story.topics.isdisjoint(choices.topics))


def _explain_without(
    newsroom: Newsroom,
    items: Sequence[Item],
    entry: ledger.LedgerEntry,
    subscriptions: Sequence[subscribers.Subscription],
    *,
    waits: bool,
) -> str:
    """Explain why this reader's part of an edition does not contain a story of the edition."""
    if entry.state == "skipped":
        return f": {_SKIPPED.get(entry.reason, entry.reason)}"
    subscription = next((choices for choices in subscriptions if choices.list == entry.list), None)
    if subscription is None:
        return ""
    topics = {topic for item in items for topic in item.topics}
    if subscription.topics and topics.isdisjoint(subscription.topics):
        return f", but its topics ({', '.join(sorted(topics)) or 'none'}) are not among those they chose"
    settings = newsroom.lists.get(subscription.list)
    languages = {subscription.language, *settings.fallback} if settings is not None else set()
    if languages.isdisjoint(item.language for item in items):
        return f", but it does not exist in {', '.join(sorted(languages))}"
    if waits:
        return ", but it waits for their next edition: more stories were new than `max_items` lets into one"
    return ", but not for them: they already had it, or it is not for this list (not_in)"
