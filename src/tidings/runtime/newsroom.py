"""The composition root: a newsroom's folder becomes a store, sources, channels, a composer and a deliverer."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any
from urllib.parse import urlsplit

from pydantic import SecretStr

from tidings import plugins
from tidings.channels.base import CanFind, Channel, Hub
from tidings.config.adapters import ChannelSettings, SenderSettings, SourceSettings
from tidings.config.load import LoadResult, load_config, store_address
from tidings.config.settings import Newsroom
from tidings.model.cadence import load_zone, parse_window
from tidings.model.errors import InputError, RefusedError
from tidings.model.throttling import Spacing
from tidings.model.tokens import TokenKeys
from tidings.pipeline.collect import fetch
from tidings.pipeline.collect import websub as listen
from tidings.pipeline.compose.composer import Composer
from tidings.pipeline.compose.mail import MailRenderer
from tidings.pipeline.deliver.context import DeliverySummary
from tidings.pipeline.deliver.deliverer import Deliverer, MailSender, finish_editions
from tidings.pipeline.deliver.outcomes import ResendPolicies
from tidings.pipeline.deliver.prepare import MessagePreparer
from tidings.pipeline.deliver.thumbnails import Thumbnails
from tidings.pipeline.members.subscribe import answer_requests, request_reconfirmation
from tidings.pipeline.publish import websub as ping
from tidings.render.pages.pages import Pages
from tidings.render.templates import MailTemplates
from tidings.sources.base import (
    FetchingSource,
    FetchResult,
    NoStoryIndex,
    PictureSource,
    Source,
    SourceContext,
    StoryIndex,
)
from tidings.sources.fetch_cache import FetchCache, NoFetchCache
from tidings.store import migrate
from tidings.store.content.fetch_cache import StoredFetchCache
from tidings.store.content.items import StoredStories
from tidings.store.engine import Store
from tidings.store.locks import Liveness, SharedHold, acquire_liveness
from tidings.store.people import subscribers

KEYS = "keys.json"
RESTORING = Path(".restoring/moves.json")
"""Exists in a newsroom's folder while `tidings restore` moves files."""


def load_newsroom(root: Path, env: Mapping[str, str] | None = None, *, lenient: bool = False) -> LoadResult:
    """The configuration of a folder, with the adapters that are installed."""
    channels, sources = _adapters()
    channel_settings: dict[str, type[ChannelSettings]] = {name: module.Settings for name, module in channels.items()}
    source_settings: dict[str, type[SourceSettings]] = {name: module.Settings for name, module in sources.items()}
    sender_settings: dict[str, type[SenderSettings]] = {name: module.Settings for name, module in _senders().items()}
    return load_config(
        root,
        channel_settings=channel_settings,
        source_settings=source_settings,
        sender_settings=sender_settings,
        env=env,
        lenient=lenient,
    )


def make_channels(newsroom: Newsroom) -> dict[str, Channel]:
    """The channels of a newsroom that posts go to, by name."""
    return _made(newsroom, posts=True)


def make_hubs(newsroom: Newsroom) -> dict[str, Hub]:
    """Those that are told of changed feeds, by name."""
    return _made(newsroom, posts=False)


def _made(newsroom: Newsroom, *, posts: bool) -> dict[str, Any]:
    modules, _ = _adapters()
    wanted = {name: settings for name, settings in newsroom.channels.items() if settings.POSTS is posts}
    return {name: modules[settings.type].make(name, settings) for name, settings in wanted.items()}


def make_sources(newsroom: Newsroom, store: Store | None = None) -> dict[str, Source]:
    """The sources of a newsroom, by name. In `store` each keeps what it knows between two fetches."""
    _, modules = _adapters()
    site = newsroom.site
    shelf: Callable[[str], FetchCache] = (
        partial(StoredFetchCache, store) if store is not None else lambda name: NoFetchCache()
    )
    stories: StoryIndex = StoredStories(store) if store is not None else NoStoryIndex()
    found: dict[str, Source] = {}
    for name, settings in newsroom.sources.items():
        zone = load_zone(site.timezone)
        pictures = shelf(f"{name}/pictures")  # a name that no source has
        context = SourceContext(name, newsroom.root, site.url, site.languages, zone, shelf(name), pictures, stories)
        found[name] = modules[settings.type].make(settings, context)
    return found


def store_exists(newsroom: Newsroom) -> bool:
    """Whether there is a store with tables; nothing is made."""
    store = Store(store_address(newsroom), newsroom.root)
    try:
        return (store.path is None or store.path.exists()) and migrate.version(store) is not None
    finally:
        store.close()


