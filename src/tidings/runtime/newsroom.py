"""The composition root: a newsroom's folder becomes a store, sources, channels, a composer and a deliverer."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Collection, Mapping
from contextlib import nullcontext
from datetime import UTC, datetime
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from tidings import plugins
from tidings.channels.base import CanFind, Channel, Hub
from tidings.config.adapters import ChannelSettings
from tidings.config.load import LoadOptions, LoadResult, load_config, store_address
from tidings.config.settings import Newsroom
from tidings.model.cadence import parse_window
from tidings.model.delivery import WEBHOOK_LANE
from tidings.model.errors import InputError, RefusedError
from tidings.model.throttling import Spacing
from tidings.model.tokens import TokenKeys
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
from tidings.store.delivery.failover import SenderMemory
from tidings.store.engine import Store
from tidings.store.locks import Liveness, SharedHold, acquire_liveness
from tidings.store.people import segments
from tidings.store.service.heartbeat import Heartbeat, load_heartbeats

if TYPE_CHECKING:
    # The parts of a runtime import the pipeline and the renderer on first use: most commands need only a few.
    from tidings.pipeline.collect.files import KeptListings
    from tidings.pipeline.collect.sweep import UnchangedSweeps
    from tidings.pipeline.compose.composer import Composer
    from tidings.pipeline.compose.drafter import Drafter
    from tidings.pipeline.compose.lifecycle import EditionLifecycle
    from tidings.pipeline.compose.mail import MailRenderer
    from tidings.pipeline.deliver.context import DeliverySummary, Preparer
    from tidings.pipeline.deliver.deliverer import Deliverer, DeliveryPart
    from tidings.pipeline.deliver.outcomes import ResendPolicies
    from tidings.pipeline.members.mails import MemberMails
    from tidings.pipeline.publish.bucket import Bucket, CopyResult
    from tidings.render.templates import MailTemplates
    from tidings.runtime.monitoring.traces import Traces

KEYS = "keys.json"
RESTORING = Path(".restoring/moves.json")
"""Exists in a newsroom's folder while `tidings restore` moves files."""


def load_newsroom(root: Path, env: Mapping[str, str] | None = None, **options: Unpack[LoadOptions]) -> LoadResult:
    """Load the configuration of a folder, with the installed adapters."""
    return load_config(
        root,
        channel_settings=plugins.AdapterSettings(plugins.channels()),
        source_settings=plugins.AdapterSettings(plugins.sources()),
        sender_settings=plugins.AdapterSettings(plugins.senders()),
        env=env,
        **options,
    )


def make_channels(newsroom: Newsroom) -> dict[str, Channel]:
    """Make the channels that posts go to, by name."""
    return _make(newsroom, posts=True)


def make_hubs(newsroom: Newsroom) -> dict[str, Hub]:
    """Make the WebSub hubs that are notified of changed feeds, by name."""
    return _make(newsroom, posts=False)


def _make(newsroom: Newsroom, *, posts: bool) -> dict[str, Any]:
    modules = plugins.channels()
    return {
        name: modules[settings.type].make(name, settings)
        for name, settings in newsroom.channels.items()
        if settings.POSTS is posts
    }


def make_sources(newsroom: Newsroom, store: Store | None = None) -> dict[str, Source]:
    """Make the sources of a newsroom, by name. Their state between fetches is in `store`."""
    modules = plugins.sources()
    site = newsroom.site
    make_cache: Callable[[str], FetchCache] = (
        partial(StoredFetchCache, store) if store is not None else lambda name: NoFetchCache()
    )
    stories: StoryIndex = StoredStories(store) if store is not None else NoStoryIndex()
    sources: dict[str, Source] = {}
    for name, settings in newsroom.sources.items():
        pictures = make_cache(f"{name}/pictures")  # a name that no source has
        cache = make_cache(name)
        context = SourceContext(name, newsroom.root, site.url, site.languages, site.zone, cache, pictures, stories)
        sources[name] = modules[settings.type].make(settings, context)
    return sources


def open_store(newsroom: Newsroom) -> Store:
    """Open the store of a newsroom without creating or upgrading it."""
    return Store(store_address(newsroom), newsroom.root)


def store_exists(newsroom: Newsroom) -> bool:
    """Return whether the newsroom has a store with tables. Creates nothing."""
    store = open_store(newsroom)
    try:
        return (store.path is None or store.path.exists()) and migrate.version(store) is not None
    finally:
        store.close()


