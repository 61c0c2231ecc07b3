"""The models of tidings.yaml."""

from __future__ import annotations

from collections.abc import Mapping
from email.utils import parseaddr
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import BeforeValidator, Field, SecretStr, ValidationInfo, field_validator, model_validator

from tidings.config.adapters import (
    ChannelSettings,
    ConfigModel,
    EventWebhookSettings,
    SenderSettings,
    SourceSettings,
)
from tidings.config.bounces import Bounces
from tidings.config.file_reader import UnsetSecret
from tidings.config.retention import Retention
from tidings.config.schedule import Schedule
from tidings.config.types import (
    ONE_OR_MANY,
    Address,
    Bool,
    BrokerAddress,
    Colour,
    Int,
    Languages,
    Line,
    ListenAddress,
    Name,
    Names,
    PlainAddress,
    Proxies,
    Score,
    SenderNames,
    SiteUrl,
    StoreAddress,
    Text,
    TopicText,
    Url,
    Zone,
    read_score,
)
from tidings.model.cadence import load_zone
from tidings.model.item import Media


class Site(ConfigModel):
    """The publisher, its address and its languages."""

    title: Text = Field(description="Name of the publisher, as readers see it.")
    url: SiteUrl = Field(description="Address of the newsroom's own pages.")
    languages: Languages = Field(default=("en",), min_length=1, description="Languages; the first is the default.")
    timezone: Zone = Field(default="UTC", description="IANA zone of dates and cadences, such as Asia/Almaty.")
    address: Text = Field(description="Postal address; shown in every digest, as the law requires.")
    colour: Colour = Field(default="#0077b6", description='Main colour, like "#0077b6".')
    logo: Line | None = Field(default=None, description="Picture of the publisher: PNG or JPEG, relative to here.")

    @model_validator(mode="before")
    @classmethod
    def _colour_is_no_comment(cls, written: Any) -> Any:
        """Report `colour: #0077b6` without quotes, which YAML reads as an empty value and a comment."""
        if isinstance(written, dict) and "colour" in written and written["colour"] is None:
            return {**written, "colour": ""}
        return written

    @cached_property
    def zone(self) -> ZoneInfo:
        """The site's time zone."""
        return load_zone(self.timezone)


def http_address(host: str, port: int) -> str:
    """Return the address of a server, without a final slash. An IPv6 address gets brackets (RFC 3986 §3.2.2)."""
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


class Web(ConfigModel):
    """Where `tidings run` serves the pages."""

    host: Line = Field(default="127.0.0.1", description="Address to listen on.")
    port: Int = Field(default=8080, ge=1, le=65535, description="Port to listen on.")
    trust: Proxies = Field(default=("127.0.0.1",), description="Proxies whose X-Forwarded headers are trusted.")
    metrics: ListenAddress | None = Field(
        default=None, description="Separate address for Prometheus, such as 127.0.0.1:9464; default: no metrics."
    )

    @field_validator("metrics", mode="after")
    @classmethod
    def _not_public(cls, value: str | None, info: ValidationInfo) -> str | None:
        """Refuse the port of the public pages."""
        port = info.data.get("port")
        if value is not None and value.rpartition(":")[2].lstrip("0") == str(port):
            raise ValueError(f"port {port} serves the public pages; give metrics another port, like 127.0.0.1:9464")
        return value

    @property
    def local_url(self) -> str:
        """The address of the pages for a browser on this machine, with a final slash."""
        return f"{http_address('127.0.0.1' if self.host in ('0.0.0.0', '::') else self.host, self.port)}/"  # noqa: S104

    @property
    def metrics_address(self) -> tuple[str, int] | None:
        """Host and port, or None without `metrics`."""
        if self.metrics is None:
            return None
        host, _, port = self.metrics.rpartition(":")
        return host.strip("[]"), int(port)


