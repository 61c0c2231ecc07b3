"""The screens "Subscribers": search and count, show a person's history, add, change, remove from a list, erase."""

from __future__ import annotations

import re
from collections import deque
from typing import Any

from sqlalchemy import Connection
from starlette.responses import Response

from tidings.config.cross_checks import served_frequencies
from tidings.config.settings import Newsroom
from tidings.model.delivery import FeedbackKind, Purpose, SkipReason
from tidings.model.edition import Edition, EditionState
from tidings.model.errors import InputError
from tidings.model.text import one_line
from tidings.pipeline.members.preferences import frequency_label, list_frequencies
from tidings.render.room.room_pages import RoomWords
from tidings.runtime.explain import explain
from tidings.store.content import editions
from tidings.store.content.story_list import find_stories
from tidings.store.delivery import ledger
from tidings.store.people import consent, feedback, subscribers
from tidings.store.people.erasure import truncate_log
from tidings.store.people.subscribers import (
    CONFIRMED,
    PENDING,
    UNSUBSCRIBED,
    Subscriber,
    Subscription,
    SubscriptionFilter,
    count_subscriptions,
    subscriptions_page,
)
from tidings.store.people.team import Role
from tidings.web.reader_actions import name_odd_character, request_subscription
from tidings.web.room.edition_screen import delivery_states, skip_texts
from tidings.web.room.today import edition_title, hold_texts, list_title, schedule_title, story_title
from tidings.web.room.visit import Visit

_PAGE = 50
_MOST_MAILS = 40
_EDITION = re.compile(r"\b([a-z0-9-]+)/[0-9]+\b")
_MOST_TITLES = 200
"""Number of newest stories that the field `About one story` offers."""


def subscription_states(words: RoomWords) -> dict[str, str]:
    """Return the names of a subscription's states."""
    return {
        CONFIRMED: words.gettext("confirmed"),
        PENDING: words.gettext("not confirmed yet"),
        UNSUBSCRIBED: words.gettext("left"),
    }


def _lists(visit: Visit) -> list[str]:
    """Return the lists that the member may work on."""
    return [name for name in visit.newsroom.lists if visit.person.may_see_list(name)]


def _list_titles(visit: Visit) -> dict[str, str]:
    default = visit.newsroom.site.languages[0]
    return {name: visit.newsroom.lists[name].name.get(visit.language, default) for name in _lists(visit)}


def show_list(visit: Visit) -> Response:
    """Show people by list, choices and a part of their address, with the total count."""
    return _list_page(visit)


def _list_page(visit: Visit, status: int = 200, errors: dict[str, str] | None = None) -> Response:
    query, words, newsroom = visit.query, visit.words, visit.newsroom
    titles, states = _list_titles(visit), subscription_states(words)
    names = ("list", "language", "topic", "frequency", "state", "text")
    chosen = {name: query.get(name, "").strip()[:200] for name in names}
    if chosen["list"] not in titles:
        chosen["list"] = "" if not visit.person.lists else next(iter(titles), "-")
    state = chosen["state"] if chosen["state"] in states else ""
    wanted = SubscriptionFilter(
        list=chosen["list"],
        language=chosen["language"],
        topic=chosen["topic"],
        frequency=chosen["frequency"],
        states=(state,) if state else (),
        text=chosen["text"],
    )
    after = (query.get("after_list", "")[:200], query.get("after", "")[:300])
    with visit.runtime.store.read() as connection:
        found = subscriptions_page(connection, wanted, after=after, limit=_PAGE + 1)
        total = count_subscriptions(connection, wanted)
    shown = found[:_PAGE]
    default = newsroom.site.languages[0]
    frequencies = list_frequencies(newsroom, [chosen["list"]] if chosen["list"] in titles else list(titles))
    return visit.page(
        "subscribers.html.j2",
        words.gettext("Subscribers"),
        status,
        rows=[{"row": row, "state": states.get(row.state, row.state)} for row in shown],
        total=total,
        chosen=chosen,
        has_more=len(found) > _PAGE,
        last=shown[-1] if shown else None,
        lists=titles,
        languages=newsroom.site.languages,
        topics={key: name.get(visit.language, default) for key, name in newsroom.topics.items()},
        frequencies={name: frequency_label(name, visit.language) for name in frequencies},
        states=states,
        errors=errors,
        entered={name: visit.field(name) for name in ("email", "add_list", "add_language", "how")},
    )


