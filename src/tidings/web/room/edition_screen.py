"""The screen "Edition": who gets which mail or post, and the buttons that release, cancel or rebuild the edition."""

from __future__ import annotations

import re
import time
from collections import Counter
from datetime import datetime
from functools import lru_cache
from typing import Any
from urllib.parse import quote

from starlette.responses import Response

from tidings.config.schedule import Schedule
from tidings.model.delivery import SkipReason
from tidings.model.edition import Edition, EditionState, Hold, HoldReason
from tidings.model.errors import InputError, RefusedError
from tidings.pipeline.compose import review
from tidings.pipeline.compose.edit import EditionChanges
from tidings.render.room.room_pages import SCRIPT, RoomWords
from tidings.runtime.preview.preview import preview_edition, queue_edition_test
from tidings.runtime.team import decisions, stories
from tidings.runtime.team.decisions import count_lacking, goes_at_once
from tidings.runtime.team.rights import may_decide, may_see_schedule
from tidings.store.content import editions
from tidings.store.content.editions import count_recipients, frozen_digest
from tidings.store.content.items import load_story
from tidings.store.delivery import ledger
from tidings.store.engine import Store
from tidings.store.people.team import Role
from tidings.web.room.today import hold_texts, list_title, schedule_title, story_title
from tidings.web.room.visit import Visit
from tidings.web.site.review import MAIL_HEADERS, frame_html, reviewed_messages

_URL = re.compile(r"https?://[^\s']+")
_UNDONE = ("pending", "leased", "handed", "deferred")
"""States of a delivery that is not finished."""
_SHARED_SECONDS = 3.0
"""Seconds for which all pages that follow a send get the same counts."""


def show(visit: Visit) -> Response:
    """Show one edition."""
    edition = _find(visit)
    return visit.not_found() if edition is None else _page(visit, edition)


def progress(visit: Visit) -> Response:
    """Return only how far a send is, for a page that stays open."""
    edition = _find(visit)
    if edition is None:
        return visit.not_found()
    states = _count_together(visit.runtime.store, edition.id, int(time.monotonic() / _SHARED_SECONDS))
    return visit.page("progress.html.j2", "", **_progress_values(visit, edition, states))


@lru_cache(maxsize=8)
def _count_together(store: Store, edition: int, _period: int) -> dict[str, int]:
    """Count an edition's deliveries by state once for all pages that ask in one period, so that they slow no send."""
    with store.read() as connection:
        return ledger.count_by_state(connection, edition=edition)


def _progress_values(visit: Visit, edition: Edition, states: dict[str, int]) -> dict[str, Any]:
    """Return the values of `progress.html.j2`."""
    return {
        "results": _results(visit.words, states),
        "is_sending": edition.state is EditionState.SENDING,
        "parts": sum(states.values()),
        "parts_done": sum(count for state, count in states.items() if state not in _UNDONE),
        "path": f"{visit.root}editions/{edition.name}",
    }


def mail(visit: Visit) -> Response:
    """Return the HTML of one mail for a sandboxed frame, in which no script runs and no link works."""
    edition, number = _find(visit), visit.params["frame"]
    is_number = number.isascii() and number.isdigit() and len(number) < 6
    mails = preview_edition(visit.runtime, edition, None) if edition is not None and is_number else []
    if not mails or int(number) >= len(mails) or not mails[int(number)].is_mail:
        return visit.not_found()
    return Response(
        frame_html(mails[int(number)], visit.newsroom), headers=MAIL_HEADERS, media_type="text/html; charset=utf-8"
    )


def decide(visit: Visit) -> Response:
    """Release, cancel or rebuild the edition, depending on the button's `do`. Refuses if it has changed meanwhile."""
    edition = _find(visit)
    if edition is None or not may_decide(visit, edition.schedule):
        return visit.not_found()
    return _decide(visit, edition, visit.field("do"))


