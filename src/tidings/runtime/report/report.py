"""`tidings report`: counts of mails, bounces, posts and readers in a period, and what was not sent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from tidings.config.settings import Newsroom
from tidings.model.dates import format_utc
from tidings.model.edition import Edition, EditionState
from tidings.model.text import format_csv_line
from tidings.store.content import editions
from tidings.store.delivery import report as counted
from tidings.store.delivery.report import MailCountKey


@dataclass(slots=True)
class MailRow:
    """An edition to a list in one language. `joined` and `left` count until the next edition to that list."""

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
        return self.hard + self.soft + self.complaints


@dataclass(frozen=True, slots=True)
class PostRow:
    """A post. `link` is '' if the network returned no URL."""

    edition: str
    at: datetime
    channel: str
    language: str
    story: str
    state: str
    link: str
    reason: str
    delivery: int = 0


@dataclass(frozen=True, slots=True)
class SkipRow:
    """A slot or an edition that was not sent, or `count` readers who did not get one."""

    what: str
    at: datetime
    reason: str
    count: int = 0


@dataclass(frozen=True, slots=True)
class ListRow:
    """The readers who joined and left a list in the whole period, in one language."""

    list: str
    language: str
    joined: int
    left: int


@dataclass(slots=True)
class Report:
    """The result. `since` or `until` is None if the period is open."""

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
        """Return the output of `tidings report --json`."""
        mail = [asdict(row) | {"returned": row.returned} for row in self.mail]
        return asdict(self) | {"mail": mail}


def make_report(
    connection: Connection, newsroom: Newsroom, since: datetime | None, until: datetime | None, now: datetime
) -> Report:
    """Report on the editions that start in [since, until)."""
    default = newsroom.site.languages[0]
    report = Report(newsroom.site.title.get(default, default), newsroom.site.timezone, since, until, now)
    within = {
        edition.id: edition
        for edition in editions.list_editions(connection)
        if (since is None or edition.starts >= since) and (until is None or edition.starts < until)
    }
    counts = counted.count_mails(connection, list(within))
    moves = counted.load_moves(connection, since, until, [edition.starts for edition in within.values()])
    report.mail = list(_mail(within, counts, moves))
    report.posts = [
        PostRow(
            within[post.edition].name,
            post.at,
            post.channel,
            post.language,
            post.story,
            post.state,
            post.receipt if post.receipt.startswith(("https://", "http://")) else "",
            post.reason,
            post.delivery,
        )
        for post in counted.list_posts(connection, list(within))
    ]
    report.skipped = sorted(_skipped(connection, report, within, counts), key=lambda row: (row.at, row.what))
    report.lists = [
        ListRow(
            name,
            language,
            moves.count(name, language, joined=True),
            moves.count(name, language, joined=False),
        )
        for name, language in moves.lists()
    ]
    return report


def _mail(within: Mapping[int, Edition], counts: Counter[MailCountKey], moves: counted.ListMoves) -> Iterator[MailRow]:
    by_edition: dict[int, dict[tuple[str, str], MailRow]] = {}
    for key, count in counts.items():
        if not key.language:
            # Skipped before a language was chosen: listed under `skipped`.
            continue
        edition = within[key.edition]
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
    ends: dict[str, datetime] = {}
    result: list[MailRow] = []
    for edition in sorted(within.values(), key=lambda edition: (edition.starts, edition.id), reverse=True):
        rows = by_edition.get(edition.id, {})
        for (list_name, language), row in sorted(rows.items(), reverse=True):
            until = ends.get(list_name)
            row.joined = moves.count(list_name, language, joined=True, since=edition.starts, until=until)
            row.left = moves.count(list_name, language, joined=False, since=edition.starts, until=until)
            result.append(row)
        ends |= {list_name: edition.starts for list_name, _ in rows}
    yield from reversed(result)


def _skipped(
    connection: Connection, report: Report, within: Mapping[int, Edition], counts: Counter[MailCountKey]
) -> Iterator[SkipRow]:
    for schedule, slot, state, reason in counted.list_skipped_slots(connection, report.since, report.until):
        yield SkipRow(f"slot of {schedule}", slot, reason or state)
    for edition in within.values():
        if edition.state is EditionState.HELD:
            yield SkipRow(edition.name, edition.starts, "held: " + "; ".join(hold.detail for hold in edition.holds))
        elif edition.state in (EditionState.CANCELLED, EditionState.SUPERSEDED):
            last = editions.get_history(connection, edition.id)[-1]
            yield SkipRow(edition.name, edition.starts, f"{last[1]} ({last[2]})")
    readers: Counter[tuple[int, str]] = Counter()
    for key, count in counts.items():
        if key.state == "skipped":
            readers[key.edition, key.reason] += count
    for (number, reason), count in readers.items():
        edition = within[number]
        yield SkipRow(f"readers of {edition.name}", edition.starts, reason.replace("_", " "), count)


_COLUMNS = (
    "what", "name", "at", "outlet", "language", "accepted", "hard", "soft", "complaints", "rejected", "waiting",
    "joined", "left", "count", "state", "link", "reason",
)  # fmt: skip


def as_csv(report: Report) -> str:
    """Return one table whose column `what` is mail, post, skipped or list. No cell is a formula."""
    rows: list[dict[str, Any]] = []
    for mail in report.mail:
        rows.append(asdict(mail) | {"what": "mail", "name": mail.edition, "outlet": mail.list})
    for post in report.posts:
        reason = post.reason or (f"story {post.story}" if post.story else "")
        rows.append(asdict(post) | {"what": "post", "name": post.edition, "outlet": post.channel, "reason": reason})
    for skip in report.skipped:
        rows.append(asdict(skip) | {"what": "skipped", "name": skip.what, "count": skip.count or ""})
    for row in report.lists:
        rows.append(asdict(row) | {"what": "list", "name": row.list, "outlet": row.list})
    lines = [format_csv_line(_COLUMNS)]
    for values in rows:
        if isinstance(values.get("at"), datetime):
            values["at"] = format_utc(values["at"])
        lines.append(format_csv_line(str(values.get(column, "")) for column in _COLUMNS))
    return "".join(lines)