class Engine(ConfigModel):
    """A task engine that carries the work to workers on several machines. The store must be PostgreSQL."""

    type: Literal["celery"] = Field(description="Celery; it needs the extra tidings[cluster].")
    broker: BrokerAddress = Field(description="Address of RabbitMQ (amqp://user@host/vhost), or of Redis or Valkey.")


class ObjectStore(ConfigModel):
    """A bucket of an object store that speaks S3. It gets a copy of public/ after each change."""

    type: Literal["s3"] = Field(description="S3; it needs the extra tidings[s3].")
    bucket: Line = Field(description="Name of the bucket.")
    endpoint: Url | None = Field(default=None, description="Address of the object store; default: Amazon's.")
    region: Line = Field(default="us-east-1", description="Region of the bucket, as the object store names it.")
    prefix: Line = Field(default="", description="Folder inside the bucket, such as `news/`; default: none.")
    access_key: SecretStr | None = Field(
        default=None, description="Access key; default: what the machine offers (AWS_ACCESS_KEY_ID, a role, ...)."
    )
    secret_key: SecretStr | None = Field(default=None, description="Its secret.")

    @field_validator("endpoint", mode="after")
    @classmethod
    def _ends_with_slash(cls, value: str | None) -> str | None:
        return value if value is None or value.endswith("/") else f"{value}/"

    @field_validator("prefix", mode="after")
    @classmethod
    def _is_folder(cls, value: str) -> str:
        folder = value.strip("/")
        return f"{folder}/" if folder else ""

    @model_validator(mode="after")
    def _has_both_keys(self) -> Self:
        if (self.access_key is None) != (self.secret_key is None):
            raise ValueError("access_key and secret_key go together; write both, or neither")
        return self


class FeedFilter(ConfigModel):
    """The items of a feed."""

    kinds: Names = Field(default=(), description="Kinds of item; empty means all.")
    topics: Names = Field(default=(), description="Any of these topics; empty means all.")


class FeedSettings(ConfigModel):
    """One feed in addition to `all`, which always exists."""

    title: Text = Field(description="Title, after the site's own.")
    select: FeedFilter = Field(default=FeedFilter(), description="The items of the feed.")


class Welcome(ConfigModel):
    """The mail to a person who has just confirmed."""

    subject: Text = Field(description="Subject line.")
    text: Text = Field(description="A few words, as plain text.")
    latest: Bool = Field(default=False, description="true: with a link to the latest edition in the archive.")


class MailingList(ConfigModel):
    """A list that people subscribe to."""

    name: Text = Field(description="Title of the list, as readers see it.")
    from_: Address = Field(alias="from", description="Sender, like UN in Kazakhstan <news@example.org>.")
    reply_to: Address | None = Field(default=None, description="A mailbox that a person reads.")
    sender: SenderNames = Field(
        default=(), description="Name of the sender for its mail, or several in order of preference; default: any."
    )
    unsubscribe_mailto: PlainAddress | None = Field(
        default=None, description="Address for unsubscribing by mail; docs/howto/bounces.md explains how it is read."
    )
    public: Bool = Field(default=True, description="false: no subscribe page, no archive, no feed.")
    fallback: Languages = Field(
        default=(),
        description="Languages to try if a story has no translation for the reader; [] leaves the story out.",
    )
    default_frequency: Name = Field(default="weekly", description="Frequency of readers who choose none.")
    frequencies: Mapping[Name, Text] = Field(
        default_factory=dict,
        description="Names of frequencies, as readers see them: {fortnightly: {en: Every other week}}.",
    )
    resend_in_doubt: Literal["once", "never"] = Field(
        default="once", description="After a crash: send a message that may have arrived `once` more, or `never`."
    )
    welcome: Welcome | None = Field(default=None, description="A mail to each person who has just confirmed.")
    was: Name | None = Field(default=None, description="The former name, if it was renamed.")

    @property
    def sender_domain(self) -> str:
        return parseaddr(self.from_)[1].rpartition("@")[2]


