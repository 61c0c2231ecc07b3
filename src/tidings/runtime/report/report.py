"""`tidings report`: what went out, to how many, what came back, who came and went, and what did not go and why."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from tidings.config.settings import Newsroom
from tidings.model.edition import Edition, EditionState
from tidings.model.text import format_csv_line
from tidings.store.content import editions
from tidings.store.delivery import report as counted
from tidings.store.delivery.report import MailCountKey


@dataclass(slots=True)
class MailRow:
    """An edition to a list in one language. Joined and left: from it until the next edition to that list."""

    edition: str
    at: datetime
    list: str
    language: str
    state: str
    accepted: int = 0
    hard: int = 0
    soft: int = 0
    complaints: int = 0
    rejected: int = 0
    waiting: int = 0
    joined: int = 0
    left: int = 0

    @property
    def returned(self) -> int:
        """All that came back."""
        return self.hard + self.soft + self.complaints


@dataclass(frozen=True, slots=True)
class PostRow:
    """A post; `link` is '' where the other side gave no address."""

    edition: str
    at: datetime
    channel: str
    language: str
    story: str
    state: str
    link: str
    reason: str


@dataclass(frozen=True, slots=True)
class SkipRow:
    """What did not go: a slot, an edition, or `count` readers of an edition."""

    what: str
    at: datetime
    reason: str
    count: int = 0


@dataclass(frozen=True, slots=True)
class ListRow:
    """Who joined and left a list in the whole period, in one language."""

    list: str
    language: str
    joined: int
    left: int


@dataclass(slots=True)
class Report:
    """`since` and `until` are None where the period is open."""

    title: str
    zone: str
    since: datetime | None
    until: datetime | None
    made: datetime
    mail: list[MailRow] = field(default_factory=list)
    posts: list[PostRow] = field(default_factory=list)
    skipped: list[SkipRow] = field(default_factory=list)
    lists: list[ListRow] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Plain data but for moments."""
        mail = [asdict(row) | {"returned": row.returned} for row in self.mail]
        return asdict(self) | {"mail": mail}


def make_report(
    connection: Connection, newsroom: Newsroom, since: datetime | None, until: datetime | None, now: datetime
) -> Report:
    """Of the editions whose moment lies in [since, until)."""
    default = newsroom.site.languages[0]
    report = Report(newsroom.site.title.get(default, default), newsroom.site.timezone, since, until, now)
    every = editions.list_editions(connection)
    within = [one for one in every if (since is None or one.starts >= since) and (until is None or one.starts < until)]
    names = {one.id: one for one in within}
    counts = counted.count_mails(connection, list(names))
    moved = counted.list_moves(connection, since, until)
    report.mail = list(_mail(within, counts, moved))
    report.posts = [
        PostRow(
            names[one.edition].name,
            one.at,
            one.channel,
            one.language,
            one.story,
            one.state,
            one.receipt if one.receipt.startswith(("https://", "http://")) else "",
            one.reason,
        )
        for one in counted.list_posts(connection, list(names))
    ]
    report.skipped = sorted(_skipped(connection, report, within, counts), key=lambda row: (row.at, row.what))
    total = Counter((one.list, one.language, one.joined) for one in moved)
    report.lists = [
        ListRow(name, language, total[name, language, True], total[name, language, False])
        for name, language in sorted({(one.list, one.language) for one in moved})
    ]
    return report


