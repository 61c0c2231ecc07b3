"""The models of tidings.yaml."""

from __future__ import annotations

from collections.abc import Mapping
from email.utils import parseaddr
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import Field, SecretStr, ValidationInfo, field_validator, model_validator

from tidings.config.adapters import ChannelSettings, ConfigModel, SenderSettings, SourceSettings
from tidings.config.bounces import Bounces
from tidings.config.retention import Retention
from tidings.config.schedule import Schedule
from tidings.config.types import (
    ONE_OR_MANY,
    Address,
    Bool,
    Colour,
    Int,
    Languages,
    Line,
    ListenAddress,
    Name,
    Names,
    PlainAddress,
    Proxies,
    SenderNames,
    SiteUrl,
    StoreAddress,
    Text,
    Zone,
)
from tidings.model.cadence import load_zone
from tidings.model.item import Media


class Site(ConfigModel):
    """Who publishes, where, and in which languages."""

    title: Text = Field(description="Name of the publisher, as readers see it.")
    url: SiteUrl = Field(description="Address of the newsroom's own pages.")
    languages: Languages = Field(default=("en",), min_length=1, description="Languages; the first is the default.")
    timezone: Zone = Field(default="UTC", description="IANA zone of dates and cadences, such as Asia/Almaty.")
    address: Text = Field(description="Postal address; stands in every digest, as the law asks.")
    colour: Colour = Field(default="#0077b6", description='Main colour, like "#0077b6".')
    logo: Line | None = Field(default=None, description="Picture of the publisher: PNG or JPEG, relative to here.")

    @model_validator(mode="before")
    @classmethod
    def _colour_is_no_comment(cls, written: Any) -> Any:
        """`colour: #0077b6` is a key with a comment behind it."""
        if isinstance(written, dict) and "colour" in written and written["colour"] is None:
            return {**written, "colour": ""}
        return written

    @cached_property
    def zone(self) -> ZoneInfo:
        """The site's time zone."""
        return load_zone(self.timezone)


class Web(ConfigModel):
    """Where `tidings run` serves the pages."""

    host: Line = Field(default="127.0.0.1", description="Address to listen on.")
    port: Int = Field(default=8080, ge=1, le=65535, description="Port to listen on.")
    trust: Proxies = Field(default=("127.0.0.1",), description="Proxies whose X-Forwarded headers are believed.")
    metrics: ListenAddress | None = Field(
        default=None, description="Address of its own for Prometheus, such as 127.0.0.1:9464; without one: no metrics."
    )

    @field_validator("metrics", mode="after")
    @classmethod
    def _not_public(cls, value: str | None, info: ValidationInfo) -> str | None:
        """Never where readers come."""
        port = info.data.get("port")
        if value is not None and value.rpartition(":")[2].lstrip("0") == str(port):
            raise ValueError(f"readers come to port {port}; give metrics one of its own, like 127.0.0.1:9464")
        return value

    @property
    def metrics_address(self) -> tuple[str, int] | None:
        """Host and port, None where there is none."""
        if self.metrics is None:
            return None
        host, _, port = self.metrics.rpartition(":")
        return host.strip("[]"), int(port)


class FeedFilter(ConfigModel):
    """Which items a feed holds."""

    kinds: Names = Field(default=(), description="Kinds of item; empty means all.")
    topics: Names = Field(default=(), description="Any of these topics; empty means all.")


class FeedSettings(ConfigModel):
    """One feed beside `all`, which exists by itself."""

    title: Text = Field(description="Title, after the site's own.")
    select: FeedFilter = Field(default=FeedFilter(), description="What stands in it.")


class Welcome(ConfigModel):
    """What who has just confirmed is sent."""

    subject: Text = Field(description="Subject line.")
    text: Text = Field(description="A few words, as plain text.")
    latest: Bool = Field(default=False, description="true: with a link to the latest edition in the archive.")