class Notify(ConfigModel):
    """Who gets notices of held editions, items set aside, refused YAML and failed deliveries."""

    to: Annotated[tuple[PlainAddress, ...], ONE_OR_MANY] = Field(
        default=(), description="Addresses that get notices by mail."
    )
    channel: Name | None = Field(default=None, description="A channel that gets notices.")


class OpenIdSettings(ConfigModel):
    """Sign-in to the comms room with accounts that the organisation has elsewhere (OpenID Connect)."""

    issuer: Url = Field(description="Address of the provider (the issuer), exactly as the provider writes it.")
    client_id: Line = Field(description="Client ID that the provider gave to this newsroom.")
    client_secret: SecretStr = Field(description="Client secret: {env: NAME} or {file: PATH}.")
    name: Text | None = Field(default=None, description="Name of the provider on the button; default: its host.")
    allow_private: Bool = Field(
        default=False, description="Permits a provider of the intranet or of this machine, also without https."
    )

    @field_validator("issuer")
    @classmethod
    def _has_no_query(cls, value: str) -> str:
        """Refuse a query or fragment in the issuer (OpenID Connect Discovery 1.0 §3)."""
        if "?" in value or "#" in value:
            raise ValueError("an issuer has neither ? nor #; write it like https://login.example.org")
        return value.removesuffix("/.well-known/openid-configuration")

    @model_validator(mode="after")
    def _is_encrypted(self) -> OpenIdSettings:
        """Refuse plain http, because an eavesdropper could sign in as anybody."""
        if self.issuer.startswith("http:") and not self.allow_private:
            raise ValueError("issuer must begin with https://; http is only allowed with `allow_private: true`")
        return self


class Room(ConfigModel):
    """The comms room."""

    oidc: OpenIdSettings | None = Field(default=None, description="Sign-in through an OpenID Connect provider.")


def _read_spam(written: Any) -> Any:
    if not isinstance(written, str):
        return written
    # The error is reported at the written key `spam`, not at `score`.
    return {"score": read_score(written)}


GateAction = Literal["hold", "warn", "off"]


class SpamGate(ConfigModel):
    """SpamAssassin's score from which a mail looks like spam."""

    score: Score = Field(description="Points, such as 5; SpamAssassin itself calls a mail spam from 5.")
    then: Literal["hold", "warn"] = Field(default="hold", description="hold or warn.")


class Gates(ConfigModel):
    """The checks of an edition that can be set: each holds it, warns, or is off."""

    links: GateAction = Field(
        default="hold", description="Links to pages that are gone (404, 410) or to names that do not exist."
    )
    leftovers: GateAction = Field(
        default="hold", description="Words left over from a draft: Lorem ipsum, TODO, [insert ...], {{ name }}."
    )
    contrast: GateAction = Field(
        default="warn", description="Text that is hard to read, also in dark mode and with inverted colours."
    )
    spam: Annotated[SpamGate, BeforeValidator(_read_spam, json_schema_input_type=SpamGate | int | str)] | None = Field(
        default=None, description="SpamAssassin's score from which mail is held: 5, or {score: 5, then: warn}."
    )
    allow_private: Bool = Field(
        default=False, description="Permits look-ups of links to the intranet or to this machine."
    )