def approve(visit: Visit) -> Response:
    """Approve the edition, or send it back with a comment. Only the chosen approvers may do this, in any role."""
    edition, words = _find(visit), visit.words
    if edition is None:
        return visit.not_found()
    if not review.find_approver(visit.newsroom.schedules.get(edition.schedule), visit.person.email):
        text = words.gettext("Only the people who were asked to approve it can do this.")
        return visit.message(words.gettext("Not allowed"), text, status=403)
    if visit.field("do") == "send_back" and not visit.field("comment"):
        return _page(visit, edition, words.gettext("Write what to change, then send it back."), 422)
    return _decide(visit, edition, {"approve": "release", "send_back": "send_back"}.get(visit.field("do"), ""))


def _decide(visit: Visit, edition: Edition, action: str) -> Response:
    words, runtime, now = visit.words, visit.runtime, visit.runtime.now()
    schedule = visit.newsroom.schedules.get(edition.schedule)
    with runtime.store.read() as connection:
        is_same = visit.field("frozen") == frozen_digest(connection, edition.id)
        total = sum(count.count for count in count_recipients(connection, edition.id))
        lacking = count_lacking(connection, edition, schedule, visit.person.email)
    if not is_same and action != "cancel":
        return _page(visit, edition, words.gettext("It has changed in the meantime. Please look at it again."), 409)
    if action == "release" and lacking > 0 and not review.find_approver(schedule, visit.person.email):
        text = words.gettext("It needs the approval of several people, and not all of them have approved it.")
        return _page(visit, edition, text, 409)
    needs_number = action == "release" and goes_at_once(edition, now) and lacking <= 0
    if needs_number and "".join(visit.field("total").split()) != str(total):
        text = words.gettext("Type the number of recipients, %(count)s, to send it now.", count=str(total))
        return _page(visit, edition, text, 422)
    try:
        said = _act(visit, edition, action, now)
    except (InputError, RefusedError) as error:
        return _page(visit, _find(visit) or edition, _refusal(visit, error), 409)
    return visit.redirect(f"editions/{edition.name}", said) if said else visit.not_found()


def _act(visit: Visit, edition: Edition, action: str, now: datetime) -> str:
    """Do what the button says. Returns the key of a message, '' for an unknown button. Raises InputError or
    RefusedError."""
    runtime, who = visit.runtime, visit.person.email
    if action == "take_back":
        runtime.editions.take_back(edition, now, who)
        said = "taken_back"
    elif action == "postpone":
        starts = visit.moment_field(visit.field("starts"))
        if starts is None:
            raise InputError(visit.words.gettext("Write day and time like 2026-12-01T09:00."))
        decisions.change(runtime, edition, EditionChanges(starts=starts), now, who)
        said = "postponed"
    elif action == "send_back":
        runtime.editions.send_back(edition, visit.field("comment", 2_000), now, who)
        said = "sent_back"
    elif (decision := decisions.DECISIONS.get(action)) is not None:
        if action == "cancel" and edition.state not in (EditionState.HELD, EditionState.SENDING):
            raise RefusedError(visit.words.gettext("It can no longer be stopped."))
        if action != "cancel" and edition.state is not EditionState.HELD:
            raise RefusedError(visit.words.gettext("It is not held any more."))
        said = decisions.decide(runtime, edition, decision, now, who)
    else:
        return ""
    with runtime.store.write() as connection:
        visit.record(connection, f"edition.{said}", edition.name)
    return said


