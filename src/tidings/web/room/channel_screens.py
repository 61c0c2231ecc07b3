"""The screens "Channels" and "Results": posts, deliveries in doubt, and the report of a period."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import islice
from typing import Any, Literal

from starlette.responses import Response

from tidings.model.delivery import DeliveryState, PostChange
from tidings.model.errors import InputError, RefusedError
from tidings.pipeline.deliver.corrections import allowed_changes, change_post
from tidings.pipeline.deliver.recovery import resolve_in_doubt
from tidings.runtime.monitoring.health import read_health
from tidings.runtime.report.report import PostRow, SkipRow, make_report
from tidings.runtime.team.rights import may_decide, may_see_schedule, may_settle
from tidings.store.content import editions
from tidings.store.delivery import ledger
from tidings.store.delivery.corrections import OnlinePost, find_online_post, list_post_changes
from tidings.store.delivery.ledger import LedgerEntry
from tidings.store.people.team import Role
from tidings.store.service import pauses
from tidings.store.service.clock import real_now
from tidings.store.service.pauses import Scope
from tidings.web.room.edition_screen import delivery_states, skip_texts
from tidings.web.room.today import edition_title, list_title, schedule_title, story_title
from tidings.web.room.visit import Visit

_RECENT = timedelta(days=30)
_MOST_POSTS = 10
_MOST_DOUBTS = 50
LARGEST_POST = 100_000
"""Largest form that corrects a post, in bytes."""
_PERIODS = (7, 30, 90, 365)
_PAGE = 100
"""Rows of a table on one page."""


def show_channels(visit: Visit) -> Response:
    """Show each channel with its newest posts, and every delivery that only a person can settle."""
    return _channels_page(visit)


def _channels_page(visit: Visit, wrong: str = "", status: int = 200) -> Response:
    runtime, newsroom = visit.runtime, visit.newsroom
    now = runtime.now()
    stalled = read_health(runtime, real_now()).stalled
    with runtime.store.read() as connection:
        report = make_report(connection, newsroom, now - _RECENT, None, now)
        active = [pause.name for pause in pauses.active_pauses(connection) if pause.scope is Scope.CHANNEL]
        changes = list_post_changes(connection, list(newsroom.channels))
        doubts = list(islice(ledger.entries(connection, state="in_doubt"), _MOST_DOUBTS))
    posts: dict[str, list[PostRow]] = {}
    for post in sorted(report.posts, key=lambda row: row.at, reverse=True):
        if may_see_schedule(visit, post.edition.partition("/")[0]):
            posts.setdefault(post.channel, []).append(post)
    shown = {name: rows[:_MOST_POSTS] for name, rows in posts.items()}
    titles: dict[str, str] = {}
    with runtime.store.read() as connection:
        for story in {post.story for rows in shown.values() for post in rows if post.story}:
            titles[story] = story_title(visit, connection, story)
    return visit.page(
        "channels.html.j2",
        visit.words.gettext("Channels"),
        status,
        wrong=wrong,
        channels=[
            {
                "name": name,
                "type": settings.type,
                "stalled": stalled.get(name, ""),
                "is_paused": name in active,
                "posts": [_shown_post(visit, post, changes, titles) for post in shown.get(name, [])],
            }
            for name, settings in newsroom.channels.items()
            if settings.POSTS
        ],
        mail_stalled=stalled.get("", ""),
        doubts=[_shown_doubt(visit, entry) for entry in doubts if may_settle(visit, entry)],
        may_pause=visit.may(Role.EDITOR) and not visit.person.lists,
    )


def _shown_post(
    visit: Visit, post: PostRow, changes: dict[int, list[tuple[str, str, str]]], titles: dict[str, str]
) -> dict[str, Any]:
    schedule, _, number = post.edition.partition("/")
    states, words = delivery_states(visit.words), visit.words
    names = {
        PostChange.EDIT.value: words.gettext("corrected"),
        PostChange.REPLY.value: words.gettext("answered with the correction"),
        PostChange.TAKE_DOWN.value: words.gettext("taken down"),
    }
    done = changes.get(post.delivery, [])
    is_gone = any(kind == PostChange.TAKE_DOWN and state != DeliveryState.REJECTED for kind, state, _ in done)
    may = visit.may(Role.EDITOR) and may_decide(visit, schedule) and post.state == "accepted" and not is_gone
    why = skip_texts(words).get(post.reason, "")
    ways = allowed_changes(visit.runtime.channels.get(post.channel)) if may else []
    return {
        "delivery": post.delivery,
        "changes": [
            {"text": f"{names.get(kind, kind)}: {states.get(state, state)}", "reason": reason}
            for kind, state, reason in done
        ],
        "may_edit": PostChange.EDIT in ways,
        "may_take_down": PostChange.TAKE_DOWN in ways,
        "by_hand": may and not ways,
        "at": post.at,
        "edition": f"{schedule_title(visit, schedule)} {number}",
        "path": f"editions/{post.edition}",
        "state": delivery_states(visit.words).get(post.state, post.state),
        "is_good": post.state == "accepted",
        "link": post.link if post.link.startswith("http") else "",
        "language": post.language,
        "story": titles.get(post.story) or post.story,
        "why": why,
        "reason": "" if why else post.reason,
    }


def _shown_doubt(visit: Visit, entry: LedgerEntry) -> dict[str, Any]:
    words = visit.words
    what = (
        words.gettext("Channel %(name)s", name=entry.channel)
        if entry.channel
        else words.gettext("List %(name)s", name=entry.list)
    )
    return {"entry": entry, "what": what, "path": f"editions/{entry.edition}" if entry.edition else ""}


def change(visit: Visit) -> Response:
    """Correct the text of a post or take it down, depending on the button's `do`, if the network allows it."""
    runtime, way, post = visit.runtime, visit.field("do"), _find_post(visit, visit.field("delivery"))
    if post is None or way not in (PostChange.EDIT, PostChange.TAKE_DOWN):
        return visit.not_found()
    text, now = visit.field("text", LARGEST_POST).replace("\r\n", "\n"), runtime.now()
    try:
        change_post(runtime.store, visit.newsroom, runtime.channels, post.delivery, PostChange(way), now, text)
    except (InputError, RefusedError) as error:
        return _post_page(visit, post, str(error), text)
    with runtime.store.write() as connection:
        action = "delivery.edited" if way == "edit" else "delivery.taken_down"
        visit.record(connection, action, f"{post.channel} {post.delivery}", text[:200] if way == "edit" else "")
    return visit.redirect("channels", "post_changed")