class MailingList(ConfigModel):
    """What one subscribes to."""

    name: Text = Field(description="Title of the list, as readers see it.")
    from_: Address = Field(alias="from", description="Sender, like UN in Kazakhstan <news@example.org>.")
    reply_to: Address | None = Field(default=None, description="A mailbox that a person reads.")
    sender: SenderNames = Field(
        default=(), description="Name of the sender that its mail leaves by, or several in their order; default: any."
    )
    unsubscribe_mailto: PlainAddress | None = Field(
        default=None, description="Address that takes leave by mail; docs/howto/bounces.md tells how it is heard."
    )
    public: Bool = Field(default=True, description="false: no subscribe page, no archive, no feed.")
    fallback: Languages = Field(
        default=(), description="Tried where a story has no translation in the reader's language; [] leaves it out."
    )
    default_frequency: Name = Field(default="weekly", description="For who does not choose.")
    resend_in_doubt: Literal["once", "never"] = Field(
        default="once", description="Whether a message that may have arrived goes once more after a crash."
    )
    welcome: Welcome | None = Field(default=None, description="A mail to who has just confirmed.")
    was: Name | None = Field(default=None, description="Its former name, if it was renamed.")

    @property
    def sender_domain(self) -> str:
        """Domain of the sender."""
        return parseaddr(self.from_)[1].rpartition("@")[2]


class Notify(ConfigModel):
    """Who is told of an edition held, an item set aside, YAML refused, deliveries failed."""

    to: Annotated[tuple[PlainAddress, ...], ONE_OR_MANY] = Field(default=(), description="Addresses to tell by mail.")
    channel: Name | None = Field(default=None, description="A channel to tell.")


class NewsroomConfig(ConfigModel):
    """The whole of tidings.yaml."""

    site: Site = Field(description="Publisher, address, languages.")
    store: StoreAddress = Field(default=SecretStr("sqlite:///tidings.db"), description="Address of the database.")
    web: Web = Field(default=Web(), description="Where pages are served.")
    sources: Mapping[Name, SourceSettings] = Field(
        default_factory=dict, description="Where items come from; default: the folder content."
    )
    topics: Mapping[Name, Text] = Field(default_factory=dict, description="Names of topics.")
    feeds: Mapping[Name, FeedSettings] = Field(default_factory=dict, description="Feeds beside `all`.")
    mail: tuple[SenderSettings, ...] = Field(default=(), description="How mail leaves: one sender, or a list of them.")
    lists: Mapping[Name, MailingList] = Field(default_factory=dict, description="Mailing lists.")
    channels: Mapping[Name, ChannelSettings] = Field(default_factory=dict, description="Outlets other than mail.")
    bounces: Bounces = Field(default=Bounces(), description="How bounces and complaints are heard, and what follows.")
    notify: Notify = Field(default=Notify(), description="Who is told when something needs a look.")
    keep: Retention = Field(default=Retention(), description="How long what happened is kept.")


class Newsroom(NewsroomConfig):
    """A loaded newsroom: tidings.yaml, its schedules, and where it stands."""

    root: Path
    schedules: Mapping[str, Schedule] = Field(default_factory=dict)
    secrets: tuple[str, ...] = Field(default=(), repr=False)
    logo: Media | None = None

    @property
    def logo_url(self) -> str:
        """Address of the logo, empty where there is none."""
        return f"{self.site.url}media/{self.logo.digest}/{self.logo.name}" if self.logo else ""

    def find_senders(self, list_name: str) -> tuple[SenderSettings, ...]:
        """By which mail of a list may leave, the best first; of what is of no list ('') too."""
        named = self.lists[list_name].sender if list_name in self.lists else ()
        by_name = {sender.name: sender for sender in self.mail}
        return tuple(by_name[name] for name in named if name in by_name) or self.mail

    def former_name(self, kind: str, name: str) -> str | None:
        """Return the name by which the store may still know a list, channel or schedule (`was`).

        None if it was not renamed, or if its former name is in use again.
        """
        by_kind: Mapping[str, Mapping[str, MailingList | ChannelSettings | Schedule]]
        by_kind = {"list": self.lists, "channel": self.channels, "schedule": self.schedules}
        outlets = by_kind[kind]
        was = outlets[name].was if name in outlets else None
        return was if was and was not in outlets else None

    def current_list_name(self, name: str) -> str:
        """Return the present name of a list that an old mail names."""
        return next((new for new in self.lists if self.former_name("list", new) == name), name)

    @property
    def public(self) -> Path:
        """Where feeds and pages are written."""
        return self.root / "public"
