"""The common settings of a schedule as a form: read from its YAML, and written back with all else as it is."""

from __future__ import annotations

from dataclasses import dataclass, field

from tidings.runtime.team.yaml_edit import (
    Value,
    add_item,
    count_items,
    is_map,
    read_value,
    remove_item,
    set_value,
)

RULES = ("weekly", "daily", "monthly", "every", "cron", "at", "on")
"""The rules that the form offers, each with one line of text."""
TEXTS: dict[str, tuple[str, ...]] = {
    "title": ("title",),
    "every_other": ("cadence", "every_other", "from"),
    "from": ("cadence", "from"),
    "until": ("cadence", "until"),
    "window": ("cadence", "window"),
    "holidays": ("cadence", "holidays"),
    "on_holiday": ("cadence", "on_holiday"),
    "max_late": ("cadence", "max_late"),
    "min_items": ("select", "min_items"),
    "max_items": ("select", "max_items"),
    "order": ("select", "order"),
    "ahead": ("approval", "ahead"),
    "silence": ("approval", "silence"),
    "needed": ("approval", "needed"),
}
"""Fields of one line, each with its place in the YAML."""
LISTS: dict[str, tuple[str, ...]] = {
    "skip_dates": ("cadence", "skip_dates"),
    "kinds": ("select", "kinds"),
    "topics": ("select", "topics"),
    "languages": ("select", "languages"),
    "by": ("approval", "by"),
}
"""Fields with several values."""
_SETS = ("kinds", "topics", "languages")
NEW = "title: {title}\ncadence:\n  weekly: fri 09:00\ndeliver:\n  - {outlet}\n"
"""A new schedule, before somebody fills its form."""
_NUMBERS = ("min_items", "max_items", "needed")


@dataclass(slots=True)
class DeliveryForm:
    """One list or channel of the schedule. `frequency` is for lists."""

    kind: str
    name: str
    frequency: str = ""


@dataclass(slots=True)
class ScheduleForm:
    """What the form shows. An empty text leaves the key out, so that its default holds; a missing one stays."""

    rule: str = ""
    when: str = ""
    texts: dict[str, str] = field(default_factory=dict)
    lists: dict[str, list[str]] = field(default_factory=dict)
    deliver: list[DeliveryForm] = field(default_factory=list)


def read_schedule(text: str) -> ScheduleForm:
    """Return the form of a schedule's YAML. Raises ValueError if it cannot be read, or its rule is a map."""
    form = ScheduleForm()
    for rule in RULES:
        written = read_value(text, ["cadence", rule])
        if written is not None:
            when = f"[{', '.join(written)}]" if isinstance(written, list) else written
            form.rule, form.when = rule, when.strip()
    if not form.rule:
        raise ValueError("the cadence has no rule that the form knows")
    for key, path in TEXTS.items():
        value = read_value(text, path)
        form.texts[key] = value if isinstance(value, str) else ""
    if is_map(text, TEXTS["title"]):
        del form.texts["title"]
    for key, path in LISTS.items():
        value = read_value(text, path)
        form.lists[key] = [value] if isinstance(value, str) else value or []
    for number in range(count_items(text, ["deliver"])):
        for kind in ("list", "channel"):
            name = read_value(text, ["deliver", number, kind])
            if isinstance(name, str):
                frequency = read_value(text, ["deliver", number, "frequency"])
                form.deliver.append(DeliveryForm(kind, name, frequency if isinstance(frequency, str) else ""))
    if len({(part.kind, part.name) for part in form.deliver}) < max(1, count_items(text, ["deliver"])):
        raise ValueError("a list or channel is in `deliver` twice, and the form cannot show that")
    return form


def write_schedule(text: str, form: ScheduleForm) -> str:
    """Return the YAML with the changes of the form. Raises ValueError if a change cannot be written."""
    before = read_schedule(text)
    if form.rule not in RULES or not form.when:
        raise ValueError("choose a rule, and write when it is due")
    if (form.rule, form.when) != (before.rule, before.when):
        text = set_value(text, ["cadence", form.rule], _as_value(form.when))
    if form.rule != before.rule:
        text = set_value(text, ["cadence", before.rule], None)
        if before.rule == "weekly":
            text = set_value(text, ["cadence", "every_other"], None)
    if not form.lists["by"] and before.lists["by"]:
        text = set_value(text, ["approval"], None)
    for key in _SETS:  # boxes have an order of their own
        form.lists[key] = sorted(form.lists[key], key=lambda value: _rank(before.lists[key], value))
    for key, path in LISTS.items():
        if form.lists[key] != before.lists[key] and (path[0] != "approval" or form.lists["by"]):
            after = "cadence" if path[0] in ("approval", "select") else ""
            text = set_value(text, path, list(form.lists[key]) or None, after=after)
    for key, path in TEXTS.items():
        value = form.texts.get(key)
        if value is not None and value != before.texts.get(key) and (path[0] != "approval" or form.lists["by"]):
            written: Value = int(value) if key in _NUMBERS and value.isdecimal() else value
            place = path if value or key != "every_other" else path[:-1]  # an empty map has no meaning
            text = set_value(text, place, written if value else None, after="cadence")
    return _write_deliveries(text, before.deliver, form.deliver)


def _rank(values: list[str], value: str) -> int:
    return values.index(value) if value in values else len(values)


def _as_value(when: str) -> Value:
    """A rule of several times is a list: `["07:30", "18:00"]`."""
    inner = when.removeprefix("[").removesuffix("]")
    is_list = when.startswith("[") and when.endswith("]") and "[" not in inner
    return [part.strip().strip("\"'") for part in inner.split(",")] if is_list else when


def _write_deliveries(text: str, before: list[DeliveryForm], after: list[DeliveryForm]) -> str:
    if not after:
        raise ValueError("choose a list or a channel")
    known = {(part.kind, part.name): number for number, part in enumerate(before)}
    wanted = {(part.kind, part.name): part for part in after}
    for key, part in wanted.items():
        if key in known and part.frequency != before[known[key]].frequency:
            text = set_value(text, ["deliver", known[key], "frequency"], part.frequency or None)
    for key, part in wanted.items():
        if key not in known:
            entry = {part.kind: part.name} | ({"frequency": part.frequency} if part.frequency else {})
            text = add_item(text, ["deliver"], entry)
    for key, number in sorted(known.items(), key=lambda pair: -pair[1]):
        if key not in wanted:
            text = remove_item(text, ["deliver"], number)
    return text
