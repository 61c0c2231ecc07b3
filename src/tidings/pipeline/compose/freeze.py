"""Writing a frozen edition: its bytes, what each crowd or reader gets of them, and a delivery for each recipient."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from tidings.model.delivery import DeliveryState, SkipReason
from tidings.model.edition import Edition
from tidings.pipeline.compose.draft import MessageGroup, PlannedDelivery, PlannedSegment, PlannedSegments
from tidings.pipeline.compose.rendered import RenderResult
from tidings.store.content import edition_archive, editions
from tidings.store.content.editions import ShownStory
from tidings.store.delivery import ledger
from tidings.store.delivery.threads import WAITS
from tidings.store.engine import Store
from tidings.store.people import segments

_PAGE = 1_000


def write_frozen(
    store: Store,
    edition: Edition,
    addressed: Sequence[PlannedDelivery | PlannedSegments],
    rendered: Sequence[RenderResult],
    now: datetime,
    *,
    urgent: bool,
) -> None:
    """In transactions of at most a page each; the edition is composing until the last has committed."""
    selections: dict[str, tuple[int, int]] = {}
    for one in rendered:
        with store.write() as connection:
            rendition = editions.freeze_document(connection, edition.id, one.outlet, one.language, one.story, one.raw())
            for key, arrangement in one.arrangements.items():
                shown = _shown(one.groups[key])
                selection = editions.freeze_selection(connection, rendition, key, arrangement, shown)
                selections[key] = (rendition, selection)
            if one.whole is not None:
                editions.freeze_selection(connection, rendition, edition_archive.WHOLE, one.whole, [])
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
    for one_list in addressed:
        if isinstance(one_list, PlannedSegments):
            _write_crowds(store, one_list, mailing, selections, now)
    single = [one for one in addressed if isinstance(one, PlannedDelivery)]
    for start in range(0, len(single), _PAGE):
        rows = [_row(one, mailing, selections, now) for one in single[start : start + _PAGE]]
        with store.write() as connection:
            ledger.add_deliveries(connection, rows)


def _write_crowds(
    store: Store, readers: PlannedSegments, mailing: int, selections: Mapping[str, tuple[int, int]], now: datetime
) -> None:
    """The database writes them, a page of subscriptions in each transaction."""
    shares = [share for part in readers.parts for share in _shares(part, selections)]
    with store.read() as connection:
        pages = list(segments.subscription_pages(connection))
    for page in pages:
        with store.write() as connection:
            segments.add_deliveries(
                connection,
                mailing,
                readers.list,
                readers.frequency,
                shares,
                purpose=readers.purpose,
                between=page,
                without=readers.without,
                at=now,
            )


def correction_version(correction: str) -> str:
    """Tells corrections of one story apart."""
    return hashlib.sha256(correction.encode()).hexdigest()[:16]


def _shown(group: MessageGroup) -> list[ShownStory]:
    selection = group.selection
    return [
        *(ShownStory(story) for story in dict.fromkeys(selection.stories)),
        *(ShownStory(item.story, "note") for item in selection.notes),
        *(ShownStory(item.story, "correction", correction_version(item.correction)) for item in selection.corrections),
    ]


def _shares(part: PlannedSegment, selections: Mapping[str, tuple[int, int]]) -> Iterator[segments.SegmentDelivery]:
    crowd = part.segment
    choice = (crowd.language, crowd.topics, crowd.mark)
    if not part.groups:
        yield segments.SegmentDelivery(*choice, "", None, None, None, str(SkipReason.NOTHING_FOR_READER), True)
    for number, (story, group) in enumerate(part.groups):
        rendition, selection = selections[group.key]
        yield segments.SegmentDelivery(*choice, story, selection, rendition, part.mark, "", number == 0)


def _row(
    one: PlannedDelivery, mailing: int, selections: Mapping[str, tuple[int, int]], now: datetime
) -> dict[str, Any]:
    rendition, selection = selections[one.group.key] if one.group else (None, None)
    state = DeliveryState.PENDING if one.group else DeliveryState.SKIPPED
    part = one.group.part if one.group else 0
    return {
        "mailing": mailing,
        "target": one.target,
        "story": one.story,
        "purpose": str(one.purpose),
        "part": part,
        "list": one.list,
        "channel": one.channel,
        "subscriber": one.subscriber,
        "selection": selection,
        "rendition": rendition,
        "mark": one.mark,
        "address_hash": one.address_hash,
        "state": str(DeliveryState.DEFERRED if part else state),
        "reason": WAITS if part else one.reason_text,
        "at": now,
    }