def change(visit: Visit) -> Response:
    """Reorder and drop stories, write notes and subjects. The edition is frozen again and stays held.

    The button `move` only shows the form again in the new order.
    """
    edition, words = _find(visit), visit.words
    if edition is None or edition.schedule not in visit.newsroom.schedules or not may_decide(visit, edition.schedule):
        return visit.not_found()
    with visit.runtime.store.read() as connection:
        is_same = visit.field("frozen") == frozen_digest(connection, edition.id)
        earlier = EditionChanges.of_request(editions.get_request(connection, edition.id))
    if not is_same:
        return _page(visit, edition, words.gettext("It has changed in the meantime. Please look at it again."), 409)
    wanted = _read_changes(visit, edition, earlier)
    if visit.field("move"):
        return _page(visit, edition, wanted=wanted)
    kept = [key for key in edition.stories if key not in wanted.drop]
    order = tuple(key for key in wanted.order if key not in wanted.drop)
    is_moved = list(order) != kept
    changes = EditionChanges(
        drop=wanted.drop,
        lead=order[0] if is_moved else "",
        order=order if is_moved and [key for key in kept if key != order[0]] != list(order[1:]) else (),
        subject={key: text for key, text in wanted.subject.items() if text != earlier.subject.get(key, "")},
        note={key: text for key, text in wanted.note.items() if text != earlier.note.get(key, "")},
    )
    if changes == EditionChanges():
        return visit.redirect(f"editions/{edition.name}#content", "unchanged")
    try:
        decisions.change(visit.runtime, edition, changes, visit.runtime.now(), visit.person.email)
    except (InputError, RefusedError) as error:
        return _page(visit, _find(visit) or edition, _refusal(visit, error), 422, wanted=wanted)
    with visit.runtime.store.write() as connection:
        visit.record(connection, "edition.changed", edition.name, changes.describe())
    # Otherwise the browser would keep its scroll position, and nobody would see the message at the top.
    return visit.redirect(f"editions/{edition.name}#content", "changed")


def _read_changes(visit: Visit, edition: Edition, earlier: EditionChanges) -> EditionChanges:
    """Return the values of the form: the order of all stories, after a `move`, and all texts."""
    languages = visit.newsroom.site.languages
    order = [key for key in dict.fromkeys(visit.fields.get("order", [])) if key in edition.stories]
    order += [key for key in edition.stories if key not in order]
    way, _, key = visit.field("move").partition(":")
    if visit.field("lead") in order:
        way, key = "first", visit.field("lead")
    if key in order:
        place = order.index(key)
        order.remove(key)
        order.insert({"first": 0, "up": max(0, place - 1), "down": place + 1}.get(way, place), key)
    return EditionChanges(
        drop=tuple(key for key in visit.fields.get("drop", []) if key in edition.stories),
        order=tuple(order),
        subject={language: read_subject(visit, language, earlier) for language in languages},
        note={language: visit.field(f"note.{language}", 5_000).replace("\r\n", "\n") for language in languages},
    )


def read_subject(visit: Visit, language: str, earlier: EditionChanges) -> str:
    """Return the subject of the form, or the earlier change if the form sent the shown subject back."""
    text, shown = visit.field(f"subject.{language}", 300), visit.field(f"shown.{language}", 300)
    return earlier.subject.get(language, "") if shown and text == shown else text


def comment(visit: Visit) -> Response:
    """Add a comment to the edition's history, and notify the people under `notify`."""
    edition = _find(visit)
    if edition is None:
        return visit.not_found()
    text = visit.field("comment", 2_000)
    if not text:
        return visit.redirect(f"editions/{edition.name}#comments", "unchanged")
    visit.runtime.editions.comment(edition, text, visit.runtime.now(), visit.person.email)
    with visit.runtime.store.write() as connection:
        visit.record(connection, "edition.commented", edition.name)
    return visit.redirect(f"editions/{edition.name}#comments", "saved")


def send_test(visit: Visit) -> Response:
    """Send the frozen mails to the member's own address."""
    edition = _find(visit)
    if edition is None:
        return visit.not_found()
    with visit.runtime.store.write() as connection:
        _, count = queue_edition_test(connection, edition, visit.person.email, visit.runtime.now())
        visit.record(connection, "edition.tested", edition.name)
    return visit.redirect(f"editions/{edition.name}", "tested" if count else "unchanged")


def _refusal(visit: Visit, error: Exception) -> str:
    """Return the reason of a refusal, in the member's language if it is translated."""
    if isinstance(error, decisions.ComposingNowError):
        return visit.words.gettext("An edition is being built now. Please try again in a minute.")
    return str(error)


def _find(visit: Visit) -> Edition | None:
    name = f"{visit.params['schedule']}/{visit.params['number']}"
    if not may_see_schedule(visit, visit.params["schedule"]):
        return None
    with visit.runtime.store.read() as connection:
        return editions.find_edition_by_name(connection, name)


