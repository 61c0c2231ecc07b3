"""The model of schedules/NAME.yaml."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Discriminator, Field, Tag, ValidationInfo, field_validator, model_validator

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
from tidings.model.cadence import (
    Cadence,
    OnHoliday,
    OnNew,
    OnRequest,
    Weekly,
    parse_every_other,
    parse_move,
    parse_rule,
    parse_season,
    parse_skip_date,
    parse_weekend,
    parse_window,
)
from tidings.model.text import Localised

RULES = ("daily", "weekly", "monthly", "cron", "every", "at", "on")


_Rules = Annotated[tuple[Line, ...], ONE_OR_MANY]
"""One rule, or several rules with the same times."""


class EveryOther(ConfigModel):
    """`every_other:` beside `weekly`."""

    from_: Line = Field(alias="from", description="The first slot is on this day or after it: 2026-12-04.")


class CadenceText(ConfigModel):
    """`cadence:` in YAML: a rule, and the settings that move or skip its slots."""

    daily: _Rules | None = Field(default=None, description='Every day: "09:00", or ["07:30", "18:00"].')
    weekly: _Rules | None = Field(
        default=None,
        description='On weekdays: fri 09:00, "[mon, thu] 09:00", mon-fri 09:00, or first working day 09:00.',
    )
    monthly: _Rules | None = Field(
        default=None,
        description='first mon 09:00, "[first fri, third fri] 09:00", "[1, 15] 09:00", last 09:00 (the last day), '
        "or last working day 09:00.",
    )
    cron: Line | None = Field(default=None, description='Five fields, weekdays by name: "0 9 * * fri".')
    every: Line | None = Field(default=None, description="Even steps from midnight: 15m, 2h, 1d.")
    at: Line | None = Field(default=None, description="Once: 2026-12-01T09:00.")
    on: Line | None = Field(
        default=None, description="new: after a new story is published. request: only when a person asks."
    )
    every_other: EveryOther | None = Field(
        default=None,
        description="With `weekly`: only every other week. {from: 2026-12-04} is in the first of these weeks.",
    )
    from_: Line | None = Field(
        default=None, alias="from", description="No slot before this date; 03-01 is a day of every year."
    )
    until: Line | None = Field(
        default=None,
        description="No slot after this date; 10-31 is a day of every year. A season may cross the new year.",
    )
    settle: Duration | None = Field(default=None, description="With `on: new`: how long to wait; default 10m.")
    timezone: Zone | None = Field(default=None, description="Zone of this rule; default: the site's.")
    window: Line | None = Field(
        default=None, description='Hours in which editions start and mail is sent: "08:00-20:00".'
    )
    skip_dates: Annotated[tuple[Line, ...], ONE_OR_MANY] = Field(
        default=(), description="Days without a slot: 2026-12-16, or 2026-12-24..2027-01-08."
    )
    moved: dict[Line, Line] = Field(
        default={},
        description="Slots at another time, or left out (skip), each by its day, or its day and time: "
        "{2026-12-04: 2026-12-03T15:00, 2026-12-11: skip}.",
    )
    holidays: Line | None = Field(default=None, description="Country whose public holidays have no slot: KZ.")
    on_holiday: OnHoliday = Field(
        default=OnHoliday.SKIP,
        description="A slot on a holiday or in `skip_dates`: skip it, or move it to the working day before or after.",
    )
    weekend: Annotated[tuple[Line, ...], ONE_OR_MANY] = Field(
        default=("sat", "sun"),
        description="Days without work. They move no slot: a slot on one of these days stays on it.",
    )
    max_late: Duration = Field(
        default=timedelta(hours=12), description="A slot found later than this waits for a person."
    )

    @field_validator(*RULES)
    @classmethod
    def _rule(cls, written: Any, info: ValidationInfo) -> Any:
        if written is not None and info.field_name is not None:
            parse_rule(info.field_name, written)
        return written

    @field_validator("every_other", mode="before")
    @classmethod
    def _every_other(cls, value: Any) -> Any:
        if isinstance(value, str):
            fault = f"{value!r} is not a map; write `every_other: {{from: 2026-12-04}}` with the first day"
            raise ValueError(fault)  # noqa: TRY004 - pydantic reports a ValueError
        return value

    @field_validator("from_", "until")
    @classmethod
    def _season(cls, text: str | None) -> str | None:
        parse_season(text, None)
        return text

    @field_validator("weekend")
    @classmethod
    def _weekend(cls, texts: tuple[str, ...]) -> tuple[str, ...]:
        if texts == ("none",):
            raise ValueError("a week without a weekend is an empty list; write `weekend: []`")
        if len(parse_weekend(texts)) == 7:
            raise ValueError("a week needs a working day; write the free days, like [sat, sun]")
        return texts

    @field_validator("moved")
    @classmethod
    def _moved(cls, moves: dict[str, str]) -> dict[str, str]:
        for slot, to in moves.items():
            try:
                parse_move(slot, to)
            except ValueError as error:
                raise NestedValueError(str(error), slot) from None
        return moves

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
        if not rules:
            raise ValueError(f"there is no rule; write exactly one of {', '.join(RULES)}")
        fault = f"{' and '.join(key for key, _ in rules)} cannot be combined"
        mend = f"write exactly one of {', '.join(RULES)}"
        if written.weekly and written.every:
            mend = "for every other week write `every_other: {from: 2026-12-04}` beside `weekly`"
        raise NestedValueError(f"{fault}; {mend}", rules[1][0], key=True)
    rule = parse_rule(*rules[0])
    if written.settle is not None:
        if not isinstance(rule, OnNew):
            raise NestedValueError("`settle` works only with `on: new`; take it out", "settle", key=True)
        rule = OnNew(written.settle)
    if written.every_other is not None:
        path = ("every_other", "from") if isinstance(rule, Weekly) else ("every_other",)
        try:
            rule = parse_every_other(rule, written.every_other.from_)
        except ValueError as error:
            raise NestedValueError(str(error), *path, key=len(path) == 1) from None
    if written.on_holiday is OnHoliday.BEFORE and isinstance(rule, (OnNew, OnRequest)):
        raise NestedValueError(
            "`on_holiday: before` needs a rule with a time; write `skip` or `after`", "on_holiday", key=True
        )
    if written.moved and isinstance(rule, (OnNew, OnRequest)):
        raise NestedValueError("`moved` needs a rule with a time; take it out", "moved", key=True)
    try:
        season = parse_season(written.from_, written.until)
    except ValueError as error:
        raise NestedValueError(str(error), "until") from None
    cadence = Cadence(
        rule=rule,
        zone=written.timezone or (info.context or {}).get("timezone", "UTC"),
        window=parse_window(written.window) if written.window else None,
        skip_dates=tuple(parse_skip_date(text) for text in written.skip_dates),
        holidays=Holidays(written.holidays) if written.holidays else None,
        max_late=written.max_late,
        on_holiday=written.on_holiday,
        weekend=parse_weekend(written.weekend),
        season=season,
        moved=tuple(parse_move(slot, to) for slot, to in written.moved.items()),
    )
    for move in cadence.moved:
        # Both would go at one moment, as one edition.
        if move.clock is None and move.to is not None and len(clocks := list(cadence.local_times(move.day))) > 1:
            mend = f"name the one that is meant by its time: {move.day}T{clocks[0]:%H:%M}"
            raise NestedValueError(f"{move.day} has several editions; {mend}", "moved", move.slot, key=True)
    return cadence


class Approval(ConfigModel):
    """Who must approve an edition before it is sent."""

    by: Annotated[tuple[PlainAddress, ...], ONE_OR_MANY] = Field(
        min_length=1, description="Addresses of the people who may release it."
    )
    ahead: Duration = Field(default=timedelta(0), description="How long before the slot the edition is composed.")
    silence: Literal["hold", "send"] = Field(default="hold", description="What happens if nobody answers by the slot.")
    needed: Int = Field(default=1, ge=1, description="How many of these people must approve it.")

    @model_validator(mode="after")
    def _enough_people(self) -> Approval:
        if self.needed > (people := len({address.casefold() for address in self.by})):
            raise ValueError(f"`needed: {self.needed}` is more than the {people} in `by`; name more people")
        return self


def _approval(value: Any) -> Any:
    return None if value == "none" else value


class StoryFilter(ConfigModel):
    """The stories of an edition."""

    kinds: Names = Field(default=(), description="Kinds of story; empty means all.")
    topics: Names = Field(default=(), description="Any of these topics; empty means all.")
    languages: Languages = Field(default=(), description="Stories that exist in any of these; empty means all.")
    stories: Annotated[tuple[Line, ...], ONE_OR_MANY] = Field(
        default=(), description="Only these stories, new or not, also to readers who have had them."
    )
    min_items: Int = Field(default=1, ge=0, description="With fewer stories the slot is skipped, and the stories wait.")
    max_items: Int = Field(default=12, ge=1, description="Stories that a reader gets in full.")
    overflow: Literal["titles", "wait"] = Field(
        default="titles", description="titles: the rest as linked titles. wait: the oldest come first next time."
    )
    order: Literal["newest", "oldest", "kind", "starts"] = Field(
        default="newest", description="newest, oldest, kind, or starts (events, the next one first)."
    )
    starting: Duration | None = Field(
        default=None, description="Only events that begin within this time: 10d. An event is sent once."
    )


class ListDelivery(ConfigModel):
    """An edition to a mailing list."""

    list: Name = Field(description="Name of the list.")
    frequency: Name | None = Field(default=None, description="Readers who chose this frequency; `all` for everyone.")
    template: Name = Field(default="digest", description="digest, press (one story in full), alert, or your own.")
    subject: Line | None = Field(
        default=None, description="Subject line; `items` and `lead` are those of the reader. Default: the template's."
    )
    everyone: Bool = Field(
        default=False, description="true: also readers who chose other topics or frequencies; never those who left."
    )
    per: Literal["edition", "item"] = Field(default="edition", description="One mail for all, or one for each story.")

    @property
    def outlet(self) -> str:
        """Its key among the outlets of a schedule."""
        return f"list:{self.list}"


class ChannelDelivery(ConfigModel):
    """An edition to a channel."""

    channel: Name = Field(description="Name of the channel.")
    per: Literal["edition", "item"] = Field(default="edition", description="One post for all, or one for each story.")
    max_posts: Int | None = Field(default=None, ge=1, description="Most posts of an edition; the rest wait.")

    @property
    def outlet(self) -> str:
        """Its key among the outlets of a schedule."""
        return f"channel:{self.channel}"


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
    """One schedule: the time, the stories and the recipients."""

    WRITTEN_AS = {"cadence": CadenceText}  # noqa: RUF012 - a ClassVar of its base

    title: Text | None = Field(default=None, description="Title of its editions; default: its name.")
    cadence: Annotated[Cadence, BeforeValidator(_cadence)] = Field(description="When it is due.")
    approval: Annotated[
        Approval | None, BeforeValidator(_approval, json_schema_input_type=Approval | Literal["none"])
    ] = Field(default=None, description="none, or who must approve first.")
    select: StoryFilter = Field(default=StoryFilter(), description="The stories of an edition.")
    deliver: tuple[Delivery, ...] = Field(min_length=1, description="The lists and channels that get it.")
    backfill: Int = Field(
        default=0, ge=0, description="Number of older stories, the newest first, that go into the first edition."
    )
    was: Name | None = Field(default=None, description="The former name, if it was renamed.")
    name: Name = Field(exclude=True, description="The name of its file.")

    @property
    def is_urgent(self) -> bool:
        """Whether it is sent before other editions: it uses the template `alert`."""
        return any(isinstance(part, ListDelivery) and part.template == "alert" for part in self.deliver)

    def for_outlet(self, outlet: str) -> Self:
        """Return the schedule with only this outlet, `list:NAME` or `channel:NAME`. '' returns all of it."""
        if not outlet:
            return self
        return self.model_copy(update={"deliver": tuple(part for part in self.deliver if part.outlet == outlet)})

    def heading(self, language: str, default_language: str = "") -> str:
        """Return its title in a language, or else its name in words."""
        text = self.title or Localised(self.name.replace("-", " ").capitalize())
        return text.get(language, default_language)