class NewsroomConfig(ConfigModel):
    """The whole of tidings.yaml."""

    site: Site = Field(description="Publisher, address, languages.")
    store: StoreAddress = Field(default=SecretStr("sqlite:///tidings.db"), description="Address of the database.")
    engine: Engine | None = Field(
        default=None, description="Task engine of a fleet; default: none, so each `tidings run` sends its own mail."
    )
    web: Web = Field(default=Web(), description="Where pages are served.")
    publish: ObjectStore | None = Field(
        default=None, description="A bucket that gets a copy of public/, for readers everywhere; default: none."
    )
    sources: Mapping[Name, SourceSettings] = Field(
        default_factory=dict, description="Where items come from; default: the folder content."
    )
    topics: Mapping[Name, TopicText] = Field(
        default_factory=dict, description="Names of topics: a text, or {label: ..., hashtag: ...} for posts."
    )
    feeds: Mapping[Name, FeedSettings] = Field(default_factory=dict, description="Feeds in addition to `all`.")
    mail: tuple[SenderSettings, ...] = Field(
        default=(), description="How mail is sent: one sender, or a list of senders."
    )
    lists: Mapping[Name, MailingList] = Field(default_factory=dict, description="Mailing lists.")
    channels: Mapping[Name, ChannelSettings] = Field(default_factory=dict, description="Outlets other than mail.")
    webhooks: Mapping[Name, EventWebhookSettings] = Field(
        default_factory=dict, description="Programs that get events about stories, editions and subscribers."
    )
    bounces: Bounces = Field(default=Bounces(), description="How bounces and complaints arrive, and their effects.")
    gates: Gates = Field(default=Gates(), description="What the checks of editions look for, and their effects.")
    notify: Notify = Field(default=Notify(), description="Who gets notices when something needs attention.")
    room: Room = Field(default=Room(), description="Sign-in to the comms room.")
    keep: Retention = Field(default=Retention(), description="How long records are kept.")


class Newsroom(NewsroomConfig):
    """A loaded newsroom: tidings.yaml, its schedules, and its folder."""

    root: Path
    schedules: Mapping[str, Schedule] = Field(default_factory=dict)
    secrets: tuple[str, ...] = Field(default=(), repr=False)
    logo: Media | None = None
    unset: tuple[UnsetSecret, ...] = ()
    """Missing variables and files of secrets, if it was loaded without secrets."""
    faults: tuple[str, ...] = ()
    """Errors of the YAML, if only its valid part was loaded."""

    @property
    def logo_url(self) -> str:
        """Address of the logo, empty without one."""
        return f"{self.site.url}media/{self.logo.digest}/{self.logo.name}" if self.logo else ""

    def find_unset(self, *path: str | int) -> tuple[UnsetSecret, ...]:
        """Return the missing secrets below a place of tidings.yaml, such as `"channels", "desk"`."""
        return tuple(each for each in self.unset if each.path[: len(path)] == path)

    def find_unset_of_sender(self, sender: SenderSettings) -> tuple[UnsetSecret, ...]:
        """Return the missing secrets of one sender, which may be written in a list of them."""
        of_mail = self.find_unset("mail")
        several = any(isinstance(each.path[1], int) for each in of_mail)
        return self.find_unset("mail", self.mail.index(sender)) if several else of_mail

    @property
    def usable_mail(self) -> tuple[SenderSettings, ...]:
        """The senders whose secrets are here."""
        return tuple(sender for sender in self.mail if not self.find_unset_of_sender(sender))

    def find_senders(self, list_name: str) -> tuple[SenderSettings, ...]:
        """Return the senders for mail of a list, the preferred one first. '' means mail without a list."""
        named = self.lists[list_name].sender if list_name in self.lists else ()
        by_name = {sender.name: sender for sender in self.mail}
        return tuple(by_name[name] for name in named if name in by_name) or self.mail

    def former_name(self, kind: str, name: str) -> str | None:
        """Return the former name (`was`) that a list, channel or schedule may still have in the store.

        Returns None if it was not renamed, or if its former name is in use again.
        """
        by_kind: Mapping[str, Mapping[str, MailingList | ChannelSettings | Schedule]]
        by_kind = {"list": self.lists, "channel": self.channels, "schedule": self.schedules}
        outlets = by_kind[kind]
        was = outlets[name].was if name in outlets else None
        return was if was and was not in outlets else None

    def current_list_name(self, name: str) -> str:
        """Return the present name of a list whose former name may be in an old mail."""
        return next((new for new in self.lists if self.former_name("list", new) == name), name)

    @property
    def public(self) -> Path:
        """Where feeds and pages are written."""
        return self.root / "public"