def add(visit: Visit) -> Response:
    """Ask a person to confirm, or add a person who agreed already. The form says where their consent is from."""
    words, newsroom = visit.words, visit.newsroom
    email, name, language, how = (visit.field(key) for key in ("email", "add_list", "add_language", "how"))
    if name not in _lists(visit) or language not in newsroom.site.languages:
        return _list_page(visit, 422, {"email": words.gettext("Choose a list and a language.")})
    try:
        if how:
            settings = newsroom.lists[name]
            with visit.runtime.store.write() as connection:
                outcome = subscribers.add(
                    connection,
                    email,
                    name,
                    language=language,
                    frequency=settings.default_frequency,
                    now=visit.runtime.now(),
                    confirmed=True,
                    source=how,
                )
                number = subscribers.find_id(connection, email)
                if outcome == "added":
                    visit.record(connection, "subscriber.added", f"subscriber {number}", name)
        else:
            with visit.runtime.store.read() as connection:
                number = subscribers.find_id(connection, email)
            outcome = "asked"
            is_asked = request_subscription(
                visit.runtime,
                email,
                (name,),
                languages=(language,),
                topics=(),
                frequencies=(),
                source="comms room",
                client=visit.network,
            )
            if not is_asked:
                return _list_page(visit, 429, {"email": words.gettext("Too many at once. Wait ten minutes.")})
    except InputError:
        wrong = name_odd_character(words.gettext("This is not an e-mail address."), email)
        return _list_page(visit, 422, {"email": wrong})
    texts = {
        "exists": words.gettext("They are on this list already."),
        "left": words.gettext("They left this list. Only they can come back, by the subscribe page."),
        "suppressed": words.gettext("This address must not be mailed: it bounced, complained or was erased."),
    }
    if outcome in texts:
        return _list_page(visit, 409, {"email": texts[outcome]})
    return visit.redirect(f"subscribers/{number}" if outcome == "added" else "subscribers", outcome)


def show_person(visit: Visit) -> Response:
    """Show one person: their lists, what they got, and why."""
    found = _find(visit)
    return visit.not_found() if found is None else _person_page(visit, *found)


def _find(visit: Visit) -> tuple[Subscriber, list[Subscription]] | None:
    """Return a person and their subscriptions to the member's lists, or None if there are none."""
    number = visit.params["number"]
    if not (number.isascii() and number.isdigit() and len(number) < 16):
        return None
    with visit.runtime.store.read() as connection:
        person = subscribers.find_by_id(connection, int(number))
        if person is None:
            return None
        rows = list(subscribers.subscriptions(connection, address=person.address))
    mine = [row for row in rows if visit.person.may_see_list(row.list)]
    return (person, mine) if mine or not visit.person.lists else None


def _person_page(
    visit: Visit, person: Subscriber, rows: list[Subscription], wrong: str = "", status: int = 200
) -> Response:
    newsroom, states = visit.newsroom, subscription_states(visit.words)
    story = visit.query.get("story", "").strip()[:200]
    lines, unknown = list[str](), ""
    history, blocked, titles = list[dict[str, Any]](), list[str](), dict[str, str]()
    # A member for some lists must not learn what the person gets from others.
    if not visit.person.lists:
        with visit.runtime.store.read() as connection:
            try:
                key = _find_story(visit, connection, story)
                lines = _explain(visit, connection, person, key) if story else []
            except InputError:
                unknown = visit.words.gettext("There is no story of this name.")
            history = _history(visit, connection, person.id, rows)
            blocked = _blocked(visit, connection, person.address)
            for versions in find_stories(connection, visit.runtime.now(), most=_MOST_TITLES):
                titles[versions[0].story] = versions[0].title
    return visit.page(
        "subscriber.html.j2",
        person.name or person.address,
        status,
        wrong=wrong or unknown,
        person=person,
        lists=[_shown_list(visit, row, states) for row in rows],
        languages=newsroom.site.languages,
        lines=lines,
        silences=list(filter(None, (_explain_silence(visit, row) for row in rows))),
        history=history,
        blocked=blocked,
        titles=titles,
        explains=not visit.person.lists,
        story=story,
        may_erase=visit.may(Role.ADMIN),
    )


