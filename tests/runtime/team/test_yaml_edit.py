"""Changing a value of a YAML file keeps every other byte, also comments."""

from __future__ import annotations

import pytest

from tidings.runtime.team.schedule_form import DeliveryForm, read_schedule, write_schedule
from tidings.runtime.team.yaml_edit import add_item, read_value, remove_item, set_value, to_flow

WEEKLY = """# Every week.
title: {en: Weekly, ru: Еженедельный}   # names

cadence:
  weekly: [mon, thu] 09:00   # days
  max_late: 6h

select:
  kinds: [story, event]  # two
  topics:
    - a   # first
    - b

deliver:
  - list: digest
    frequency: weekly  # theirs
# To post:
#   - channel: team
"""


@pytest.mark.parametrize(
    ("path", "value", "old", "new"),
    [
        ("cadence.weekly", "fri 10:00", "[mon, thu] 09:00", "fri 10:00"),
        ("cadence.skip_dates", ["2026-12-25"], "6h\n", "6h\n  skip_dates: [2026-12-25]\n"),
        ("cadence.max_late", None, "  max_late: 6h\n", ""),
        ("select.topics", ["c"], "topics:\n    - a   # first\n    - b\n", "topics: [c]\n"),
        ("select.topics", None, "  topics:\n    - a   # first\n    - b\n", ""),
        ("select.max_items", 5, "    - b\n", "    - b\n  max_items: 5\n"),
        ("title.ru", "Да: нет", "ru: Еженедельный", 'ru: "Да: нет"'),
        ("title.kk", "К", "Еженедельный}", "Еженедельный, kk: К}"),
        ("title.en", None, "{en: Weekly, ru", "{ru"),
        ("title.ru", None, ", ru: Еженедельный}", "}"),
    ],
)
def test_only_the_named_value_changes(path: str, value: object, old: str, new: str) -> None:
    assert set_value(WEEKLY, path.split("."), value) == WEEKLY.replace(old, new)  # type: ignore[arg-type]


def test_a_new_map_follows_the_named_key() -> None:
    approval = {"by": ["a@example.org"], "needed": 1}
    changed = set_value(WEEKLY, ["approval"], approval, after="cadence")
    assert changed == WEEKLY.replace("6h\n", "6h\n\napproval: {by: [a@example.org], needed: 1}\n")
    assert set_value("cadence: {on: new}", ["cadence", "settle"], "5m") == "cadence: {on: new, settle: 5m}"
    assert set_value("a:\nb: 1\n", ["a"], "x") == "a: x\nb: 1\n"
    assert set_value("", ["a", "b"], "x") == "a: {b: x}\n"
    with pytest.raises(ValueError, match="is not a map"):
        set_value("a: 1", ["a", "b"], "x")
    with pytest.raises(ValueError, match="cannot be read"):
        set_value("a: [", ["a"], "x")


def test_items_of_a_list_are_added_and_removed() -> None:
    more = add_item(WEEKLY, ["deliver"], {"channel": "team"})
    assert more == WEEKLY.replace("# theirs\n", "# theirs\n  - {channel: team}\n")
    assert remove_item(more, ["deliver"], 1) == WEEKLY
    assert remove_item("a: [b, c, d]", ["a"], 2) == "a: [b, c]"
    assert add_item("a: [b]", ["a"], "c") == "a: [b, c]"
    with pytest.raises(ValueError, match="keep one"):
        remove_item(WEEKLY, ["deliver"], 0)


def test_text_that_yaml_would_misread_is_quoted() -> None:
    for text in ("no", "a: b", "#x", "", " x", "null", "[a"):
        assert to_flow(text).startswith('"'), text
    assert to_flow("fri 09:00") == "fri 09:00" and to_flow("[mon, thu] 09:00") == "[mon, thu] 09:00"
    assert read_value("a: [mon, x]", ["a"]) == ["mon", "x"] and read_value("a: 1", ["b"]) is None


def test_an_unchanged_schedule_form_changes_no_byte() -> None:
    form = read_schedule(WEEKLY)
    form.lists["kinds"].reverse()
    assert write_schedule(WEEKLY, form) == WEEKLY


def test_a_schedule_form_writes_what_changed() -> None:
    form = read_schedule(WEEKLY)
    assert (form.rule, form.when, form.lists["topics"]) == ("weekly", "[mon, thu] 09:00", ["a", "b"])
    form.rule, form.when = "daily", "[07:30, 18:00]"
    form.lists["by"], form.texts["needed"] = ["a@example.org", "b@example.org"], "2"
    form.deliver = [DeliveryForm("list", "digest", "all"), DeliveryForm("channel", "team")]
    changed = write_schedule(WEEKLY, form)
    assert "  max_late: 6h\n  daily: [07:30, 18:00]\n" in changed and "weekly: [" not in changed
    assert "\napproval: {by: [a@example.org, b@example.org], needed: 2}\n" in changed
    assert "    frequency: all  # theirs\n  - {channel: team}\n# To post:" in changed
    form.lists["by"] = []
    assert "approval" not in write_schedule(changed, form)
    form.deliver = []
    with pytest.raises(ValueError, match="choose a list"):
        write_schedule(WEEKLY, form)
