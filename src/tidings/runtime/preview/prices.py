"""What posts would cost in the coming month, on networks that charge for each."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from tidings.config.schedule import ChannelDelivery, Schedule
from tidings.config.settings import Newsroom
from tidings.model.cadence import list_slots

MONTH = timedelta(days=30)


def prices(newsroom: Newsroom, schedule: Schedule, now: datetime) -> Iterator[str]:
    """For each channel of a schedule that charges: what a month of it costs at most."""
    for part in schedule.deliver:
        if not isinstance(part, ChannelDelivery) or part.channel not in newsroom.channels:
            continue
        dollars = getattr(newsroom.channels[part.channel], "DOLLARS_A_POST", None)
        if dollars is None:
            continue
        count = sum(not slot.skip_reason for slot in list_slots(schedule.cadence, now, now + MONTH))
        settings = newsroom.channels[part.channel]
        if settings.translations == "thread":
            count *= max(len(settings.languages), 1)
        posts = count if part.per == "edition" else count * (part.max_posts or 0)
        if posts:
            yield f"{part.channel}: at most {posts} posts in 30 days, ${posts * dollars:,.2f}"
        else:
            yield f"{part.channel}: ${dollars:.2f} for each post"