def _spacing(settings: ChannelSettings, newsroom: Newsroom) -> Spacing:
    quiet = parse_window(settings.quiet_hours) if settings.quiet_hours else None
    zone = settings.timezone or newsroom.site.timezone
    return Spacing(zone, quiet, settings.max_per_hour, settings.max_per_day, settings.spacing)


class Runtime:
    """Everything that one process needs for one newsroom. Use as a context manager."""

    def __init__(
        self,
        newsroom: Newsroom,
        *,
        keys: TokenKeys | None = None,
        reached: Callable[[str], None] | None = None,
        divert: Callable[[Channel], Channel] = lambda channel: channel,
        divert_mail: Callable[[Newsroom], Newsroom] | None = None,
        looks_up_links: bool = True,
        lazy: bool = False,
    ) -> None:
        """Open the store, and create its tables if it is new.

        `reached` is called at named points, where tests end the process. `divert` replaces each channel, for a
        rehearsal. `divert_mail` replaces the senders of each configuration; then no hub is called either.
        `looks_up_links`: False if composing must not ask the web. With `lazy`, each part is made when it is first
        used; this is not for several threads.
        """
        self.root = newsroom.root
        self._divert = divert
        self._divert_mail = divert_mail
        self._looks_up_links = looks_up_links and divert_mail is None
        self._reached = reached or (lambda point: None)
        self.store = open_store(newsroom)
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
        self._event_liveness: Liveness | None = None
        self._sent = SenderMemory.of(self.store)
        self._events_lock = threading.Lock()  # held while events are delivered: the configuration stays
        self.composing = threading.RLock()
        """Held by the thread that composes: an unfinished edition of this process counts as left by a crash."""
        self.is_sending = False  # the pages then leave the processor to it
        self._now: datetime | None = None
        self.unchanged_sweeps: UnchangedSweeps = {}  # of `collect`, from one cycle to the next
        self.listings: KeptListings | None = None  # the same, in a process that watches the folders
        self.is_demo = False  # whether this is the sample newsroom of `tidings demo`: the comms room says so
        self.newsroom = divert_mail(newsroom) if divert_mail is not None else newsroom
        if not lazy:
            self.apply_configuration(newsroom)

    def apply_configuration(self, newsroom: Newsroom) -> None:
        """Use another configuration with the same store."""
        self.newsroom = self._divert_mail(newsroom) if self._divert_mail is not None else newsroom
        self._close_deliverer()
        for part in (*_PARTS, "bucket"):
            self.__dict__.pop(part, None)
        for part in _PARTS:
            getattr(self, part)

    @cached_property
    def channels(self) -> dict[str, Channel]:
        """The channels that posts go to, by name."""
        return {name: self._divert(channel) for name, channel in make_channels(self.newsroom).items()}

    @cached_property
    def hubs(self) -> dict[str, Hub]:
        """The WebSub hubs, by name."""
        return {} if self.is_caught else make_hubs(self.newsroom)

    @cached_property
    def bucket(self) -> Bucket | None:
        """The bucket that gets a copy of public/. Nothing leaves while mail and posts are caught.

        It is made when it is first used: its library takes long to load, and most commands copy nothing.
        """
        settings = self.newsroom.publish
        if settings is None or self.is_caught or self.newsroom.find_unset("publish"):
            return None
        from tidings.pipeline.publish.bucket import Bucket

        return Bucket(settings)

    def copy_to_bucket(self, on_progress: Callable[[int, int], None] = lambda done, of: None) -> CopyResult:
        """Bring the bucket of `publish` up to date with public/, if there is one."""
        from tidings.pipeline.publish.bucket import CopyResult, copy_to_bucket

        if self.bucket is None or self.is_caught_elsewhere():
            return CopyResult()
        return copy_to_bucket(self.store, self.newsroom.public, self.bucket, on_progress=on_progress)

    @cached_property
    def webhooks(self) -> dict[str, Channel]:
        """The event webhooks, by the channel of their deliveries. Empty while posts are caught."""
        from tidings.channels.chat.webhook import EventWebhook

        if self.is_caught:
            return {}
        found = self.newsroom.webhooks.items()
        return {f"{WEBHOOK_LANE}{name}": self._divert(EventWebhook(name, settings)) for name, settings in found}

    @property
    def is_caught(self) -> bool:
        """Whether mail and posts stay on this machine."""
        return self._divert_mail is not None

    def list_services(self) -> list[Heartbeat]:
        """Return the running services of this newsroom."""
        with self.store.read() as connection:
            services = load_heartbeats(connection)
        return [service for service in services if self.liveness.is_alive(service.owner)]

    def is_caught_elsewhere(self) -> bool:
        """Whether a running service catches all mail and posts. Then nothing else may send: it would leave."""
        return not self.is_caught and any(service.catches for service in self.list_services())

    @cached_property
    def traces(self) -> Traces | None:
        """The OpenTelemetry traces, if the environment asks for them. Nothing is recorded while mail is caught."""
        if self.is_caught or not any(name.startswith("OTEL_EXPORTER_OTLP_") for name in os.environ):
            return None
        from tidings.runtime.monitoring.traces import open_traces

        return open_traces(self.newsroom.site.url, self.store)

    @cached_property
    def sources(self) -> dict[str, Source]:
        """The sources, by name."""
        return make_sources(self.newsroom, self.store)

    @cached_property
    def templates(self) -> MailTemplates:
        """The mail templates, shipped and own."""
        from tidings.render.templates import MailTemplates

        return MailTemplates(self.root / "templates")

    @cached_property
    def member_mails(self) -> MemberMails:
        """The mails to people who subscribe."""
        from tidings.pipeline.members.mails import MemberMails
        from tidings.render.pages.pages import Pages

        return MemberMails(self.newsroom, self.keys, Pages(self.root / "templates"))

    @cached_property
    def mail(self) -> MailRenderer:
        """The renderer of digests."""
        from tidings.pipeline.compose.mail import MailRenderer

        return MailRenderer(self.newsroom, self.templates, self.keys)

    @cached_property
    def editions(self) -> EditionLifecycle:
        """The life cycle of editions after composing."""
        from tidings.pipeline.compose.lifecycle import EditionLifecycle

        return EditionLifecycle(self.store, self.newsroom)

    @cached_property
    def drafter(self) -> Drafter:
        """The part of the composer that chooses stories. It is the composer itself if there is one: items load once."""
        if "composer" in self.__dict__:
            return self.composer
        from tidings.pipeline.compose.drafter import Drafter

        return Drafter(self.store, self.newsroom)

    @cached_property
    def composer(self) -> Composer:
        """The composer of editions."""
        from tidings.pipeline.compose.composer import Composer

        parts = (self.editions, self.channels, self.mail, self.keys, self.owner)
        if self.traces is None:
            composer = Composer(*parts)
        else:
            from tidings.runtime.monitoring.traces import TracedComposer

            composer = TracedComposer(*parts)
            composer.traces = self.traces
        composer.gates.is_offline = not self._looks_up_links
        return composer

    @cached_property
    def deliverer(self) -> Deliverer:
        """The deliverer of mail and posts."""
        from tidings.pipeline.deliver.deliverer import Deliverer
        from tidings.pipeline.deliver.prepare import MessagePreparer
        from tidings.pipeline.deliver.senders import MailSender
        from tidings.pipeline.deliver.thumbnails import Thumbnails

        newsroom, usable = self.newsroom, self.newsroom.usable_mail
        modules = plugins.senders()
        prepare: dict[str, Preparer] = {
            name: MessagePreparer(self.store, newsroom, self.mail, self.channels, sender)
            for name, sender in [("", None), *((sender.name, sender) for sender in usable)]
        }
        if self.traces is not None:
            prepare = {name: self.traces.watch(part) for name, part in prepare.items()}
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
            for sender in usable
        ]
        return Deliverer(
            self.store,
            self.liveness,
            prepare=prepare,
            policies=self.resend_policies(),
            clock=self.now,
            senders=senders,
            routes={
                name: [sender.name for sender in newsroom.find_senders(name) if sender in usable]
                for name in ("", *newsroom.lists)
            },
            channels=self.channels,
            fingerprints={name: settings.fingerprint for name, settings in newsroom.channels.items()},
            breaker=newsroom.bounces.breaker,
            picture=Thumbnails(newsroom.public, newsroom.site.url),
            spacings={name: _spacing(settings, newsroom) for name, settings in newsroom.channels.items()},
            count_processes=self._count_sending_processes,
            memory=self._sent,
            reached=self._reached,
        )

    def _count_sending_processes(self) -> int:
        """Count the living processes that send mail, with this one. They share the connections of a sender."""
        with self.store.read() as connection:
            heartbeats = load_heartbeats(connection)
        others = [beat for beat in heartbeats if beat.owner != self.owner and beat.sends_mail]
        return 1 + sum(self.liveness.is_alive(beat.owner) for beat in others)

    @cached_property
    def event_deliverer(self) -> Deliverer:
        """The deliverer to event webhooks. It has an owner of its own, because it runs beside the other one."""
        from tidings.pipeline.deliver.deliverer import Deliverer
        from tidings.pipeline.deliver.prepare import MessagePreparer

        if self._event_liveness is None:
            self._event_liveness = acquire_liveness(self.store)
        return Deliverer(
            self.store,
            self._event_liveness,
            prepare=MessagePreparer(self.store, self.newsroom, self.mail, self.webhooks),
            policies=self.resend_policies(),
            clock=self.now,
            channels=self.webhooks,
            fingerprints={
                f"{WEBHOOK_LANE}{name}": settings.fingerprint for name, settings in self.newsroom.webhooks.items()
            },
            events=True,
            reached=self._reached,
        )

    def deliver_events(self, *, patient: bool = False) -> DeliverySummary:
        """Queue what happened for the event webhooks, and send what is due."""
        from tidings.pipeline.deliver.context import DeliverySummary
        from tidings.pipeline.webhooks import queue_events
        from tidings.store.delivery import claims

        if self.is_caught_elsewhere():
            return DeliverySummary()
        with self._events_lock:
            queue_events(self.store, {} if self.is_caught else self.newsroom.webhooks, self.now())
            with self.store.read() as connection:
                due = claims.count_due(connection, self.now(), datetime.now(UTC))
            if not any(channel.startswith(WEBHOOK_LANE) for channel in due):
                return DeliverySummary()
            return self.event_deliverer.run_until_idle(patient=patient)

    def now(self) -> datetime:
        """Return the newsroom's time: the moment given to `set_clock`, else real time."""
        return self._now or datetime.now(UTC)

    def set_clock(self, now: datetime | None) -> None:
        """Stop the newsroom's clock at a moment. None lets it run again."""
        self._now = now

    def fetch(self, *, only: Collection[str] | None = None, force: bool = False) -> dict[str, FetchResult]:
        """Fetch the sources on the network that are due, or `only` these. Returns the results by source."""
        from tidings.pipeline.collect import fetch

        zone = self.newsroom.site.zone
        return fetch.fetch_sources(self.store, self.sources, now=self.now(), only=only, force=force, zone=zone)

    def fetch_pictures(self, *, only: Collection[str] | None = None, force: bool = False) -> dict[str, int]:
        """Download pictures of websites for about half a minute. Returns the number of new pictures, by source."""
        from tidings.pipeline.collect import fetch

        return fetch.fetch_pictures(self.store, self.root, self.sources, now=self.now(), only=only, force=force)

    def renew_hub_subscriptions(self) -> int:
        """Subscribe to changes at the hubs that the feeds of our sources name."""
        from tidings.pipeline.collect.websub import renew_subscriptions

        if self.is_caught:
            return 0
        return renew_subscriptions(self.store, self.sources, url=self.newsroom.site.url, now=self.now())

    def ping_hubs(self) -> int:
        """Tell the hubs about our changed feeds."""
        from tidings.pipeline.publish.publish import ping_hubs

        return ping_hubs(self.store, self.hubs, url=self.newsroom.site.url, now=self.now())

    def deliver(
        self, only: int | None = None, *, patient: bool = False, part: DeliveryPart = "all", seconds: float = math.inf
    ) -> DeliverySummary:
        """Send everything that is due and finish complete editions. With `only`, send just this mailing.

        `part`: only mail or only posts. After `seconds` no further message begins.
        `patient`: do not try channels that cannot post now before their waiting time is over.
        """
        from tidings.pipeline.deliver.context import DeliverySummary
        from tidings.pipeline.track.bounces import act_on_refusals

        if self.is_caught_elsewhere():
            return DeliverySummary()
        self.is_sending = True
        try:
            self.occupancy.refresh()
            with self.traces.sending() if self.traces is not None else nullcontext():
                done = self.deliverer.run_until_idle(only, patient=patient, part=part, seconds=seconds)
            act_on_refusals(self.store, self.newsroom.bounces, self.now(), done.refused)
            if only is None:
                self.finish_editions(done)
        finally:
            self.is_sending = False
        return done

    def finish_editions(self, done: DeliverySummary) -> None:
        """Finish complete editions after a delivery."""
        from tidings.pipeline.deliver.deliverer import finish_editions

        finish_editions(self.store, self.now())
        if done.states["accepted"]:
            # `plan` and `preview` then see the same marks as composing.
            segments.update_marks(self.store)

    def settle_failover(self) -> None:
        """Report what a database server that took over has forgotten. Call it only while nothing is sent."""
        if not self.store.is_sqlite:
            self.deliverer.settle_failover()

    def answer_requests(self) -> int:
        """Answer sign-ups by mail. Returns the number of handled sign-ups."""
        from tidings.pipeline.members.subscribe import answer_requests

        return answer_requests(self.store, self.member_mails, self.now())

    def request_reconfirmation(self, list_name: str, until: datetime) -> int:
        """Ask all subscribers of a list to confirm again. Returns their number. Can be run again if interrupted."""
        from tidings.pipeline.members.subscribe import request_reconfirmation

        now, total = self.now(), 0
        while True:
            with self.store.write() as connection:
                count = request_reconfirmation(connection, self.member_mails, list_name, now, until, now)
            if not count:
                return total
            total += count

    def stop(self) -> None:
        """Start no more messages and no more fetches."""
        for source in self.sources.values():
            if isinstance(source, (FetchingSource, PictureSource)):
                source.abort()
        for part in ("deliverer", "event_deliverer"):
            if part in self.__dict__:
                getattr(self, part).stop()

    def resend_policies(self) -> ResendPolicies:
        """Return the rules for sending again after an unknown outcome."""
        from tidings.pipeline.deliver.outcomes import ResendPolicies

        never = frozenset(name for name, settings in self.newsroom.lists.items() if settings.resend_in_doubt == "never")
        channels = {**self.channels, **self.webhooks}
        capabilities = {name: channel.capabilities for name, channel in channels.items()}
        searchable = frozenset(name for name, channel in self.channels.items() if isinstance(channel, CanFind))
        return ResendPolicies(never, capabilities, searchable)

    def close(self) -> None:
        """Release the store, its locks and all connections."""
        self._close_deliverer()
        if (traces := self.__dict__.get("traces")) is not None:
            traces.close()
        self.liveness.release()
        if self._event_liveness is not None:
            self._event_liveness.release()
        self.occupancy.release()
        self.store.close()

    def _close_deliverer(self) -> None:
        if "deliverer" in self.__dict__:
            self.deliverer.close()
        with self._events_lock:
            if "event_deliverer" in self.__dict__:
                self.event_deliverer.close()
                del self.event_deliverer

    def __enter__(self) -> Runtime:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


