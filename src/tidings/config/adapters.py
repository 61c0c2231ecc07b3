"""Base classes for the settings of sources, channels and senders. Each adapter adds its own fields."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler, SecretStr, field_validator, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from tidings.config.types import (
    Bool,
    Domain,
    Duration,
    EventTypes,
    FeedbackId,
    Hashtags,
    Int,
    Languages,
    Line,
    Name,
    PlainAddress,
    Rate,
    SecretUrl,
    SenderName,
    SigningSecret,
    Zone,
)
from tidings.model.cadence import parse_window


class ConfigModel(BaseModel):
    """A frozen model of configuration that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True, populate_by_name=True)

    WRITTEN_AS: ClassVar[dict[str, type[BaseModel]]] = {}
    """The models of the YAML, for fields whose value has another type than the YAML."""

    @model_validator(mode="before")
    @classmethod
    def _without_empty(cls, written: Any) -> Any:
        """Drop known keys without a value: `key:` means the same as no key. Unknown keys are still refused."""
        if not isinstance(written, dict):
            return written
        known = {name for key, field in cls.model_fields.items() for name in (key, field.alias)}
        return {key: value for key, value in written.items() if value is not None or key not in known}

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Allow a reference to the environment or to a file for every value, for completion in editors."""
        schema = handler(core)
        inside = handler.resolve_ref_schema(schema)
        for name, written in inside.get("properties", {}).items():
            inside["properties"][name] = _or_reference(written)
        return schema


_REFERENCES: list[dict[str, Any]] = [
    {"type": "object", "properties": {key: {"type": "string"}}, "required": [key], "additionalProperties": False}
    for key in ("env", "file")
]


def _or_reference(written: dict[str, Any]) -> dict[str, Any]:
    about: dict[str, Any] = {key: written[key] for key in ("title", "description", "default") if key in written}
    if about.get("default") == "**********":
        del about["default"]
    value = {key: part for key, part in written.items() if key not in ("title", "description", "default")}
    if value.get("type") in ("string", "integer", "number", "boolean"):
        return {**about, "anyOf": [value, *_REFERENCES]}
    if any(option.get("type") == "string" for option in value.get("anyOf", ())):
        return {**about, **value, "anyOf": [*value["anyOf"], *_REFERENCES]}
    return {**about, **value}


class OutletSettings(ConfigModel):
    """The settings of a channel or a mail sender, which may stop working until somebody repairs it."""

    @property
    def fingerprint(self) -> str:
        """A text that changes with the settings. It has 16 bits of a hash of the secrets, too few to guess them."""
        values = {name: getattr(self, name) for name in type(self).model_fields}
        secrets = [value.get_secret_value() for value in values.values() if isinstance(value, SecretStr)]
        short = hashlib.blake2b("\0".join(secrets).encode(), digest_size=2).hexdigest()
        return hashlib.sha256(repr(sorted(values.items())).encode()).hexdigest()[:16] + short


class SourceSettings(ConfigModel):
    """The settings that every source has."""

    type: Line = Field(description="Kind of source; `folder` reads Markdown files.")


class ChannelSettings(OutletSettings):
    """The settings that every channel has."""

    POSTS: ClassVar[bool] = True
    """Whether the channel takes posts. False for a hub, which is only notified of changed feeds."""

    type: Line = Field(description="Kind of channel, such as `webhook` or `slack`.")
    languages: Languages = Field(
        default=(),
        description="Languages of the channel, the preferred one first; default: the first of site.languages.",
    )
    translations: Literal["first", "thread"] = Field(
        default="first",
        description="`first`: a story goes out once, in the first of `languages` that it has. `thread`: its "
        "other translations follow as replies to that post.",
    )
    wait_for_translations: Duration = Field(
        default=timedelta(0),
        description="How long a story waits for all of `languages`, such as 48h. Then those that exist are sent. "
        "A translation that comes later is not sent.",
    )
    allow_private: Bool = Field(
        default=False, description="Permits an address of the intranet or of this machine; others are refused."
    )
    on_correction: Literal["edit", "reply", "leave"] | None = Field(
        default=None,
        description="After a correction: `edit` the posts, `reply` to them, or `leave` them and send a notice; "
        "default: the first of these that the channel can do.",
    )
    on_withdrawal: Literal["take_down", "leave"] | None = Field(
        default=None,
        description="After a withdrawal: `take_down` the posts, or `leave` them and send a notice; default: the "
        "first of these that the channel can do.",
    )
    quiet_hours: Line | None = Field(
        default=None, description='Hours without posts: "22:00-07:00"; posts that come due then wait.'
    )
    timezone: Zone | None = Field(default=None, description="Time zone of the quiet hours; default: the site's.")
    max_per_hour: Int | None = Field(default=None, ge=1, description="Most posts in any hour; the others wait.")
    max_per_day: Int | None = Field(default=None, ge=1, description="Most posts in any 24 hours; the others wait.")
    spacing: Duration = Field(default=timedelta(0), description="Least time between two posts, such as 20m.")
    hashtags: Hashtags = Field(
        default="topics",
        description="Hashtags of posts: `topics` (those of the story), `none`, or these: [CleanWater, UN].",
    )
    was: Name | None = Field(default=None, description="The former name, if it was renamed.")

    @field_validator("quiet_hours")
    @classmethod
    def _is_window(cls, value: str | None) -> str | None:
        if value:
            parse_window(value)
        return value


class EventWebhookSettings(OutletSettings):
    """A program that receives events (Standard Webhooks)."""

    url: SecretUrl = Field(description="Where to post: {env: NAME} or {file: PATH}.")
    secret: SigningSecret = Field(
        description="Signing secret `whsec_...`, base64 of 24 to 64 bytes: {env: NAME} or {file: PATH}."
    )
    events: EventTypes = Field(default=(), description="Events that it gets, such as [story.out]; default: all.")
    allow_private: Bool = Field(
        default=False, description="Permits an address of the intranet or of this machine; others are refused."
    )

    def wants(self, event: str) -> bool:
        """Whether it gets events of this type."""
        return not self.events or event in self.events


class SenderSettings(OutletSettings):
    """The settings that every mail sender has."""

    type: Line = Field(default="smtp", description="Kind of sender, such as `smtp` or `ses`.")
    name_: SenderName | None = Field(
        default=None, alias="name", description="Name in lists and reports; default: its host or type."
    )
    weight: Int | None = Field(
        default=None,
        ge=1,
        le=1000,
        description="Share of the mail among senders with a weight; without weights the first that works sends all.",
    )
    connections: Int = Field(default=4, ge=1, le=64, description="Most connections at the same time.")
    rate: Rate | None = Field(default=None, description="Highest rate of messages, like 50/s.")
    domain_rates: Mapping[Domain, Rate] = Field(
        default_factory=dict, description="Highest rate for single domains of recipients: {gmail.com: 5/s}."
    )
    return_path: PlainAddress | None = Field(default=None, description="Where bounces go; default: the list's sender.")
    feedback_id: FeedbackId | None = Field(
        default=None, description="Sender part of Feedback-ID, 5 to 15 letters or digits."
    )

    @property
    def name(self) -> str:
        """Unique among the senders of a newsroom."""
        return self.name_ or self.type

    @property
    def target_host(self) -> str:
        """The host that gets the mail; empty if it is unknown."""
        return ""