def _explain(visit: Visit, connection: Connection, person: Subscriber, story: str) -> list[str]:
    """Return why a person got a story or not, with the titles of editions. The page shows lists and choices itself."""
    zone, schedules = visit.newsroom.site.zone, visit.newsroom.schedules
    found = explain(
        connection, visit.newsroom, person.address, story, lambda at: f"{at.astimezone(zone):%Y-%m-%d %H:%M}"
    )
    return [
        _EDITION.sub(lambda match: edition_title(visit, match[0]) if match[1] in schedules else match[0], line)
        for line in found
        if not line.startswith("List ")
    ]


def _find_story(visit: Visit, connection: Connection, text: str) -> str:
    """Return the key of a story that somebody names by its key or by words of its title; else the text."""
    now = visit.runtime.now()
    found = find_stories(connection, now, story=text) or find_stories(connection, now, text=text, most=1)
    return found[0][0].story if text and found else text


def _blocked(visit: Visit, connection: Connection, address: str) -> list[str]:
    """Return which lists must not mail this address, since when, and why."""
    words, found = visit.words, consent.suppressions_of(connection, consent.address_hash(address))
    reasons = {
        FeedbackKind.HARD.value: words.gettext("the address does not exist, or it refuses all mail"),
        FeedbackKind.SOFT.value: words.gettext("mail to it came back on too many days"),
        FeedbackKind.COMPLAINT.value: words.gettext("they reported a mail as spam"),
        "blocked": words.gettext("it was blocked in the tool from which it was imported"),
    }
    return [
        words.gettext("No mail since %(when)s: %(why)s.", when=words.moment(since), why=reasons[reason])
        + (f" ({list_title(visit, name)})" if name else "")
        for name, (reason, since) in found.items()
        if reason in reasons
    ]


def _history(visit: Visit, connection: Connection, person: int, lists: list[Subscription]) -> list[dict[str, Any]]:
    """Return the newest mails to a person, newest first, with the result of each and its reason."""
    default, known = visit.newsroom.site.languages[0], visit.newsroom.topics
    topics = {
        row.list: ", ".join(known[key].get(visit.language, default) for key in row.topics if key in known)
        for row in lists
        if row.topics
    }
    entries = list(deque(ledger.entries(connection, subscriber=person), _MOST_MAILS))
    feedbacks = feedback.of_deliveries(connection, [entry.id for entry in entries])
    states, skipped, words = delivery_states(visit.words), skip_texts(visit.words), visit.words
    titles = {story: story_title(visit, connection, story) for story in {entry.story for entry in entries} - {""}}
    rows = []
    for entry in reversed(entries):
        why, detail, due = skipped.get(entry.reason, ""), "", None
        back = "; ".join(f"{event.kind} {event.code} {event.text}".strip() for event in feedbacks.get(entry.id, []))
        if entry.state == "accepted" and (back or entry.returned):
            why, detail = words.gettext("The mail host took it, and then it came back."), back or entry.returned
        elif entry.state == "accepted":
            why, detail = words.gettext("The mail host accepted it, and no bounce came back."), entry.receipt
            if entry.edition and entry.list:
                name = list_title(visit, entry.list)
                why = words.gettext("They are on the list %(list)s, and it was for them.", list=name) + f" {why}"
        elif entry.state in ("cancelled", "pending") and entry.edition:
            edition = editions.find_edition_by_name(connection, entry.edition)
            why = _explain_edition(words, edition) if edition is not None else ""
            due = edition.starts if edition is not None else None
        if entry.reason == SkipReason.NOTHING_FOR_READER and entry.list in topics:
            why += " " + words.gettext("They chose these topics: %(topics)s.", topics=topics[entry.list])
        if not why and not detail:
            detail = entry.reason
        rows.append(
            {
                "title": f"{schedule_title(visit, entry.schedule)} {entry.edition.rpartition('/')[2]}"
                if entry.edition
                else purpose_texts(words).get(entry.purpose, entry.purpose),
                "path": f"editions/{entry.edition}" if entry.edition else "",
                "story": titles.get(entry.story, ""),
                "at": entry.at,
                "due": due,
                "state": states.get(entry.state, entry.state),
                "is_good": entry.state == "accepted" and not back,
                "why": why,
                "detail": detail,
            }
        )
    return rows


def _explain_silence(visit: Visit, row: Subscription) -> str:
    """Say why a list sends a person nothing at all, if it does not."""
    words, name = visit.words, _list_titles(visit).get(row.list, row.list)
    if row.state == UNSUBSCRIBED and row.left_at is not None:
        return words.gettext(
            "They left %(list)s on %(when)s. It has sent them nothing since.", list=name, when=words.moment(row.left_at)
        )
    if row.state == PENDING:
        return words.gettext("They have not confirmed %(list)s yet. It sends them nothing until then.", list=name)
    return ""


