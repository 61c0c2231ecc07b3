"""Stand-ins for the outside world in a rehearsal: a copy of the store, a mail catcher, channels that keep posts."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import closing
from datetime import datetime
from pathlib import Path

from tidings import plugins
from tidings.channels.base import Attempt, Channel
from tidings.config.adapters import SenderSettings
from tidings.config.load import store_address
from tidings.config.settings import Newsroom
from tidings.model.delivery import Outcome, Verdict
from tidings.model.errors import InputError
from tidings.runtime.backup.backup import Progress
from tidings.runtime.demo.post_receiver import ReceivedPost
from tidings.runtime.newsroom import store_exists
from tidings.sources.base import Source, Sweep
from tidings.store import copying
from tidings.store.engine import Store
from tidings.store.locks import SharedHold

_SPARE = 200_000_000
"""Bytes that stay free on the disk of the copy."""


def copy_store_to(newsroom: Newsroom, folder: Path, progress: Progress) -> Path:
    """Copy the store and return its path. A newsroom that never ran has no store; then the path does not exist.

    Raises InputError if the disk is too small.
    """
    target = folder / "copy.db"
    if not store_exists(newsroom):
        return target
    with closing(Store(store_address(newsroom), newsroom.root)) as origin:
        needed = _SPARE + (origin.path.stat().st_size if origin.path is not None else 0)
        free = shutil.disk_usage(folder).free
        if free < needed:
            raise InputError(
                f"{folder.parent} has {free / 1e6:,.0f} MB free, and a copy of the store needs {needed / 1e6:,.0f} MB. "
                "Make room, or name another folder (TMPDIR=/var/tmp)."
            )
        with SharedHold(origin), closing(Store(f"sqlite:///{target}", folder)) as copy:
            copying.copy_store(origin, copy, lambda done, total: progress("copying the store", done, total))
    return target


def divert_sender(sender: SenderSettings, port: int) -> SenderSettings:
    """Return a sender with the same name, signature and return path that mails to the catcher without a rate limit."""
    smtp = plugins.senders()["smtp"].Settings
    settings: SenderSettings = smtp(type="smtp", host="127.0.0.1", port=port, security="none")
    return settings.model_copy(
        update={
            "name_": sender.name,
            "connections": min(sender.connections, 4),
            "return_path": sender.return_path,
            "feedback_id": sender.feedback_id,
            "dkim": getattr(sender, "dkim", None),
        }
    )


class FrozenSource:
    """A source that is read once, so that a rehearsal does not see it change."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._sweep: Sweep | None = None

    def sweep(self, now: datetime) -> Sweep:
        if self._sweep is None:
            self._sweep = self._source.sweep(now)
        return self._sweep

    def watch_paths(self) -> tuple[Path, ...]:
        return ()


class CatchAll:
    """Catches the mail and the posts of a running newsroom: nothing leaves this machine."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._posts: list[ReceivedPost] = []

    @property
    def posts(self) -> list[ReceivedPost]:
        """The caught posts, in order."""
        return list(self._posts)

    def divert_mail(self, newsroom: Newsroom) -> Newsroom:
        """Return the newsroom with senders that all mail to the catcher. One without senders gets one."""
        mail = newsroom.mail or (plugins.senders()["smtp"].Settings(type="smtp", host="127.0.0.1"),)
        diverted = tuple(divert_sender(sender, self._port) for sender in mail)
        return newsroom.model_copy(update={"mail": diverted, "unset": ()})

    def divert_channel(self, channel: Channel) -> Channel:
        """Return a channel that keeps its posts here."""
        return KeptChannel(channel, self.keep, "caught")

    def keep(self, post: tuple[str, bytes, str]) -> None:
        """Keep a post: the name of its channel, its body and its text."""
        name, raw, text = post
        try:
            body = json.loads(raw)
        except ValueError:
            body = None
        content = body if isinstance(body, dict) else {"text": text}
        self._posts.append(ReceivedPost(len(self._posts) + 1, name, "", content, text))


class KeptChannel:
    """A channel that keeps its posts instead of sending them. Everything else comes from the real channel."""

    def __init__(
        self, channel: Channel, keep: Callable[[tuple[str, bytes, str]], None], receipt: str = "rehearsed"
    ) -> None:
        self._channel = channel
        self._keep = keep
        self._receipt = receipt
        self.name = channel.name
        self.capabilities = channel.capabilities
        self.prepare = channel.prepare
        self.length = channel.length
        self.text = channel.text

    def send(self, body: bytes, attempt: Attempt) -> Outcome:
        self._keep((self.name, body, self.text(body)))
        return Outcome(Verdict.ACCEPTED, receipt=self._receipt, via=self.name)