def _adapters() -> tuple[dict[str, ModuleType], dict[str, ModuleType]]:
    return (
        plugins.load_adapters("tidings.channels", plugins.CHANNELS),
        plugins.load_adapters("tidings.sources", plugins.SOURCES),
    )


def _spacing(settings: ChannelSettings, newsroom: Newsroom) -> Spacing:
    quiet = parse_window(settings.quiet_hours) if settings.quiet_hours else None
    zone = settings.timezone or newsroom.site.timezone
    return Spacing(zone, quiet, settings.max_per_hour, settings.max_per_day, settings.spacing)


def _senders() -> dict[str, ModuleType]:
    return plugins.load_adapters("tidings.mail", plugins.MAIL)


class Runtime:
    """Everything that one process needs for one newsroom. Use as a context manager."""

    def __init__(
        self,
        newsroom: Newsroom,
        *,
        keys: TokenKeys | None = None,
        reached: Callable[[str], None] | None = None,
        divert: Callable[[Channel], Channel] = lambda channel: channel,
    ) -> None:
        """Opens the store, and makes its tables if it is fresh. `reached` is for tests that end the process there.

        `divert` puts another channel in the place of each, for a rehearsal.
        """
        self.root = newsroom.root
        self._divert = divert
        self._reached = reached or (lambda point: None)
        self.store = Store(store_address(newsroom), newsroom.root)
        self.occupancy = SharedHold(self.store)
        try:
            migrate.create_or_check(self.store)
            self.keys = keys or _keys(newsroom.root)
        except BaseException:
            self.occupancy.release()
            self.store.close()
            raise
        self.liveness: Liveness = acquire_liveness(self.store)
        self.owner = self.liveness.owner
        self._now: datetime | None = None
        self._deliverer: Deliverer | None = None
        self.apply_configuration(newsroom)

    def apply_configuration(self, newsroom: Newsroom) -> None:
        """Take up a configuration; the store and what it holds stay."""
        self.newsroom = newsroom
        self.channels = {name: self._divert(channel) for name, channel in make_channels(newsroom).items()}
        self.hubs = make_hubs(newsroom)
        self.sources = make_sources(newsroom, self.store)
        self.templates = MailTemplates(newsroom.root / "templates")
        self._pages = Pages(newsroom.root / "templates")
        self.mail = MailRenderer(newsroom, self.templates, self.keys)
        self.composer = Composer(self.store, newsroom, self.channels, self.mail, self.keys, self.owner)
        if self._deliverer is not None:
            self._deliverer.close()
        self._deliverer = self._make_deliverer()

    def _make_deliverer(self) -> Deliverer:
        newsroom = self.newsroom
        modules = _senders()
        prepare = {
            name: MessagePreparer(self.store, newsroom, self.mail, self.channels, sender)
            for name, sender in [("", None), *((sender.name, sender) for sender in newsroom.mail)]
        }
        senders = [
            MailSender(
                sender.name,
                partial(modules[sender.type].make, sender, reached=self._reached),
                sender.connections,
                sender.rate,
                sender.domain_rates,
                sender.weight,
                sender.fingerprint,
            )
            for sender in newsroom.mail
        ]
        return Deliverer(
            self.store,
            self.liveness,
            prepare=prepare,
            policies=self.resend_policies(),
            clock=self.now,
            senders=senders,
            routes={name: [sender.name for sender in newsroom.find_senders(name)] for name in ("", *newsroom.lists)},
            channels=self.channels,
            picture=Thumbnails(newsroom.public, newsroom.site.url),
            spacings={name: _spacing(one, newsroom) for name, one in newsroom.channels.items()},
            reached=self._reached,
        )

    def now(self) -> datetime:
        """The newsroom's clock: the moment given to `at`, else real time."""
        return self._now or datetime.now(UTC)

    def set_clock(self, now: datetime | None) -> None:
        """Stop the newsroom's clock at a moment, or let it run (None)."""
        self._now = now

    def fetch(self, *, only: Collection[str] | None = None, force: bool = False) -> dict[str, FetchResult]:
        """Ask the sources on the network that are due, or `only` these; what each brought."""
        return fetch.fetch_sources(self.store, self.sources, now=self.now(), only=only, force=force)

    def fetch_pictures(self, *, only: Collection[str] | None = None, force: bool = False) -> dict[str, int]:
        """Bring pictures of websites here, for half a minute or so; how many came, by source."""
        return fetch.fetch_pictures(self.store, self.root, self.sources, now=self.now(), only=only, force=force)

    def renew_hub_subscriptions(self) -> int:
        """Ask the hubs that feeds name to tell of changes."""
        return listen.renew_subscriptions(self.store, self.sources, url=self.newsroom.site.url, now=self.now())

    def ping_hubs(self) -> int:
        """Tell the hubs of the feeds that changed."""
        return ping.ping_hubs(self.store, self.hubs, url=self.newsroom.site.url, now=self.now())

    def deliver(self, only: int | None = None) -> DeliverySummary:
        """Send all that is due, and end the editions that are complete; or send one mailing, and nothing else."""
        assert self._deliverer is not None
        done = self._deliverer.run_until_idle(only)
        if only is not None:
            return done
        finish_editions(self.store, self.now())
        if done.states["accepted"]:
            # So that a look ahead sees how far readers were served, as composing does.
            with self.store.write() as connection:
                subscribers.update_marks(connection)
        return done

    def answer_requests(self) -> int:
        """Who asked to be put on a list gets a mail that asks for their word; returns how many were looked at."""
        return answer_requests(self.store, self.newsroom, self.keys, self._pages, self.now())

    def request_reconfirmation(self, list_name: str, until: datetime) -> int:
        """Ask everybody on a list once more for their word; returns how many are asked. Cut off, it can be repeated."""
        now = self.now()
        asked = 0
        while True:
            with self.store.write() as connection:
                more = request_reconfirmation(
                    connection, self.newsroom, self.keys, self._pages, list_name, now, until, now
                )
            if not more:
                return asked
            asked += more

    def stop(self) -> None:
        """Begin no further message, and ask no further source."""
        for source in self.sources.values():
            if isinstance(source, (FetchingSource, PictureSource)):
                source.abort()
        if self._deliverer is not None:
            self._deliverer.stop()

    def resend_policies(self) -> ResendPolicies:
        """What may go out again after an unknown outcome."""
        never = frozenset(name for name, one in self.newsroom.lists.items() if one.resend_in_doubt == "never")
        capabilities = {name: channel.capabilities for name, channel in self.channels.items()}
        looks = frozenset(name for name, channel in self.channels.items() if isinstance(channel, CanFind))
        return ResendPolicies(never, capabilities, looks)

    def close(self) -> None:
        """Give everything back."""
        if self._deliverer is not None:
            self._deliverer.close()
        self.liveness.release()
        self.occupancy.release()
        self.store.close()

    def __enter__(self) -> Runtime:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_runtime(root: Path, env: Mapping[str, str] | None = None) -> Runtime:
    """Open the runtime of a folder. Raises InputError with every problem of its configuration."""
    return Runtime(load_valid_newsroom(root, env))