def show_post(visit: Visit) -> Response:
    """Show one post that is online, with the form that corrects it."""
    post = _find_post(visit, visit.params["delivery"])
    return visit.not_found() if post is None else _post_page(visit, post)


def _find_post(visit: Visit, number: str) -> OnlinePost | None:
    """Return a post that the member may change, or None."""
    if not (number.isascii() and number.isdigit() and len(number) < 16):
        return None
    with visit.runtime.store.read() as connection:
        post = find_online_post(connection, int(number))
    is_ours = post is not None and post.channel in visit.runtime.channels and may_decide(visit, post.schedule)
    return post if is_ours else None


def _post_page(visit: Visit, post: OnlinePost, wrong: str = "", written: str = "") -> Response:
    with visit.runtime.store.read() as connection:
        body = editions.get_rendition(connection, post.rendition).raw
    channel = visit.runtime.channels[post.channel]
    ways = allowed_changes(channel)
    return visit.page(
        "post.html.j2",
        visit.words.gettext("Correct a post"),
        409 if wrong else 200,
        wrong=wrong,
        post=post,
        text=channel.text(body),
        written=written or channel.text(body),
        length=channel.length(body),
        limit=channel.capabilities.max_length,
        may_edit=PostChange.EDIT in ways,
        may_take_down=PostChange.TAKE_DOWN in ways,
    )


