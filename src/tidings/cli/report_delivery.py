"""What a run of deliveries did, in words and as an exit code."""

from __future__ import annotations

import typer

from tidings.cli.app import console, errors
from tidings.pipeline.handing import Delivered

FAILED = ("rejected", "in_doubt", "quarantined")


def report_delivered(done: Delivered) -> None:
    """Print the counts; leaves with exit code 3 if some deliveries failed."""
    words = ", ".join(f"{count} {state.replace('_', ' ')}" for state, count in sorted(done.states.items()) if count)
    console.print(f"Deliveries: {words or 'none'}.")
    for lane, reason in done.stalled.items():
        errors.print(f"{f'channel {lane}' if lane else 'mail'} cannot go on: {reason}", markup=False)
    if done.stalled or any(done.states[state] for state in FAILED):
        errors.print("See what failed: tidings ledger --state rejected (or in_doubt, deferred)")
        raise typer.Exit(3)
