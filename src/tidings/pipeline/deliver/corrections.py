"""A story is corrected or withdrawn: its posts are edited, answered or taken down, or a person is told to.

Each channel does what it can and `on_correction`, `on_withdrawal` permit; every step of it is a delivery of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from tidings.channels.base import CanEdit, CanTakeDown, Channel, Post
from tidings.config.adapters import ChannelSettings
from tidings.config.settings import Newsroom
from tidings.model.delivery import PostChange, Purpose, channel_target
from tidings.model.item import Item
from tidings.pipeline import notices
from tidings.pipeline.compose.freeze import correction_version
from tidings.pipeline.compose.posts import make_post_item
from tidings.render.i18n import load_catalogue
from tidings.store.content.items import load_items
from tidings.store.delivery import corrections, ledger
from tidings.store.delivery.corrections import AcceptedPost
from tidings.store.delivery.notices import notice_keys
from tidings.store.engine import Store


@dataclass(frozen=True, slots=True)
class _Step:
    """One thing to do about one post. `how` None: a person is told."""

    post: AcceptedPost
    item: Item
    purpose: str
    how: PostChange | None

    @property
    def notice(self) -> str:
        """The key under which a person is told, once."""
        return f"amend:{self.post.delivery}:{self.purpose}"


def apply_corrections(store: Store, newsroom: Newsroom, channels: Mapping[str, Channel], now: datetime) -> int:
    """Undertake what the changes of stories ask for; returns how many steps. Twice does nothing."""
    if not channels:
        return 0
    with store.read() as connection:
        standing = list(corrections.find_outdated_posts(connection, list(channels)))
        if not standing:
            return 0
        known = corrections.find_correction_steps(connection, list(channels))
        ids = {one.item for one in standing}
        items = {item.id: item for item in load_items(connection, ids=ids, include_gone=True)}
        told = notice_keys(connection, "amend:")
    steps = []
    for one in standing:
        item = items[one.item]
        purpose = _purpose(one, item)
        step = _Step(one, item, purpose, _how(channels[one.channel], newsroom.channels[one.channel], one))
        if (one.channel, one.story, one.part, purpose) not in known and step.notice not in told:
            steps.append(step)
    for step in steps:
        with store.write() as connection:
            _undertake(connection, newsroom, channels[step.post.channel], step, now)
    return len(steps)


def _purpose(post: AcceptedPost, item: Item) -> str:
    return Purpose.RETRACTION if post.is_withdrawn else f"{Purpose.CORRECTION}-{correction_version(item.correction)}"


def _how(channel: Channel, settings: ChannelSettings, post: AcceptedPost) -> PostChange | None:
    """What this channel does; None where it cannot, or may not."""
    if not post.receipt:
        return None
    if post.is_withdrawn:
        down = settings.on_withdrawal != "leave" and isinstance(channel, CanTakeDown)
        return PostChange.TAKE_DOWN if down else None
    if settings.on_correction in (None, "edit") and isinstance(channel, CanEdit):
        return PostChange.EDIT
    if settings.on_correction in (None, "reply") and channel.capabilities.replies:
        return PostChange.REPLY
    return None


def _undertake(connection: Connection, newsroom: Newsroom, channel: Channel, step: _Step, now: datetime) -> None:
    post = step.post
    if step.how is None:
        notices.add(connection, step.notice, "correction", _words(step), now)
        return
    details: dict[str, Any] = {"amendment": step.how, "receipt": post.receipt}
    if step.how is not PostChange.TAKE_DOWN:
        details["body"] = channel.prepare(_post(newsroom, step, now)).decode()
    mailing = ledger.get_or_create_mailing(connection, step.notice, "amendment", now=now, open=True)
    row = {
        "mailing": mailing,
        "target": channel_target(post.channel),
        "channel": post.channel,
        "story": post.story,
        "purpose": step.purpose,
        "part": post.part,
        "at": now,
        "details": details,
    }
    ledger.add_deliveries(connection, [row])


def _post(newsroom: Newsroom, step: _Step, now: datetime) -> Post:
    """The post anew with what was wrong in it; or an answer that says so."""
    item = step.item
    site = newsroom.site
    correction = f"{load_catalogue(item.language).gettext('Correction')}: {item.correction}"
    post = Post(
        title=item.title,
        url=item.url,
        language=item.language,
        items=(make_post_item(item, step.post.channel, correction=correction),),
        edition="",
        site=site.title.get(item.language, site.languages[0]),
        at=now,
    )
    if step.how is PostChange.EDIT:
        return post
    return replace(post, title="", items=(), text=f"{correction}\n\n{item.url}")


def _words(step: _Step) -> str:
    where = f" at {step.post.via}" if step.post.via.startswith("https://") else ""
    if step.post.is_withdrawn:
        return (
            f"The story {step.post.story} ({step.item.language}) was withdrawn, and its post in {step.post.channel}"
            f" still stands{where}: take it away there by hand."
        )
    return (
        f"The story {step.post.story} ({step.item.language}) was corrected ({step.item.correction}), and its post in"
        f" {step.post.channel} says what it said{where}: mend it there by hand, if it was wrong in that."
    )