def resolve(visit: Visit) -> Response:
    """Settle a delivery in doubt: mark it as arrived, send it again, or leave it."""
    words, number, how = visit.words, visit.field("delivery"), visit.field("do")
    ways: dict[str, Literal["accepted", "resend", "cancel"]] = {
        "accepted": "accepted",
        "resend": "resend",
        "cancel": "cancel",
    }
    if how not in ways or not (number.isascii() and number.isdigit() and len(number) < 16):
        return visit.not_found()
    with visit.runtime.store.read() as connection:
        known = next((one for one in ledger.entries(connection, state="in_doubt") if one.id == int(number)), None)
    if known is None:
        return _channels_page(visit, words.gettext("This was settled already."), 409)
    if not may_settle(visit, known):
        return visit.not_found()
    try:
        url, now = visit.field("url", 2_000), visit.runtime.now()
        resolve_in_doubt(visit.runtime.store, visit.runtime.channels, known.id, ways[how], now, url=url)
    except (InputError, RefusedError) as error:
        return _channels_page(visit, str(error), 409)
    with visit.runtime.store.write() as connection:
        visit.record(connection, "delivery.resolved", f"{known.edition or known.purpose} {known.id}", how)
    return visit.redirect("channels", "settled")


def show_results(visit: Visit) -> Response:
    """Show the report of a period, by edition, language and list."""
    text = visit.query.get("days", "")
    days = int(text) if text in map(str, _PERIODS) else 30
    now: datetime = visit.runtime.now()
    with visit.runtime.store.read() as connection:
        report = make_report(connection, visit.newsroom, now - timedelta(days=days), None, now)
    mails = [row for row in report.mail if visit.person.may_see_list(row.list)]
    largest = max((row.accepted for row in mails), default=0) or 1
    page = visit.query.get("page", "")
    number = int(page) if page.isascii() and page.isdigit() and len(page) < 6 else 0
    mails.sort(key=lambda row: (row.at, row.language), reverse=True)
    skipped = [] if visit.person.lists else report.skipped[::-1]
    return visit.page(
        "results.html.j2",
        visit.words.gettext("Results"),
        days=days,
        periods=_PERIODS,
        mails=[
            {
                "row": row,
                "list": list_title(visit, row.list),
                "title": f"{schedule_title(visit, row.edition.partition('/')[0])} {row.edition.partition('/')[2]}",
                "path": f"editions/{row.edition}",
                "share": round(100 * row.accepted / largest),
            }
            for row in mails[number * _PAGE : (number + 1) * _PAGE]
        ],
        page_number=number,
        has_more=len(mails) > (number + 1) * _PAGE,
        totals={
            key: sum(getattr(row, key) for row in mails)
            for key in ("accepted", "hard", "soft", "complaints", "rejected", "waiting")
        },
        lists=[
            {"row": row, "title": list_title(visit, row.list)}
            for row in report.lists
            if visit.person.may_see_list(row.list)
        ],
        skipped=[_shown_skip(visit, row) for row in skipped[:_PAGE]],
        more_skipped=max(0, len(skipped) - _PAGE),
    )


def _shown_skip(visit: Visit, row: SkipRow) -> dict[str, Any]:
    """Return what was not sent, with the titles of schedules and editions, and why."""
    words, (kind, _, name) = visit.words, row.what.rpartition(" of ")
    if kind == "slot":
        what = words.gettext("One time of %(schedule)s", schedule=schedule_title(visit, name))
    else:
        title = edition_title(visit, name)
        what = words.gettext("Readers of %(edition)s", edition=title) if kind else title
    why = skip_texts(words).get(row.reason.replace(" ", "_"), "")
    return {"what": what, "at": row.at, "why": why, "reason": "" if why else row.reason, "count": row.count}
