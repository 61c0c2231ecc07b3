"""Channels and Results: what was posted and mailed, what is in doubt and how it is settled, and the figures."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import islice
from typing import Any, Literal

from starlette.responses import Response

from tidings.model.errors import InputError, RefusedError
from tidings.pipeline.deliver.recovery import resolve_in_doubt
from tidings.runtime.monitoring.health import read_health
from tidings.runtime.report.report import PostRow, make_report
from tidings.store.delivery import ledger
from tidings.store.delivery.ledger import LedgerEntry
from tidings.store.people.team import Role
from tidings.store.service import pauses
from tidings.store.service.clock import real_now
from tidings.store.service.pauses import Scope
from tidings.web.room.edition_screen import delivery_states
from tidings.web.room.today import Asker, may_see_schedule, schedule_title
from tidings.web.room.visit import Visit

_RECENT = timedelta(days=30)
_MOST_POSTS = 10
_MOST_DOUBTS = 50
_PERIODS = (7, 30, 90, 365)


def show_channels(visit: Visit) -> Response:
    """Each channel with its newest posts, and every delivery that only a person can settle."""
    return _channels_page(visit)


def _channels_page(visit: Visit, wrong: str = "", status: int = 200) -> Response:
    runtime, newsroom = visit.runtime, visit.newsroom
    now = runtime.now()
    stalled = read_health(runtime, real_now()).stalled
    with runtime.store.read() as connection:
        report = make_report(connection, newsroom, now - _RECENT, None, now)
        active = [pause.name for pause in pauses.active_pauses(connection) if pause.scope is Scope.CHANNEL]
        doubts = list(islice(ledger.entries(connection, state="in_doubt"), _MOST_DOUBTS))
    posts: dict[str, list[PostRow]] = {}
    for post in sorted(report.posts, key=lambda row: row.at, reverse=True):
        if may_see_schedule(visit, post.edition.partition("/")[0]):
            posts.setdefault(post.channel, []).append(post)
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
                "posts": [_shown_post(visit, post) for post in posts.get(name, [])[:_MOST_POSTS]],
            }
            for name, settings in newsroom.channels.items()
            if settings.POSTS
        ],
        mail_stalled=stalled.get("", ""),
        doubts=[_shown_doubt(visit, entry) for entry in doubts if may_settle(visit, entry)],
        may_pause=visit.may(Role.EDITOR) and not visit.person.lists,
    )


def _shown_post(visit: Visit, post: PostRow) -> dict[str, Any]:
    schedule, _, number = post.edition.partition("/")
    return {
        "at": post.at,
        "edition": f"{schedule_title(visit, schedule)} {number}",
        "path": f"editions/{post.edition}",
        "state": delivery_states(visit.words).get(post.state, post.state),
        "is_good": post.state == "accepted",
        "link": post.link if post.link.startswith("http") else "",
        "language": post.language,
        "story": post.story,
        "reason": post.reason,
    }


def _shown_doubt(visit: Visit, entry: LedgerEntry) -> dict[str, Any]:
    words = visit.words
    what = (
        words.gettext("Channel %(name)s", name=entry.channel)
        if entry.channel
        else words.gettext("List %(name)s", name=entry.list)
    )
    return {"entry": entry, "what": what, "path": f"editions/{entry.edition}" if entry.edition else ""}


def may_settle(visit: Asker, entry: LedgerEntry) -> bool:
    """Whether a delivery concerns the lists of the member."""
    return visit.person.may_see_list(entry.list) if entry.list else may_see_schedule(visit, entry.schedule)


def resolve(visit: Visit) -> Response:
    """Settle a delivery in doubt: it arrived, it is sent again, or it is left."""
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
    """The report of a period, by edition, language and list."""
    text = visit.query.get("days", "")
    days = int(text) if text in map(str, _PERIODS) else 30
    now: datetime = visit.runtime.now()
    with visit.runtime.store.read() as connection:
        report = make_report(connection, visit.newsroom, now - timedelta(days=days), None, now)
    mails = [row for row in report.mail if visit.person.may_see_list(row.list)]
    largest = max((row.accepted for row in mails), default=0) or 1
    return visit.page(
        "results.html.j2",
        visit.words.gettext("Results"),
        days=days,
        periods=_PERIODS,
        mails=[
            {
                "row": row,
                "title": f"{schedule_title(visit, row.edition.partition('/')[0])} {row.edition.partition('/')[2]}",
                "path": f"editions/{row.edition}",
                "share": round(100 * row.accepted / largest),
            }
            for row in sorted(mails, key=lambda row: (row.at, row.language), reverse=True)
        ],
        totals={
            key: sum(getattr(row, key) for row in mails)
            for key in ("accepted", "hard", "soft", "complaints", "rejected", "waiting")
        },
        lists=[row for row in report.lists if visit.person.may_see_list(row.list)],
        skipped=[] if visit.person.lists else report.skipped,
    )
