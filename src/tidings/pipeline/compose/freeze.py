"""Write a frozen edition to the store: rendered bytes, selections, and one delivery per recipient."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tidings.channels.base import Post
from tidings.model.delivery import DeliveryState, SkipReason
from tidings.model.edition import Edition
from tidings.pipeline.compose.draft import MessageGroup, PlannedDelivery, PlannedSegment, PlannedSegments
from tidings.store.content import edition_archive, editions
from tidings.store.content.editions import ShownStory
from tidings.store.delivery import ledger
from tidings.store.delivery.threads import WAITS
from tidings.store.engine import Store
from tidings.store.people import segments

_PAGE = 1_000

Selections = Mapping[str, tuple[int, int]]
"""Ids of (rendition, selection) by the key of the message group."""


@dataclass(frozen=True, slots=True)
class RenderResult:
    """A rendered mail or post, its layout for each message group, and the failures of the gates."""

    outlet: str
    language: str
    story: str
    document: Mapping[str, Any] | bytes
    layouts: Mapping[str, Mapping[str, Any]]
    """Layouts by key of the message group."""
    groups: Mapping[str, MessageGroup]
    failures: tuple[str, ...] = ()
    """Failures that hold the edition."""
    warnings: tuple[str, ...] = ()
    """Warnings of the gates, which do not hold the edition."""
    sample: bytes = b""
    """The largest mail, kept until the gates have checked it."""
    has_own_subject: bool = False
    """Whether a person wrote the subject for this edition."""
    post: Post | None = None
    """The post, before it is converted to the network's format."""
    shortened: int = 0
    """Number of items that were cut to stay below the size limit."""
    whole: Mapping[str, Any] | None = None
    """The layout with all stories of the edition, for the archive. None if it is not archived."""

    def raw(self) -> bytes:
        """Return the bytes to store."""
        if isinstance(self.document, bytes):
            return self.document
        return json.dumps(self.document, ensure_ascii=False, sort_keys=True).encode()


def write_frozen(
    store: Store,
    edition: Edition,
    planned: Sequence[PlannedDelivery | PlannedSegments],
    rendered: Sequence[RenderResult],
    now: datetime,
    *,
    urgent: bool,
) -> None:
    """Write in small transactions. The edition stays `composing` until the last transaction has committed."""
    selections: dict[str, tuple[int, int]] = {}
    for result in rendered:
        with store.write() as connection:
            rendition = editions.freeze_document(
                connection, edition.id, result.outlet, result.language, result.story, result.raw()
            )
            for key, layout in result.layouts.items():
                shown = _shown_stories(result.groups[key])
                selections[key] = (
                    rendition,
                    editions.freeze_selection(connection, rendition, key, layout, shown),
                )
            if result.whole is not None:
                editions.freeze_selection(connection, rendition, edition_archive.WHOLE, result.whole, [])
    with store.write() as connection:
        mailing = ledger.get_or_create_mailing(
            connection,
            f"edition:{edition.id}",
            "edition",
            schedule=edition.schedule,
            edition=edition.id,
            now=now,
            urgent=urgent,
        )
        is_any = any(mark is not None and mark < edition.id for mark in _list_marks(planned))
        ledger.note_postponed(connection, mailing, is_any=is_any)
    for plan in planned:
        if isinstance(plan, PlannedSegments):
            _write_segments(store, plan, mailing, selections, now)
    single = [plan for plan in planned if isinstance(plan, PlannedDelivery)]
    for start in range(0, len(single), _PAGE):
        rows = [_delivery_row(plan, mailing, selections, now) for plan in single[start : start + _PAGE]]
        with store.write() as connection:
            ledger.add_deliveries(connection, rows)


def _list_marks(planned: Sequence[PlannedDelivery | PlannedSegments]) -> Iterator[int | None]:
    for plan in planned:
        if isinstance(plan, PlannedSegments):
            yield from (part.mark for part in plan.parts)
        else:
            yield plan.mark


def _write_segments(store: Store, plan: PlannedSegments, mailing: int, selections: Selections, now: datetime) -> None:
    """Write the deliveries inside the database, one page of subscriptions per transaction."""
    shares = [share for part in plan.parts for share in _segment_shares(part, selections)]
    with store.read() as connection:
        pages = list(segments.subscription_pages(connection))
    for page in pages:
        with store.write() as connection:
            segments.add_deliveries(
                connection,
                mailing,
                plan.list,
                plan.frequency,
                shares,
                purpose=plan.purpose,
                between=page,
                without=plan.without,
                at=now,
            )


def correction_version(correction: str) -> str:
    """Return a hash that distinguishes the corrections of one story."""
    return hashlib.sha256(correction.encode()).hexdigest()[:16]


def _shown_stories(group: MessageGroup) -> list[ShownStory]:
    selection = group.selection
    return [
        *(ShownStory(story) for story in dict.fromkeys(selection.stories)),
        *(ShownStory(item.story, "note") for item in selection.notes),
        *(ShownStory(item.story, "correction", correction_version(item.correction)) for item in selection.corrections),
    ]


def _segment_shares(part: PlannedSegment, selections: Selections) -> Iterator[segments.SegmentDelivery]:
    choice = (part.segment.language, part.segment.topics, part.segment.mark)
    if not part.groups:
        yield segments.SegmentDelivery(*choice, "", None, None, None, str(SkipReason.NOTHING_FOR_READER), True)
    for number, (story, group) in enumerate(part.groups):
        rendition, selection = selections[group.key]
        yield segments.SegmentDelivery(*choice, story, selection, rendition, part.mark, "", number == 0)


def _delivery_row(plan: PlannedDelivery, mailing: int, selections: Selections, now: datetime) -> dict[str, Any]:
    rendition, selection = selections[plan.group.key] if plan.group else (None, None)
    state = DeliveryState.PENDING if plan.group else DeliveryState.SKIPPED
    part = plan.group.part if plan.group else 0
    return {
        "mailing": mailing,
        "target": plan.target,
        "story": plan.story,
        "purpose": str(plan.purpose),
        "part": part,
        "list": plan.list,
        "channel": plan.channel,
        "subscriber": plan.subscriber,
        "selection": selection,
        "rendition": rendition,
        "mark": plan.mark,
        "address_hash": plan.address_hash,
        "state": str(DeliveryState.DEFERRED if part else state),
        "reason": WAITS if part else plan.reason_text,
        "at": now,
    }
