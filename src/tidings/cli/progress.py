"""Progress bars, and the report and exit code of a run of deliveries."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator
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

from tidings.cli.session import check_sender, console, format_counts, say, warn
from tidings.model.edition import Edition
from tidings.pipeline.deliver.context import DeliverySummary
from tidings.runtime.newsroom import Runtime
from tidings.store.delivery import ledger

FAILED = ("rejected", "in_doubt", "quarantined")
_INTERVAL = 0.3
"""Seconds between two queries of the ledger."""


class _Rate(ProgressColumn):
    """Messages a second."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:,.0f}/s" if task.speed else "", style="progress.data.speed")


@contextmanager
def show_progress(*columns: ProgressColumn) -> Iterator[Progress]:
    """Show a bar on a terminal, nothing elsewhere."""
    terminal = console(stderr=True)
    columns = columns or (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=terminal, transient=True, disable=not terminal.is_terminal) as progress:
        yield progress


@contextmanager
def show_steps() -> Iterator[Callable[[str, float, float], None]]:
    """Show a bar for work in several steps. Yields a function that takes name, progress and total of a step."""
    with show_progress() as progress:
        task = progress.add_task("")

        def update(step: str, done: float, total: float) -> None:
            # Hidden at the end of a step, so that the bar does not cover a question.
            if done >= total:
                progress.update(task, visible=False)
            else:
                progress.update(task, description=step, completed=done, total=total, visible=True)

        yield update


@contextmanager
def show_sending(runtime: Runtime) -> Iterator[None]:
    """Show a bar while deliveries run. It reads the ledger from a thread and never delays the work."""
    if not console(stderr=True).is_terminal:
        yield
        return
    ended = threading.Event()

    def watch(progress: Progress) -> None:
        most, task = 0, None
        while not ended.wait(_INTERVAL):
            with runtime.store.read() as connection:
                left = ledger.count_waiting(connection)
            most = max(most, left)
            if most and task is None:
                task = progress.add_task("", total=most)
            if task is not None:
                progress.update(task, total=most, completed=most - left)

    with show_progress(
        TextColumn("sending"), BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn()
    ) as progress:
        watcher = threading.Thread(target=watch, args=(progress,), daemon=True)
        watcher.start()
        try:
            yield
        finally:
            ended.set()
            watcher.join()


_HANDED_OVER = "The running `tidings run` sends it: secrets for it are not set here."
CAUGHT = "The running `tidings run --catch-mail` catches what is due: read it at its page /inbox/."


def deliver_edition(runtime: Runtime, edition: Edition) -> None:
    """Send what is due of one edition, and report the results."""
    from tidings.runtime.tick import TickResult, publish_editions

    publish_editions(runtime, TickResult(runtime.now()))
    with runtime.store.read() as connection:
        mailing, outlets = ledger.edition_mailing(connection, edition.id)
    deliver(runtime, mailing, outlets, finish=True)


def deliver(runtime: Runtime, mailing: int, outlets: Collection[str], *, finish: bool = False) -> None:
    """Send one mailing to its outlets, and report the results. Refusals are handled as in `tick`.

    With `finish`, its edition ends when nothing more is to be sent. Nothing else that is due is sent.
    """
    from tidings.runtime.tick import record_failures

    if runtime.is_caught_elsewhere():
        say(CAUGHT)
        return
    if not check_sender(runtime, outlets):
        say(_HANDED_OVER)
        return
    with show_sending(runtime):
        delivered = runtime.deliver(mailing)
        if finish:
            runtime.finish_editions(delivered)
    record_failures(runtime, delivered, runtime.now())
    report_deliveries(delivered)


def report_deliveries(delivered: DeliverySummary) -> None:
    """Print the counts. Exits with code 3 if some deliveries failed."""
    say(f"Deliveries: {format_counts(delivered.states, 'none')}.")
    for lane, reason in delivered.stalled.items():
        warn(f"{f'Channel {lane}' if lane else 'Mail'} is stalled: {reason}")
    if delivered.stalled or any(delivered.states[state] for state in FAILED):
        warn("See what failed: tidings ledger --state rejected (or in_doubt, deferred)")
        raise typer.Exit(3)