def _page(
    visit: Visit, edition: Edition, wrong: str = "", status: int = 200, *, wanted: EditionChanges | None = None
) -> Response:
    """Return the page. `wanted` has the values of the form that are not saved yet."""
    words, newsroom = visit.words, visit.newsroom
    schedule = newsroom.schedules.get(edition.schedule)
    with visit.runtime.store.read() as connection:
        counts = count_recipients(connection, edition.id)
        frozen = frozen_digest(connection, edition.id)
        history = editions.get_history(connection, edition.id)
        states = ledger.count_by_state(connection, edition=edition.id)
        titles = [(key, story_title(visit, connection, key)) for key in edition.stories]
        request = editions.get_request(connection, edition.id)
        changes = EditionChanges.of_request(request)
        may_change = edition.state is EditionState.HELD and not editions.has_begun(connection, edition.id)
        approvals = review.find_approvals(connection, edition, schedule) if schedule is not None else []
        lacking = count_lacking(connection, edition, schedule, visit.person.email)
    changes = wanted or changes
    held = edition.state is EditionState.HELD
    may = visit.may(Role.EDITOR) and may_decide(visit, edition.schedule)
    is_free = held and not any(hold.reason in review.BLOCKING for hold in edition.holds)
    approver = review.find_approver(schedule, visit.person.email) if review.waits_for_approval(edition) else ""
    ranks = {key: rank for rank, key in enumerate(wanted.order if wanted is not None else edition.stories)}
    texts = hold_texts(words)
    shown = reviewed_messages(visit.runtime, edition, visit.language)
    subjects = {message.language: message.subject for message in shown if message.is_mail}
    return visit.page(
        "edition.html.j2",
        f"{schedule_title(visit, edition.schedule)} {edition.number}",
        status,
        wrong=wrong,
        script=SCRIPT,
        edition=edition,
        state=edition_states(words)[edition.state],
        holds=[
            {
                "text": texts.get(hold.reason, words.gettext("It waits for a person.")),
                "detail": hold.detail,
                "story": _find_cause(visit, edition, hold),
            }
            for hold in edition.holds
        ],
        warnings=request.get("warnings", ()),
        is_held=held,
        may_decide=may,
        may_release=may and is_free and not approver and lacking <= 0,
        is_asked=held and bool(approver),
        may_approve=is_free and bool(approver) and approver not in approvals,
        is_last=lacking <= 0,
        approvals=approvals,
        needed=schedule.approval.needed if schedule is not None and schedule.approval is not None else 0,
        is_blocked=held and not is_free,
        may_change=may and may_change and schedule is not None,
        changes=[
            {
                "language": name,
                "subject": changes.subject.get(name, ""),
                "shown": subjects.get(name, ""),
                "note": changes.note.get(name, ""),
            }
            for name in newsroom.site.languages
        ],
        may_take_back=may and edition.state is EditionState.SENDING and edition.starts > visit.runtime.now(),
        is_postponing=visit.field("do") == "postpone",
        starts=visit.field("starts") or f"{edition.starts.astimezone(newsroom.site.zone):%Y-%m-%dT%H:%M}",
        may_stop=may and edition.state in (EditionState.HELD, EditionState.SENDING),
        at_once=goes_at_once(edition, visit.runtime.now()),
        silence=_silence(visit, edition, schedule),
        total=sum(count.count for count in counts),
        outlets=_outlets(visit, counts),
        titles=titles,
        arranged=sorted(titles, key=lambda title: ranks[title[0]]),
        dropped=wanted.drop if wanted is not None else (),
        is_unsaved=wanted is not None,
        moved=visit.field("move").partition(":")[2] if wanted is not None else "",
        history=[
            (datetime.fromisoformat(at), what, who) for at, what, who in history if not what.startswith(review.COMMENT)
        ],
        comments=[
            (datetime.fromisoformat(at), what.removeprefix(review.COMMENT), who)
            for at, what, who in history
            if what.startswith(review.COMMENT)
        ],
        frozen=frozen,
        shown=shown,
        **_progress_values(visit, edition, states),
    )


