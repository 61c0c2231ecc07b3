"""Progress bars on a terminal, and the result of a run of deliveries as text and exit code."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from tidings.cli.app import console, errors
from tidings.pipeline.deliver.context import DeliverySummary
from tidings.runtime.newsroom import Runtime
from tidings.runtime.tick import TickResult, publish_editions
from tidings.store.delivery import ledger

FAILED = ("rejected", "in_doubt", "quarantined")
_LOOK = 0.3


class _Rate(ProgressColumn):
    """Messages a second, lately."""

    def render(self, task: Task) -> Text:
        """Nothing until it is known."""
        return Text(f"{task.speed:,.0f}/s" if task.speed else "", style="progress.data.speed")


@contextmanager
def progress_bar() -> Iterator[Callable[[str, float, float], None]]:
    """Show a bar on a terminal, nothing elsewhere. Yields a function of work, part done and total."""
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal) as bar:
        task = bar.add_task("")

        def report(work: str, done: float, total: float) -> None:
            # A finished bar disappears: a question may follow and must stay readable.
            bar.update(task, description=work, completed=done, total=total, visible=done < total)

        yield report


@contextmanager
def sending(runtime: Runtime) -> Iterator[None]:
    """A bar on a terminal, nothing elsewhere. It reads the ledger beside the work and never holds it up."""
    if not errors.is_terminal:
        yield
        return
    ended = threading.Event()
    columns = (TextColumn("sending"), BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn())

    def look(progress: Progress) -> None:
        most, task = 0, None
        while not ended.wait(_LOOK):
            with runtime.store.read() as connection:
                left = ledger.count_waiting(connection)
            most = max(most, left)
            if most and task is None:
                task = progress.add_task("", total=most)
            if task is not None:
                progress.update(task, total=most, completed=most - left)

    with Progress(*columns, console=errors, transient=True) as progress:
        looking = threading.Thread(target=look, args=(progress,), daemon=True)
        looking.start()
        try:
            yield
        finally:
            ended.set()
            looking.join()


def deliver(runtime: Runtime, only: int | None = None) -> None:
    """Send what is due, or one mailing alone, and report it."""
    if only is None:
        publish_editions(runtime, TickResult(runtime.now()))
    with sending(runtime):
        done = runtime.deliver(only)
    report_delivered(done)


def report_delivered(done: DeliverySummary) -> None:
    """Print the counts; leaves with exit code 3 if some deliveries failed."""
    words = ", ".join(f"{count} {state.replace('_', ' ')}" for state, count in sorted(done.states.items()) if count)
    console.print(f"Deliveries: {words or 'none'}.")
    for lane, reason in done.stalled.items():
        errors.print(f"{f'channel {lane}' if lane else 'mail'} cannot go on: {reason}", markup=False)
    if done.stalled or any(done.states[state] for state in FAILED):
        errors.print("See what failed: tidings ledger --state rejected (or in_doubt, deferred)")
        raise typer.Exit(3)