def purpose_texts(words: RoomWords) -> dict[str, str]:
    """Return the names of mails that belong to no edition."""
    return {
        Purpose.TEST: words.gettext("a test"),
        Purpose.NOTICE: words.gettext("a notice"),
        Purpose.CONFIRMATION: words.gettext("the question whether they want the mails"),
        Purpose.WELCOME: words.gettext("the welcome"),
    }


def _explain_edition(words: RoomWords, edition: Edition) -> str:
    """Explain why an edition's mail was not sent: it waits, was cancelled, or a newer edition took its stories."""
    if edition.state is EditionState.HELD:
        texts = hold_texts(words)
        reasons = " ".join(dict.fromkeys(texts[hold.reason] for hold in edition.holds if hold.reason in texts))
        return words.gettext("The edition is held.") + f" {reasons}"
    return {
        EditionState.SUPERSEDED: words.gettext(
            "Nobody released the edition in time. Its stories went into the next one."
        ),
        EditionState.CANCELLED: words.gettext("Somebody cancelled the edition."),
    }.get(edition.state, "")


def _shown_list(visit: Visit, row: Subscription, states: dict[str, str]) -> dict[str, Any]:
    newsroom: Newsroom = visit.newsroom
    known = list_frequencies(newsroom, [row.list]) if row.list in newsroom.lists else []
    names = dict.fromkeys([*known, row.frequency])
    served = served_frequencies(newsroom, row.list)
    default = newsroom.site.languages[0]
    return {
        "row": row,
        "title": _list_titles(visit).get(row.list, row.list),
        "state": states.get(row.state, row.state),
        "is_on": row.state != UNSUBSCRIBED,
        "is_served": row.state != CONFIRMED or not {"all", row.frequency}.isdisjoint(served),
        "frequencies": {name: frequency_label(name, visit.language) for name in names},
        "topics": [(key, name.get(visit.language, default)) for key, name in newsroom.topics.items()],
    }


def change(visit: Visit) -> Response:
    """Save choices, remove the person from a list, or erase them, depending on the button's `do`."""
    found, words = _find(visit), visit.words
    if found is None:
        return visit.not_found()
    person, rows = found
    action, about = visit.field("do"), f"subscriber {person.id}"
    on = [row.list for row in rows if row.state != UNSUBSCRIBED]
    store, now = visit.runtime.store, visit.runtime.now()
    if action == "save":
        language, known = visit.field("language"), visit.newsroom.topics
        with store.write() as connection:
            subscribers.change(
                connection,
                person.id,
                name=one_line(visit.field("name", 200)) if "name" in visit.fields else None,
                language=language if language in visit.newsroom.site.languages else None,
                note=visit.field("note", 2_000) if "note" in visit.fields else None,
            )
            for row in (row for row in rows if row.list in on):
                frequency = visit.field(f"frequency.{row.list}")
                offered = list_frequencies(visit.newsroom, [row.list]) if row.list in visit.newsroom.lists else []
                subscribers.change(
                    connection,
                    person.id,
                    list_name=row.list,
                    frequency=frequency if frequency in offered else None,
                    topics=[topic for topic in visit.fields[f"topic.{row.list}"] if topic in known]
                    if f"topic.{row.list}" in visit.fields
                    else None,
                )
            visit.record(connection, "subscriber.changed", about)
        return visit.redirect(f"subscribers/{person.id}", "saved")
    if action.startswith("remove.") and action.removeprefix("remove.") in on:
        name = action.removeprefix("remove.")
        with store.write() as connection:
            subscribers.unsubscribe(connection, person.id, name, source=f"room: {visit.person.email}", now=now)
            visit.record(connection, "subscriber.removed", about, name)
        return visit.redirect(f"subscribers/{person.id}", "removed")
    if action == "erase":
        if not visit.may(Role.ADMIN):
            return visit.message(
                words.gettext("Not allowed"), words.gettext("Only an admin erases a person."), status=403
            )
        if visit.field("confirm").casefold() != person.address.casefold():
            text = words.gettext("Type the address to erase the person. This cannot be undone.")
            return _person_page(visit, person, rows, text, 422)
        with store.write() as connection:
            subscribers.erase(connection, person.id, now=now)
            visit.record(connection, "subscriber.erased", about)
        truncate_log(store)
        return visit.redirect("subscribers", "removed")
    return visit.not_found()