def _mail(within: list[Edition], counts: Counter[MailCountKey], moved: list[counted.ListMove]) -> Iterator[MailRow]:
    by_edition: dict[int, dict[tuple[str, str], MailRow]] = {}
    known = {one.id: one for one in within}
    for key, count in counts.items():
        if not key.language:
            # Skipped before a language was chosen: told beside what did not go.
            continue
        edition = known[key.edition]
        row = by_edition.setdefault(key.edition, {}).setdefault(
            (key.list, key.language),
            MailRow(edition.name, edition.starts, key.list, key.language, edition.state.value),
        )
        if key.state == "accepted":
            row.accepted += count
            row.hard += count if key.returned == "hard" else 0
            row.soft += count if key.returned == "soft" else 0
            row.complaints += count if key.returned == "complaint" else 0
        elif key.state == "rejected":
            row.rejected += count
        elif key.state not in ("skipped", "cancelled"):
            row.waiting += count
    came: dict[tuple[str, str, bool], list[datetime]] = {}
    for one in moved:
        came.setdefault((one.list, one.language, one.joined), []).append(one.at)
    ends: dict[str, datetime] = {}
    found: list[MailRow] = []
    for edition in sorted(within, key=lambda one: (one.starts, one.id), reverse=True):
        rows = by_edition.get(edition.id, {})
        for (list_name, language), row in sorted(rows.items(), reverse=True):
            until = ends.get(list_name)
            row.joined = _between(came.get((list_name, language, True), []), edition.starts, until)
            row.left = _between(came.get((list_name, language, False), []), edition.starts, until)
            found.append(row)
        ends |= {list_name: edition.starts for list_name, _ in rows}
    yield from reversed(found)


def _between(moments: list[datetime], since: datetime, until: datetime | None) -> int:
    """How many of these, which are in order, lie in [since, until)."""
    end = len(moments) if until is None else bisect_left(moments, until)
    return max(0, end - bisect_left(moments, since))


def _skipped(
    connection: Connection, report: Report, within: list[Edition], counts: Counter[MailCountKey]
) -> Iterator[SkipRow]:
    for schedule, slot, state, reason in counted.list_skipped_slots(connection, report.since, report.until):
        yield SkipRow(f"slot of {schedule}", slot, reason or state)
    known = {one.id: one for one in within}
    for one in within:
        if one.state is EditionState.HELD:
            yield SkipRow(one.name, one.starts, "held: " + "; ".join(hold.detail for hold in one.holds))
        elif one.state in (EditionState.CANCELLED, EditionState.SUPERSEDED):
            last = editions.get_history(connection, one.id)[-1]
            yield SkipRow(one.name, one.starts, f"{last[1]} ({last[2]})")
    readers: Counter[tuple[int, str]] = Counter()
    for key, count in counts.items():
        if key.state == "skipped":
            readers[key.edition, key.reason] += count
    for (edition, reason), count in readers.items():
        yield SkipRow(f"readers of {known[edition].name}", known[edition].starts, reason.replace("_", " "), count)


_COLUMNS = (
    "what", "name", "at", "outlet", "language", "accepted", "hard", "soft", "complaints", "rejected", "waiting",
    "joined", "left", "count", "state", "link", "reason",
)  # fmt: skip


def as_csv(report: Report) -> str:
    """One table: `what` is mail, post, skipped or list. No cell is one that a spreadsheet would run."""
    rows: list[dict[str, Any]] = []
    for mail in report.mail:
        values = asdict(mail)
        rows.append(values | {"what": "mail", "name": mail.edition, "outlet": mail.list})
    for post in report.posts:
        reason = post.reason or (f"story {post.story}" if post.story else "")
        values = asdict(post) | {"what": "post", "name": post.edition, "outlet": post.channel, "reason": reason}
        rows.append(values)
    for skip in report.skipped:
        rows.append(asdict(skip) | {"what": "skipped", "name": skip.what, "count": skip.count or ""})
    for one in report.lists:
        rows.append(asdict(one) | {"what": "list", "name": one.list, "outlet": one.list})
    lines = [format_csv_line(_COLUMNS)]
    for row in rows:
        if isinstance(row.get("at"), datetime):
            row["at"] = row["at"].isoformat().replace("+00:00", "Z")
        lines.append(format_csv_line(str(row.get(column, "")) for column in _COLUMNS))
    return "".join(lines)
