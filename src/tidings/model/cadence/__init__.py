"""Cadence: when a schedule is due. Pure arithmetic over IANA zones.

A rule speaks of local time. The gap of spring moves to the first valid minute after it; the doubled hour of autumn
fires once, the first time. A slot's key is its UTC instant before any shift.
"""

from tidings.model.cadence.parse import parse_duration, parse_rule, parse_skip_date, parse_window
from tidings.model.cadence.rules import (
    At,
    Cadence,
    CadenceError,
    Cron,
    Daily,
    DateRange,
    Every,
    MonthlyDay,
    MonthlyWeekday,
    OnNew,
    OnRequest,
    Rule,
    Weekly,
    Window,
    describe,
)
from tidings.model.cadence.slots import (
    Due,
    Slot,
    due,
    in_window,
    next_slots,
    slot_for_new,
    slots,
    to_utc,
    window_closes,
)
from tidings.model.cadence.zone import load_zone

__all__ = [
    "At",
    "Cadence",
    "CadenceError",
    "Cron",
    "Daily",
    "DateRange",
    "Due",
    "Every",
    "MonthlyDay",
    "MonthlyWeekday",
    "OnNew",
    "OnRequest",
    "Rule",
    "Slot",
    "Weekly",
    "Window",
    "describe",
    "due",
    "in_window",
    "load_zone",
    "next_slots",
    "parse_duration",
    "parse_rule",
    "parse_skip_date",
    "parse_window",
    "slot_for_new",
    "slots",
    "to_utc",
    "window_closes",
]
