"""What the settings of every source, channel and sender begin with; an adapter extends them by its own."""

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
    FeedbackId,
    Int,
    Languages,
    Line,
    Name,
    PlainAddress,
    Rate,
    SenderName,
    Zone,
)
from tidings.model.cadence import parse_window


class ConfigModel(BaseModel):
    """A model of configuration: nothing unknown in it, nothing changed after."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True, populate_by_name=True)

    WRITTEN_AS: ClassVar[dict[str, type[BaseModel]]] = {}
    """Models of what is written, for fields that are read into something else."""

    @model_validator(mode="before")
    @classmethod
    def _without_empty(cls, written: Any) -> Any:
        """`key:` with nothing behind it is as good as left out; an unknown one is still unknown."""
        if not isinstance(written, dict):
            return written
        known = {name for key, field in cls.model_fields.items() for name in (key, field.alias)}
        return {key: value for key, value in written.items() if value is not None or key not in known}

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """For editors: every value may be a reference to the environment or to a file."""
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


class SourceSettings(ConfigModel):
    """Common to every source."""

    type: Line = Field(description="Which kind of source; `folder` reads Markdown files.")


class ChannelSettings(ConfigModel):
    """Common to every channel."""

    POSTS: ClassVar[bool] = True
    """Whether posts go there; else it is a hub, which is told of changed feeds."""

    type: Line = Field(description="Which kind of channel, such as `webhook` or `slack`.")
    languages: Languages = Field(
        default=(), description="Languages that it speaks, the best first; default: the first of site.languages."
    )
    translations: Literal["first", "thread"] = Field(
        default="first",
        description="`first`: a story goes out once, in the first of `languages` that it has. `thread`: its "
        "translations into the others answer that post.",
    )
    wait_for_translations: Duration = Field(
        default=timedelta(0),
        description="A story waits so long, such as 48h, for all of `languages`; then it goes in those that it has. "
        "A translation that comes later is not sent.",
    )
    allow_private: Bool = Field(
        default=False, description="Permits an address of the intranet or of this machine; others are refused."
    )
    on_correction: Literal["edit", "reply", "leave"] | None = Field(
        default=None,
        description="A story is corrected: `edit` its posts, `reply` to them, or `leave` them, and somebody is told; "
        "default: the first of these that the channel can.",
    )
    on_withdrawal: Literal["take_down", "leave"] | None = Field(
        default=None,
        description="A story is withdrawn: `take_down` its posts, or `leave` them, and somebody is told; default: the "
        "first of these that the channel can.",
    )
    quiet_hours: Line | None = Field(
        default=None, description='No post goes out then: "22:00-07:00"; what comes due waits.'
    )
    timezone: Zone | None = Field(default=None, description="Of the quiet hours; default: the site's.")
    max_per_hour: Int | None = Field(default=None, ge=1, description="Most posts in any hour; the rest waits.")
    max_per_day: Int | None = Field(default=None, ge=1, description="Most posts in any 24 hours; the rest waits.")
    spacing: Duration = Field(default=timedelta(0), description="Least time between two posts, such as 20m.")
    was: Name | None = Field(default=None, description="Its former name, if it was renamed.")

    @field_validator("quiet_hours")
    @classmethod
    def _is_window(cls, value: str | None) -> str | None:
        if value:
            parse_window(value)
        return value


class SenderSettings(ConfigModel):
    """Common to every way for mail to leave."""

    type: Line = Field(default="smtp", description="Which kind of sender, such as `smtp` or `ses`.")
    name_: SenderName | None = Field(
        default=None, alias="name", description="What lists and reports call it; default: its host or type."
    )
    weight: Int | None = Field(
        default=None,
        ge=1,
        le=1000,
        description="Its share of the mail beside others with a weight; without one: the first that is up takes all.",
    )
    connections: Int = Field(default=4, ge=1, le=64, description="Connections at once.")
    rate: Rate | None = Field(default=None, description="Most messages in a time, like 50/s.")
    domain_rates: Mapping[Domain, Rate] = Field(
        default_factory=dict, description="The same for single domains of recipients: {gmail.com: 5/s}."
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
        """The host that gets the mail; empty where nobody can tell."""
        return ""

    @property
    def fingerprint(self) -> str:
        """Other for other settings. Of secrets it holds 16 bits: enough to see a change, too few to guess one by."""
        values = {name: getattr(self, name) for name in type(self).model_fields}
        secrets = [value.get_secret_value() for value in values.values() if isinstance(value, SecretStr)]
        short = hashlib.blake2b("\0".join(secrets).encode(), digest_size=2).hexdigest()
        return hashlib.sha256(repr(sorted(values.items())).encode()).hexdigest()[:16] + short
