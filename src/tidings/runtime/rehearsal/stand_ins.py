"""What stands in the place of the world in a rehearsal: a copy of the store, a catcher for mail, a drawer for posts."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from tidings import plugins
from tidings.channels.base import Attempt, Channel, Post
from tidings.config.adapters import SenderSettings
from tidings.config.load import store_address
from tidings.config.settings import Newsroom
from tidings.model.delivery import Outcome, Verdict
from tidings.model.errors import InputError
from tidings.runtime.newsroom import store_exists
from tidings.sources.base import Source, Sweep
from tidings.store import copying
from tidings.store.engine import Store
from tidings.store.locks import SharedHold

_SPARE = 200_000_000
"""Bytes that the disk of the copy keeps free."""

Progress = Callable[[str, float], None]
"""Called with what is being done, and how much of it is: 0 to 1."""


def copy_store(newsroom: Newsroom, folder: Path, progress: Progress) -> Path:
    """Where the copy stands, or will once it is opened: a newsroom that never ran has no store.

    Raises InputError where there is no room for it.
    """
    target = folder / "copy.db"
    if not store_exists(newsroom):
        return target
    with _opened(Store(store_address(newsroom), newsroom.root)) as origin:
        needed = origin.path.stat().st_size if origin.path is not None else 0
        free = shutil.disk_usage(folder).free
        if free < needed + _SPARE:
            raise InputError(
                f"{folder.parent} has {free / 1e6:,.0f} MB free, and a copy of the store needs "
                f"{(needed + _SPARE) / 1e6:,.0f}. Make room, or name another place (TMPDIR=/var/tmp)."
            )
        occupancy = SharedHold(origin)
        try:
            with _opened(Store(f"sqlite:///{target}", folder)) as copy:
                copying.copy_store(origin, copy, lambda done, of: progress("copying the store", done / max(of, 1)))
        finally:
            occupancy.release()
    return target


@contextmanager
def _opened(store: Store) -> Iterator[Store]:
    try:
        yield store
    finally:
        store.close()


def divert_sender(sender: SenderSettings, port: int) -> SenderSettings:
    """The same sender by name, signature and return path, whose mail goes to the catcher as fast as it can."""
    made = plugins.load_adapters("tidings.mail", plugins.MAIL)["smtp"].Settings
    same = {"return_path": sender.return_path, "feedback_id": sender.feedback_id, "dkim": getattr(sender, "dkim", None)}
    settings: SenderSettings = made(type="smtp", host="127.0.0.1", port=port, security="none")
    return settings.model_copy(update={"name_": sender.name, "connections": min(sender.connections, 4), **same})


class FrozenSource:
    """A source as it stands now: a rehearsal does not see it change, and reads it once."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._swept: Sweep | None = None

    def sweep(self, now: datetime) -> Sweep:
        """What the first call found."""
        if self._swept is None:
            self._swept = self._source.sweep(now)
        return self._swept

    def watch_paths(self) -> tuple[Path, ...]:
        """None."""
        return ()


class KeptChannel:
    """A channel whose posts stay here. Everything but the handing over is its own."""

    def __init__(self, channel: Channel, keep: Callable[[tuple[str, bytes, str]], None]) -> None:
        self._channel = channel
        self._keep = keep
        self.name = channel.name
        self.capabilities = channel.capabilities

    def prepare(self, post: Post) -> bytes:
        """As the channel does."""
        return self._channel.prepare(post)

    def length(self, body: bytes) -> int:
        """As the channel counts."""
        return self._channel.length(body)

    def text(self, body: bytes) -> str:
        """As the channel words it."""
        return self._channel.text(body)

    def send(self, body: bytes, attempt: Attempt) -> Outcome:
        """Keep it."""
        self._keep((self.name, body, self._channel.text(body)))
        return Outcome(Verdict.ACCEPTED, receipt="rehearsed", via=self.name)