_PARTS = (
    "channels",
    "webhooks",
    "hubs",
    "sources",
    "templates",
    "member_mails",
    "mail",
    "editions",
    "composer",
    "drafter",
    "deliverer",
)
"""The parts of a runtime that depend on the configuration."""


def open_runtime(root: Path, env: Mapping[str, str] | None = None) -> Runtime:
    """Open the runtime of a folder. Raises InputError that lists every problem of the configuration."""
    return Runtime(load_valid_newsroom(root, env))


def load_valid_newsroom(root: Path, env: Mapping[str, str] | None = None, **options: Unpack[LoadOptions]) -> Newsroom:
    """Load the configuration of a folder. Raises InputError that lists every problem that matters for the needs."""
    if (root / RESTORING).exists():
        raise RefusedError(
            "A restore of this newsroom was interrupted. Run `tidings restore FILE` again: it puts the old files back "
            "and starts again."
        )
    loaded = load_newsroom(root, env, **options)
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
        advice = "Restore this file from a backup: with other keys, the links in sent mails do not work."
        raise InputError(f"{KEYS}: {error}. {advice}") from None
    keys = TokenKeys.generate()
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except FileExistsError:
        return TokenKeys.from_json(path.read_text(encoding="utf-8"))
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(keys.to_json())
    return keys
