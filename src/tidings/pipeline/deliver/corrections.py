"""Apply corrections and withdrawals of stories to published posts: edit, reply, take down, or notify a person.

Each channel makes the changes that it supports and that `on_correction` and `on_withdrawal` allow. Each step is a
separate delivery.
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
from tidings.model.delivery import DeliveryState, PostChange, Purpose, channel_target
from tidings.model.errors import InputError, RefusedError
from tidings.model.item import Item
from tidings.pipeline import notices
from tidings.pipeline.compose.freeze import correction_version
from tidings.pipeline.compose.posts import make_post_item
from tidings.render.i18n import load_catalogue
from tidings.store.content.items import load_items
from tidings.store.delivery import corrections, ledger
from tidings.store.delivery.corrections import AcceptedPost, OnlinePost
from tidings.store.delivery.notices import notice_keys
from tidings.store.engine import Store


@dataclass(frozen=True, slots=True)
class _Step:
    """One change to one post. `change` is None if a person must make the change."""

    post: AcceptedPost
    item: Item
    purpose: str
    change: PostChange | None

    @property
    def key(self) -> str:
        """The key of the mailing or notice."""
        return _change_key(self.post, self.purpose)


def apply_corrections(store: Store, newsroom: Newsroom, channels: Mapping[str, Channel], now: datetime) -> int:
    """Add deliveries and notices for changed stories. Returns their number. A second call adds nothing."""
    if not channels:
        return 0
    with store.read() as connection:
        posts = list(corrections.find_outdated_posts(connection, list(channels)))
        if not posts:
            return 0
        done = corrections.find_correction_steps(connection, list(channels))
        items = {item.id: item for item in load_items(connection, ids={post.item for post in posts}, include_gone=True)}
        notified = notice_keys(connection, "amend:")
    steps = []
    for post in posts:
        item = items[post.item]
        purpose: str = Purpose.RETRACTION
        if not post.is_withdrawn:
            purpose = f"{Purpose.CORRECTION}-{correction_version(item.correction)}"
        change = _choose_change(channels[post.channel], newsroom.channels[post.channel], post)
        step = _Step(post, item, purpose, change)
        if (post.channel, post.story, post.part, purpose) not in done and step.key not in notified:
            steps.append(step)
    for step in steps:
        with store.write() as connection:
            _add_step(connection, newsroom, channels[step.post.channel], step, now)
    return len(steps)


def allowed_changes(channel: Channel | None) -> list[PostChange]:
    """Return what a channel can do with a post that is online: edit it, take it down."""
    ways = [(PostChange.EDIT, isinstance(channel, CanEdit)), (PostChange.TAKE_DOWN, isinstance(channel, CanTakeDown))]
    return [change for change, is_possible in ways if is_possible]


def change_post(
    store: Store,
    newsroom: Newsroom,
    channels: Mapping[str, Channel],
    delivery: int,
    change: PostChange,
    now: datetime,
    text: str = "",
) -> OnlinePost:
    """Edit a post that is online to say `text`, or take it down, because a person asked for it.

    Nothing is done to the story. Raises InputError or RefusedError, and does nothing then.
    """
    with store.write() as connection:
        post = corrections.find_online_post(connection, delivery)
        if post is None or not post.receipt:
            raise InputError("This post is not online, or the network gave no name for it.")
        channel = channels.get(post.channel)
        if channel is None or change not in allowed_changes(channel):
            raise RefusedError(f"{post.channel} cannot do this with its posts. Do it there by hand.")
        details: dict[str, Any] = {"amendment": change, "receipt": post.receipt}
        purpose = f"{Purpose.RETRACTION}" if post.story else f"{Purpose.RETRACTION}-{delivery}"
        if change is PostChange.EDIT:
            site = newsroom.site
            title = site.title.get(post.language, site.languages[0])
            body = channel.prepare(Post("", site.url, post.language, (), "", title, now, text=text))
            length, limit = channel.length(body), channel.capabilities.max_length
            if not text or length > limit:
                raise InputError(f"The post would have {length} characters; {post.channel} takes 1 to {limit}.")
            details["body"] = body.decode()
            purpose = f"{Purpose.CORRECTION}-{delivery}-{correction_version(text)}"
        done = corrections.list_post_changes(connection, [post.channel]).get(delivery, [])
        if any(kind == PostChange.TAKE_DOWN and state != DeliveryState.REJECTED for kind, state, _ in done):
            raise RefusedError("This post was taken down already, or is about to be.")
        if not _add_delivery(connection, post, purpose, details, now, schedule=post.schedule):
            raise RefusedError("This was done already.")
    return post


def _choose_change(channel: Channel, settings: ChannelSettings, post: AcceptedPost) -> PostChange | None:
    """Return the change that the channel supports and may make, or None."""
    if not post.receipt:
        return None
    if post.is_withdrawn:
        can_take_down = settings.on_withdrawal != "leave" and isinstance(channel, CanTakeDown)
        return PostChange.TAKE_DOWN if can_take_down else None
    if settings.on_correction in (None, "edit") and isinstance(channel, CanEdit):
        return PostChange.EDIT
    if settings.on_correction in (None, "reply") and channel.capabilities.replies:
        return PostChange.REPLY
    return None


def _add_step(connection: Connection, newsroom: Newsroom, channel: Channel, step: _Step, now: datetime) -> None:
    post = step.post
    if step.change is None:
        notices.add(connection, step.key, "correction", _notice_text(step), now)
        return
    details: dict[str, Any] = {"amendment": step.change, "receipt": post.receipt}
    if step.change is not PostChange.TAKE_DOWN:
        details["body"] = channel.prepare(_corrected_post(newsroom, step, now)).decode()
    _add_delivery(connection, post, step.purpose, details, now)


def _add_delivery(
    connection: Connection,
    post: AcceptedPost | OnlinePost,
    purpose: str,
    details: Mapping[str, Any],
    now: datetime,
    *,
    schedule: str = "",
) -> bool:
    """Add the delivery of a change to a post. Returns False if there was one already."""
    key = _change_key(post, purpose)
    row = {
        "mailing": ledger.get_or_create_mailing(connection, key, "amendment", schedule=schedule, now=now, open=True),
        "target": channel_target(post.channel),
        "channel": post.channel,
        "story": post.story,
        "purpose": purpose,
        "part": post.part,
        "at": now,
        "details": details,
    }
    return bool(ledger.add_deliveries(connection, [row]))


def _change_key(post: AcceptedPost | OnlinePost, purpose: str) -> str:
    return f"amend:{post.delivery}:{purpose}"


def _corrected_post(newsroom: Newsroom, step: _Step, now: datetime) -> Post:
    """Return the post with the correction in it, or a reply with the correction."""
    item = step.item
    site = newsroom.site
    words = load_catalogue(item.language)
    correction = f"{words.gettext('Correction')}{words.gettext(':')} {item.correction}"
    post = Post(
        title=item.title,
        url=item.url,
        language=item.language,
        items=(make_post_item(newsroom, item, step.post.channel, correction=correction),),
        edition="",
        site=site.title.get(item.language, site.languages[0]),
        at=now,
    )
    if step.change is PostChange.EDIT:
        return post
    return replace(post, title="", items=(), text=f"{correction}\n\n{item.url}")


def _notice_text(step: _Step) -> str:
    post, story = step.post, f"The story {step.post.story} ({step.item.language})"
    where = f" ({post.via})" if post.via.startswith("https://") else ""
    if post.is_withdrawn:
        return f"{story} was withdrawn. Its post in {post.channel}{where} is still online: delete it there by hand."
    return (
        f"{story} was corrected ({step.item.correction}). Its post in {post.channel}{where} is unchanged:"
        " correct it there by hand if it has the mistake."
    )
