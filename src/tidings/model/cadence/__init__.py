"""Cadence: when a schedule is due. Pure arithmetic over IANA zones.

Rules are in local time. A time in the gap of spring moves to the first valid minute after it. A time in the doubled
hour of autumn fires once, the first time. A slot's key is its UTC instant before any shift.
"""

from tidings.model.cadence.monthly import MonthlyDay, MonthlyWeekday
from tidings.model.cadence.parse import parse_duration, parse_rule, parse_skip_date, parse_window
from tidings.model.cadence.rules import (
    At,
    Cadence,
    CadenceError,
    Cron,
    Daily,
    DateRange,
    Every,
    OnNew,
    OnRequest,
    Rule,
    Weekly,
    Window,
    describe_cadence,
)
from tidings.model.cadence.slots import (
    DueSlots,
    Slot,
    find_due_slots,
    find_slot_for_new,
    find_window_end,
    is_in_window,
    list_slots,
    load_zone,
    next_slots,
    to_utc,
)

__all__ = [
    "At",
    "Cadence",
    "CadenceError",
    "Cron",
    "Daily",
    "DateRange",
    "DueSlots",
    "Every",
    "MonthlyDay",
    "MonthlyWeekday",
    "OnNew",
    "OnRequest",
    "Rule",
    "Slot",
    "Weekly",
    "Window",
    "describe_cadence",
    "find_due_slots",
    "find_slot_for_new",
    "find_window_end",
    "is_in_window",
    "list_slots",
    "load_zone",
    "next_slots",
    "parse_duration",
    "parse_rule",
    "parse_skip_date",
    "parse_window",
    "to_utc",
]