def _find_cause(visit: Visit, edition: Edition, hold: Hold) -> dict[str, str] | None:
    """Return title and path of the story with the picture or link that a failed check names, or None."""
    urls = _URL.findall(hold.detail) if hold.reason is HoldReason.GATE else []
    if not urls:
        return None
    with visit.runtime.store.read() as connection:
        items = [item for key in edition.stories for item in load_story(connection, key)]
    for item in items:
        shown = {image.src for image in item.images}
        if any(url in shown or url in item.body for url in urls):
            is_ours = visit.may(Role.WRITER) and stories.find_source(visit.runtime, item.ref) is not None
            path = f"stories/edit?file={quote(item.ref)}" if is_ours else f"stories/{quote(item.story, safe='')}"
            return {"title": item.title, "path": path}
    return None


def _silence(visit: Visit, edition: Edition, schedule: Schedule | None) -> str:
    """Return a sentence that says what happens if nobody decides."""
    if schedule is None or edition.state is not EditionState.HELD:
        return ""
    words = visit.words
    if review.is_sent_on_silence(edition, schedule):
        when = words.moment(review.approval_deadline(edition, schedule))
        return words.gettext("If nobody decides, it is sent on %(when)s.", when=when)
    return words.gettext("If nobody decides, it is not sent, and its stories join the next edition.")


def _outlets(visit: Visit, counts: list[editions.RecipientCount]) -> list[dict[str, object]]:
    """Return the recipients by outlet, each with its languages."""
    rows: dict[str, Counter[str]] = {}
    for count in counts:
        rows.setdefault(count.outlet, Counter())[count.language] += count.count
    return [
        {
            "kind": outlet.partition(":")[0],
            "name": outlet.partition(":")[2],
            "title": list_title(visit, outlet.partition(":")[2]),
            "languages": dict(languages),
            "total": languages.total(),
        }
        for outlet, languages in rows.items()
    ]


def _results(words: RoomWords, states: dict[str, int]) -> list[tuple[str, int]]:
    names = delivery_states(words)
    return [(names.get(state, state), count) for state, count in states.items() if count]


def edition_states(words: RoomWords) -> dict[EditionState, str]:
    """Return the names of an edition's states."""
    return {
        EditionState.COMPOSING: words.gettext("being built"),
        EditionState.HELD: words.gettext("waits for a decision"),
        EditionState.SENDING: words.gettext("released"),
        EditionState.DONE: words.gettext("sent"),
        EditionState.CANCELLED: words.gettext("cancelled"),
        EditionState.SUPERSEDED: words.gettext("replaced by a newer one"),
    }


def delivery_states(words: RoomWords) -> dict[str, str]:
    """Return the names of a delivery's states."""
    return {
        "pending": words.gettext("waiting"),
        "leased": words.gettext("waiting"),
        "handed": words.gettext("being sent"),
        "accepted": words.gettext("accepted"),
        "deferred": words.gettext("tried again later"),
        "rejected": words.gettext("refused"),
        "in_doubt": words.gettext("in doubt"),
        "skipped": words.gettext("not sent, with a reason"),
        "cancelled": words.gettext("cancelled"),
        "quarantined": words.gettext("failed too often"),
    }


def skip_texts(words: RoomWords) -> dict[str, str]:
    """Return the text for each reason in the ledger why a delivery was not sent."""
    return {
        SkipReason.SUPPRESSED: words.gettext("This address must not get mail, because of a bounce or a complaint."),
        SkipReason.UNSUBSCRIBED: words.gettext("They had left the list."),
        SkipReason.NOT_CONFIRMED: words.gettext("They had not confirmed their subscription."),
        SkipReason.ERASED: words.gettext("The person was erased."),
        SkipReason.EXPIRED: words.gettext("The story had expired."),
        SkipReason.NOTHING_FOR_READER: words.gettext(
            "Nothing new in it: other topics, no translation, or all sent before."
        ),
        SkipReason.OTHER_LIST: words.gettext("They got the same edition through another list."),
        SkipReason.PAUSED: words.gettext("They had asked for a pause."),
        SkipReason.WITHDRAWN: words.gettext("A story in it was withdrawn."),
        SkipReason.OVER_LIMIT: words.gettext("The channel had all the posts that it may have."),
        SkipReason.UNTRANSLATED: words.gettext("The story waits for its translations."),
        SkipReason.UNANSWERABLE: words.gettext("The post that it replies to was not published."),
    }
