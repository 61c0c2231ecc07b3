"""Mail the reviewers of `approval: {by}`: the edition, its recipients, the effect of no answer, and a link.

Opening the link decides nothing. The decision is a button on `/review/{token}`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from tidings.config.schedule import Schedule
from tidings.config.settings import Newsroom
from tidings.model.delivery import Purpose
from tidings.model.edition import Edition, EditionState, Hold, HoldReason
from tidings.model.tokens import TokenKeys, TokenPurpose
from tidings.render.i18n import format_count, format_datetime, language_name, load_catalogue
from tidings.store.content import editions
from tidings.store.content.editions import RecipientCount, ShownStory, count_recipients
from tidings.store.delivery import ledger
from tidings.store.people import subscribers
from tidings.store.people.consent import address_hash

_MARK = 16
COMMENT = "comment: "
"""Prefix of the events in an edition's history that are comments."""
BLOCKING = (HoldReason.GATE, HoldReason.WITHDRAWN, HoldReason.SENT_BACK)
"""Holds that prevent a release."""


@dataclass(frozen=True, slots=True)
class ReviewClaim:
    """The reviewer and the edition of a review token."""

    edition: int
    reviewer: str


def review_url(newsroom: Newsroom, keys: TokenKeys, edition: int, reviewer: str) -> str:
    """Return the reviewer's personal link. Its token contains a hash of the address, never the address."""
    return f"{newsroom.site.url}review/{keys.sign(TokenPurpose.REVIEW, edition, _mark(reviewer))}"


def verify_review_token(connection: Connection, newsroom: Newsroom, keys: TokenKeys, token: str) -> ReviewClaim | None:
    """Return the claim of a token, or None if it is invalid or its reviewer may no longer decide."""
    claim = keys.verify(TokenPurpose.REVIEW, token)
    if claim is None:
        return None
    edition = editions.find_edition_by_id(connection, claim.subscriber)
    schedule = newsroom.schedules.get(edition.schedule) if edition is not None else None
    if schedule is None or schedule.approval is None:
        return None
    named = [address for address in schedule.approval.by if _mark(address) == claim.list]
    return ReviewClaim(claim.subscriber, named[0]) if named else None


def _mark(address: str) -> str:
    return address_hash(address)[:_MARK]


def approval_deadline(edition: Edition, schedule: Schedule) -> datetime:
    """Return when the time to answer ends: at the slot, or `ahead` after composing if the slot had passed."""
    ahead = schedule.approval.ahead if schedule.approval is not None else timedelta(0)
    return edition.starts if edition.starts > edition.cutoff else edition.cutoff + ahead


def is_sent_on_silence(edition: Edition, schedule: Schedule) -> bool:
    """Whether the edition is sent if nobody answers."""
    silence = schedule.approval.silence if schedule.approval is not None else "hold"
    return silence == "send" and {hold.reason for hold in edition.holds} <= {HoldReason.APPROVAL}


def find_reviewer_language(connection: Connection, newsroom: Newsroom, reviewer: str) -> str:
    """Return the language that a reviewer reads as a subscriber, else the site's first language."""
    languages = {each.language for each in subscribers.subscriptions(connection, address=reviewer)}
    return next((each for each in newsroom.site.languages if each in languages), newsroom.site.languages[0])


def find_approver(schedule: Schedule | None, address: str) -> str:
    """Return an address as `approval: {by}` writes it, or '' if it is not there. Ignores upper case."""
    by = schedule.approval.by if schedule is not None and schedule.approval is not None else ()
    return next((each for each in by if each.casefold() == address.casefold()), "")


def find_approvals(connection: Connection, edition: Edition, schedule: Schedule) -> list[str]:
    """Return the people who have approved exactly these frozen bytes, and still may."""
    if schedule.approval is None:
        return []
    event = _approved(connection, edition)
    history = editions.get_history(connection, edition.id)
    return [*dict.fromkeys(filter(None, (find_approver(schedule, who) for _, what, who in history if what == event)))]


def waits_for_approval(edition: Edition) -> bool:
    """Whether people must approve the edition before it is sent."""
    return any(hold.reason is HoldReason.APPROVAL for hold in edition.holds)