def load_valid_newsroom(root: Path, env: Mapping[str, str] | None = None) -> Newsroom:
    """Load the configuration of a folder. Raises InputError with every problem of it."""
    if (root / RESTORING).exists():
        raise RefusedError(
            "A restore of this newsroom was interrupted. Run `tidings restore FILE` again: it puts the old files back "
            "and begins anew."
        )
    loaded = load_newsroom(root, env)
    if loaded.newsroom is None:
        raise InputError("\n".join(str(problem) for problem in loaded.problems if problem.level == "error"))
    return loaded.newsroom


def _keys(root: Path) -> TokenKeys:
    path = root / KEYS
    try:
        return TokenKeys.from_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        pass
    except ValueError as error:
        mend = "Restore it from a backup: with another one no link in sent mail works."
        raise InputError(f"{KEYS}: {error}. {mend}") from None
    keys = TokenKeys.generate()
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except FileExistsError:
        return TokenKeys.from_json(path.read_text(encoding="utf-8"))
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(keys.to_json())
    return keys


def check_clock_override(newsroom: Newsroom, now: datetime, real_now: datetime) -> None:
    """A clock more than an hour off real time sends only to this machine. Raises RefusedError otherwise."""
    if abs(now - real_now) <= timedelta(hours=1):
        return
    hosts = {"mail" if len(newsroom.mail) == 1 else f"mail {one.name}": one.target_host for one in newsroom.mail}
    for name, settings in newsroom.channels.items():
        url = getattr(settings, "url", None) or getattr(settings, "server", None)
        text = url.get_secret_value() if isinstance(url, SecretStr) else str(url or "")
        hosts[f"channel {name}"] = urlsplit(text).hostname or ""
    for what, host in hosts.items():
        if not _is_loopback(host):
            raise RefusedError(
                f"--now is more than an hour from real time, and {what} does not stay on this machine: people would "
                "get mail of another day. Point it to 127.0.0.1, or leave --now out."
            )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
