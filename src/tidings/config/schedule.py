"""The model of schedules/NAME.yaml."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, ValidationInfo, field_validator

from tidings.config.adapters import ConfigModel
from tidings.config.holidays import Holidays
from tidings.config.types import (
    ONE_OR_MANY,
    Bool,
    Duration,
    Int,
    Languages,
    Line,
    Name,
    Names,
    NestedValueError,
    PlainAddress,
    Text,
    Zone,
)
from tidings.model.cadence import Cadence, OnNew, parse_rule, parse_skip_date, parse_window
from tidings.model.text import Localised

RULES = ("daily", "weekly", "monthly", "cron", "every", "at", "on")


class CadenceText(ConfigModel):
    """`cadence:` as it is written: one rule, and what moves or skips its slots."""

    daily: Line | None = Field(default=None, description='Every day at a time: "09:00".')
    weekly: Line | None = Field(default=None, description="On weekdays: fri 09:00, or mon,thu 09:00.")
    monthly: Line | None = Field(default=None, description="first mon 09:00, 15 09:00, or last 09:00.")
    cron: Line | None = Field(default=None, description='Five fields, weekdays by name: "0 9 * * fri".')
    every: Line | None = Field(default=None, description="Even steps from midnight: 15m, 2h, 1d.")
    at: Line | None = Field(default=None, description="Once: 2026-12-01T09:00.")
    on: Line | None = Field(default=None, description="new: when something came out. request: when a person asks.")
    settle: Duration | None = Field(default=None, description="With `on: new`: wait so long; default 10m.")
    timezone: Zone | None = Field(default=None, description="Zone of this rule; default: the site's.")
    window: Line | None = Field(default=None, description='Neither starts nor sends outside it: "08:00-20:00".')
    skip_dates: Annotated[tuple[Line, ...], ONE_OR_MANY] = Field(
        default=(), description="Days without a slot: 2026-12-16, or 2026-12-24..2027-01-08."
    )
    holidays: Line | None = Field(default=None, description="Country whose public holidays have no slot: KZ.")
    max_late: Duration = Field(
        default=timedelta(hours=12), description="A slot found later than this waits for a person."
    )

    @field_validator(*RULES)
    @classmethod
    def _rule(cls, text: str | None, info: ValidationInfo) -> str | None:
        if text is not None and info.field_name is not None:
            parse_rule(info.field_name, text)
        return text

    @field_validator("window", "holidays", "skip_dates")
    @classmethod
    def _shifts(cls, value: Any, info: ValidationInfo) -> Any:
        if value and info.field_name == "window":
            parse_window(value)
        elif value and info.field_name == "holidays":
            Holidays(value)
        else:
            for number, text in enumerate(value or ()):
                try:
                    parse_skip_date(text)
                except ValueError as error:
                    raise NestedValueError(str(error), number) from None
        return value


def _cadence(value: Any, info: ValidationInfo) -> Cadence:
    if isinstance(value, Cadence):
        return value
    written = CadenceText.model_validate(value, context=info.context)
    rules = [(key, text) for key in RULES if (text := getattr(written, key)) is not None]
    if len(rules) != 1:
        found = f"{' and '.join(key for key, _ in rules)} stand together" if rules else "there is no rule"
        raise ValueError(f"{found}; write exactly one of {', '.join(RULES)}")
    rule = parse_rule(*rules[0])
    if written.settle is not None:
        if not isinstance(rule, OnNew):
            raise ValueError("`settle` goes with `on: new` alone; take it out")
        rule = OnNew(written.settle)
    return Cadence(
        rule=rule,
        zone=written.timezone or (info.context or {}).get("timezone", "UTC"),
        window=parse_window(written.window) if written.window else None,
        skip_dates=tuple(parse_skip_date(text) for text in written.skip_dates),
        holidays=Holidays(written.holidays) if written.holidays else None,
        max_late=written.max_late,
    )


class Approval(ConfigModel):
    """Who must look at an edition first."""

    by: Annotated[tuple[PlainAddress, ...], ONE_OR_MANY] = Field(
        min_length=1, description="Addresses of who may release it."
    )
    ahead: Duration = Field(default=timedelta(0), description="Composed so long before the slot.")
    silence: Literal["hold", "send"] = Field(default="hold", description="What happens if nobody answers by the slot.")


def _approval(value: Any) -> Any:
    return None if value == "none" else value


class StoryFilter(ConfigModel):
    """Which stories an edition holds."""

    kinds: Names = Field(default=(), description="Kinds of story; empty means all.")
    topics: Names = Field(default=(), description="Any of these topics; empty means all.")
    languages: Languages = Field(default=(), description="Stories that exist in any of these; empty means all.")
    stories: Annotated[tuple[Line, ...], ONE_OR_MANY] = Field(
        default=(), description="These stories and no others, new or not, also to who has had them."
    )
    min_items: Int = Field(default=1, ge=0, description="Fewer stories: the slot is skipped, visibly, and they wait.")
    max_items: Int = Field(default=12, ge=1, description="Stories that a reader gets in full.")
    overflow: Literal["titles", "wait"] = Field(
        default="titles", description="titles: the rest as linked titles. wait: the oldest come first next time."
    )
    order: Literal["newest", "oldest", "kind"] = Field(default="newest", description="newest, oldest or kind.")


class ListDelivery(ConfigModel):
    """An edition to a mailing list."""

    list: Name = Field(description="Name of the list.")
    frequency: Name | None = Field(default=None, description="Those who chose it; `all` for everyone.")
    template: Name = Field(default="digest", description="digest, press (one story in full), alert, or your own.")
    subject: Line | None = Field(
        default=None, description="Subject line; items and lead are the reader's. Default: the template's."
    )
    everyone: Bool = Field(default=False, description="true: whatever topics or frequency they chose; never who left.")
    per: Literal["edition", "item"] = Field(default="edition", description="One mail for all, or one for each story.")


class ChannelDelivery(ConfigModel):
    """An edition to a channel."""

    channel: Name = Field(description="Name of the channel.")
    per: Literal["edition", "item"] = Field(default="edition", description="One post for all, or one for each story.")
    max_posts: Int | None = Field(default=None, ge=1, description="Most posts of an edition; the rest wait.")


LIST_TAG, CHANNEL_TAG = "ListDelivery", "ChannelDelivery"


def _delivery_tag(value: Any) -> str:
    is_channel = isinstance(value, dict) and "channel" in value and "list" not in value
    is_channel = is_channel or isinstance(value, ChannelDelivery)
    return CHANNEL_TAG if is_channel else LIST_TAG


Delivery = Annotated[
    Annotated[ListDelivery, Tag(LIST_TAG)] | Annotated[ChannelDelivery, Tag(CHANNEL_TAG)],
    Discriminator(_delivery_tag),
]


class Schedule(ConfigModel):
    """One schedule: when, what, to whom."""

    WRITTEN_AS = {"cadence": CadenceText}  # noqa: RUF012 - a ClassVar of its base

    title: Text | None = Field(default=None, description="Title of its editions; default: its name.")
    cadence: Annotated[Cadence, BeforeValidator(_cadence)] = Field(description="When it is due.")
    approval: Annotated[
        Approval | None, BeforeValidator(_approval, json_schema_input_type=Approval | Literal["none"])
    ] = Field(default=None, description="none, or who must look first.")
    select: StoryFilter = Field(default=StoryFilter(), description="What goes into an edition.")
    deliver: tuple[Delivery, ...] = Field(min_length=1, description="To whom it goes.")
    backfill: Int = Field(default=0, ge=0, description="Newest stories that go out though they were out before.")
    was: Name | None = Field(default=None, description="Its former name, if it was renamed.")
    name: Name = Field(exclude=True, description="The name of its file.")

    @property
    def is_urgent(self) -> bool:
        """Whether it goes before what else is being sent: it uses the template `alert`."""
        return any(isinstance(part, ListDelivery) and part.template == "alert" for part in self.deliver)

    def heading(self, language: str, default_language: str = "") -> str:
        """Its title in a language, else its name in words."""
        text = self.title or Localised(self.name.replace("-", " ").capitalize())
        return text.get(language, default_language)