def is_one_of_several(connection: Connection, edition: Edition, schedule: Schedule, who: str) -> bool:
    """Whether a release by this person is an approval that still needs others."""
    approval, approver = schedule.approval, find_approver(schedule, who)
    if approval is None or not approver or not waits_for_approval(edition):
        return False
    return len({*find_approvals(connection, edition, schedule), approver}) < approval.needed


def record_approval(connection: Connection, edition: Edition, schedule: Schedule, now: datetime, who: str) -> Edition:
    """Record that a person approved a held edition that others must approve too. A repeat changes nothing."""
    approvals, who = find_approvals(connection, edition, schedule), find_approver(schedule, who)
    if schedule.approval is None or who in approvals:
        return edition
    waiting = [address for address in schedule.approval.by if address not in (*approvals, who)]
    detail = f"{len(approvals) + 1} of {schedule.approval.needed} approved it; waits for {', '.join(waiting)}"
    holds = [Hold(hold.reason, detail) if hold.reason is HoldReason.APPROVAL else hold for hold in edition.holds]
    event = _approved(connection, edition)
    return editions.set_state(connection, edition, edition.state, now=now, what=event, who=who, holds=holds)


def _approved(connection: Connection, edition: Edition) -> str:
    return f"approved {editions.frozen_digest(connection, edition.id)[:12]}"


def describe_review(
    edition: Edition,
    schedule: Schedule,
    newsroom: Newsroom,
    counts: Sequence[RecipientCount],
    language: str,
    approvals: Sequence[str] = (),
) -> list[str]:
    """Describe recipients, due time, blocking holds and the effect of no answer, in the reviewer's language."""
    zone = newsroom.site.timezone
    words = load_catalogue(language)
    lines = []
    lists = [count for count in counts if count.outlet.startswith("list:")]
    total = sum(count.count for count in lists)
    if lists:
        by_language: dict[str, int] = {}
        for count in lists:
            by_language[count.language] = by_language.get(count.language, 0) + count.count
        parts = ", ".join(
            f"{language_name(key)} {format_count(number, language)}" for key, number in by_language.items()
        )
        text = words.ngettext("It goes to %(count)s reader", "It goes to %(count)s readers", total)
        lines.append(f"{text % {'count': format_count(total, language)}}: {parts}.")
    channels = list(dict.fromkeys(count.outlet.partition(":")[2] for count in counts if count not in lists))
    if channels:
        lines.append(words.gettext("It is posted to: %(channels)s.") % {"channels": ", ".join(channels)})
    if edition.starts > edition.cutoff:
        due = format_datetime(edition.starts, language, zone)
        lines.append(words.gettext("It is due on %(when)s.") % {"when": due})
    else:
        lines.append(words.gettext("Once released, it goes at once."))
    blocking = [hold.detail for hold in edition.holds if hold.reason is not HoldReason.APPROVAL]
    if any(hold.reason in BLOCKING for hold in edition.holds):
        lines.append(words.gettext("It cannot go yet: %(reason)s.") % {"reason": "; ".join(blocking)})
    elif blocking:
        lines.append(words.gettext("It is also held because: %(reason)s.") % {"reason": "; ".join(blocking)})
    if schedule.approval is not None and schedule.approval.needed > 1:
        text = words.gettext("Approvals needed: %(needed)s. So far: %(people)s.")
        people = ", ".join(approvals) or words.gettext("nobody")
        lines.append(text % {"needed": format_count(schedule.approval.needed, language), "people": people})
    if is_sent_on_silence(edition, schedule):
        when = format_datetime(approval_deadline(edition, schedule), language, zone)
        lines.append(words.gettext("If nobody answers, it is sent automatically on %(when)s.") % {"when": when})
    else:
        lines.append(words.gettext("If nobody answers, it is not sent; its stories join the next edition."))
    return lines


def edition_title(edition: Edition, schedule: Schedule, newsroom: Newsroom, language: str) -> str:
    """Return a title like `Weekly digest 12`, in the reviewer's language."""
    return f"{schedule.heading(language, newsroom.site.languages[0])} {edition.number}"


