"""`plan`: the next slots, and which stories would go to whom."""

from __future__ import annotations

from typing import Annotated

import typer

from tidings.cli.session import Json, Now, format_counts, format_moment, open_newsroom, print_json, say
from tidings.runtime.newsroom import Runtime
from tidings.runtime.preview.plan import PlannedSlot, open_scratch_runtime, plan_as_json
from tidings.runtime.preview.plan import plan as plan_slots
from tidings.store.content.items import load_refused


def plan(
    runs: Annotated[int, typer.Option("--runs", min=1, max=100, help="How many slots of each schedule.")] = 3,
    now: Now = "",
    json: Json = False,
) -> None:
    """Show the next slots, and which stories would go to whom. Changes nothing."""
    with open_newsroom(now, needs="yaml") as runtime, open_scratch_runtime(runtime) as copy:
        planned = plan_slots(copy, copy.now(), runs)
        if json:
            print_json(plan_as_json(planned))
            return
        if not planned:
            say("There is no schedule yet. Write one into schedules/, or copy one from the sample newsroom.")
        for schedule in planned:
            say(f"\n{schedule.name}  {schedule.cadence}{'  ' + schedule.note if schedule.note else ''}")
            for slot in (*schedule.waiting, *schedule.slots):
                print_slot(runtime, slot)
        with copy.store.read() as connection:
            refused = load_refused(connection)
        if refused:
            say(f"\nNot in the plan: {refused[0].ref} and any other item with a mistake. See tidings check.")


def print_slot(runtime: Runtime, slot: PlannedSlot) -> None:
    """Print when a slot is due, its stories, and the number of recipients. Outlets with other stories list them."""
    reason = f"skipped: {slot.skipped}" if slot.skipped else slot.moved or ""
    say(f"  {format_moment(slot.at, runtime)}{'  ' if reason else ''}{reason}")
    if slot.note:
        say(f"    {slot.note}")
    for key, title in slot.stories or ():
        embargo = (
            f", under embargo until {format_moment(slot.embargoed[key], runtime)}" if key in slot.embargoed else ""
        )
        say(f"    - {title}  ({key}){embargo}")
    for outlet in slot.outlets:
        total = outlet.recipients.total()
        skipped = f"; skipped: {format_counts(outlet.skipped, '')}" if outlet.skipped else ""
        all_stories = {key for key, _ in slot.stories or ()}
        only = f": {', '.join(outlet.stories)}" if outlet.stories and set(outlet.stories) != all_stories else ""
        say(f"    -> {outlet.name}: {total:,} ({format_counts(outlet.recipients, 'nobody')}){skipped}{only}")