def queue_review_mails(
    connection: Connection, edition: Edition, schedule: Schedule, newsroom: Newsroom, keys: TokenKeys, now: datetime
) -> int:
    """Queue the mails to each reviewer: the request with the link, then the frozen edition in each language.

    Runs in the transaction that holds the edition, so each version is sent for review once. Returns the number of
    mails.
    """
    if schedule.approval is None or not waits_for_approval(edition):
        return 0
    counts = count_recipients(connection, edition.id)
    made = len(editions.get_history(connection, edition.id))
    key = f"review:{edition.id}:{made}"
    mailing = ledger.get_or_create_mailing(connection, key, "review", schedule=edition.schedule, now=now, open=True)
    rows = []
    people = list(dict.fromkeys(schedule.approval.by))
    for number, address in enumerate(people):
        language = find_reviewer_language(connection, newsroom, address)
        words = load_catalogue(language)
        name = edition_title(edition, schedule, newsroom, language)
        text = "\n\n".join(
            [
                words.gettext("%(edition)s waits for your approval.") % {"edition": name},
                "\n".join(describe_review(edition, schedule, newsroom, counts, language)),
                words.gettext("Look at it, then release it or cancel it:")
                + f"\n{review_url(newsroom, keys, edition.id, address)}",
                words.gettext("Opening the link decides nothing. The mails that follow show the edition exactly."),
            ]
        )
        subject = words.gettext("For your approval: %(edition)s") % {"edition": name}
        rows.append(
            {
                "mailing": mailing,
                "target": f"review:{number}",
                "purpose": Purpose.REVIEW.value,
                "at": now,
                "details": {"address": address, "subject": subject, "text": text, "language": language},
            }
        )
    for part, (list_name, each, rendition, selection) in enumerate(
        copy_renditions(connection, edition, "review", mailing), 1
    ):
        rows += [
            {
                "mailing": mailing,
                "target": f"review:{number}",
                "purpose": Purpose.REVIEW.value,
                "part": part,
                "list": list_name,
                "rendition": rendition,
                "selection": selection,
                "at": now,
                "details": {"address": address, "language": each},
            }
            for number, address in enumerate(people)
        ]
    return ledger.add_deliveries(connection, rows)


def mark_subject(arrangement: Mapping[str, Any], mark: str, language: str) -> dict[str, Any]:
    """Return a mail's layout with a mark and the language before its subject: `[Test] [ru] ...`."""
    return {**arrangement, "subject": f"{mark} [{language}] {arrangement['subject']}"}


def copy_renditions(
    connection: Connection, edition: Edition, purpose: str, mailing: int
) -> list[tuple[str, str, int, int]]:
    """Copy the fullest mail of each list and language. The copies stay when the edition is composed again.

    Returns (list, language, rendition, selection) for each copy.
    """
    copies = []
    for number, rendition in enumerate(editions.list_renditions(connection, edition.id)):
        kind, _, name = rendition.outlet.partition(":")
        if kind != "list":
            continue
        chosen = editions.rendition_arrangements(connection, rendition.id)
        fullest = max(chosen.values(), key=lambda arrangement: len(arrangement["keys"]))
        outlet = f"{purpose}:{mailing}:{number}"
        copy = editions.freeze_document(connection, 0, outlet, rendition.language, rendition.story, rendition.raw)
        mark = "[Test]" if purpose == "test" else "[For approval]"
        marked = mark_subject(fullest, mark, rendition.language)
        selection = editions.freeze_selection(connection, copy, purpose, marked, list[ShownStory]())
        copies.append((name, rendition.language, copy, selection))
    return copies


def find_comments(history: Sequence[tuple[str, str, str]]) -> list[tuple[str, str]]:
    """Return (person, text) of the comments on an edition, oldest first."""
    return [(who, what.removeprefix(COMMENT)) for _, what, who in history if what.startswith(COMMENT)]


def find_decision(history: Sequence[tuple[str, str, str]], state: EditionState) -> tuple[datetime, str, str] | None:
    """Return (time, decision, person) of the last decision on an edition, or None while it is held."""
    if state in (EditionState.HELD, EditionState.COMPOSING):
        return None
    for at, event, person in reversed(history):
        if event in ("released", "cancelled") or event.startswith("superseded"):
            return datetime.fromisoformat(at), event.partition(" ")[0], person
    return None
