"""`run`, `tick`, `sweep`, `build`: publish and send."""

from __future__ import annotations

import getpass
import os
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tidings.cli.progress import CAUGHT, FAILED, show_sending, show_steps
from tidings.cli.session import (
    Json,
    Now,
    format_counts,
    format_moment,
    open_newsroom,
    print_json,
    require_secrets,
    say,
    session,
    warn,
)
from tidings.cli.sources import check_secrets_of_sources, fetch, format_sweep, warn_of_problems
from tidings.model.errors import RefusedError
from tidings.model.plurals import count_noun
from tidings.pipeline import notices
from tidings.pipeline.collect.sweep import collect
from tidings.pipeline.publish.archive import publish_archive
from tidings.pipeline.publish.publish import publish
from tidings.runtime.newsroom import Runtime
from tidings.store.service import clock, set_back
from tidings.store.service.heartbeat import ProcessRole

if TYPE_CHECKING:
    from tidings.runtime.tick import TickResult

_MOST_PROCESSES = 4
"""Most processes that help with `build`. Each takes memory."""


def tick(now: Now = "", json: Json = False) -> None:
    """Do what is due now, wait for its deliveries, and exit."""
    from tidings.runtime.tick import tick as tick_newsroom

    with open_newsroom(now, follows_clock=False) as runtime, show_sending(runtime):
        fetched = fetch(runtime)
        result = tick_newsroom(runtime, runtime.now())
        runtime.ping_hubs()
        is_caught = runtime.is_caught_elsewhere()
    if json:
        print_json(_as_json(result) | {"sources": fetched})
    else:
        _print(result)
        if is_caught:
            say(CAUGHT)
    if result.unpublished:
        warn(f"Pages and feeds were not written: {result.unpublished}")
        raise typer.Exit(1)
    if result.stalled or any(result.delivered[state] for state in FAILED):
        raise typer.Exit(3)


def _as_json(result: TickResult) -> dict[str, Any]:
    collected, published = result.collected, result.published
    return {
        "now": result.now,
        "items": {
            "new": len(collected.new) if collected else 0,
            "changed": len(collected.changed) if collected else 0,
            "gone": len(collected.gone) if collected else 0,
            "set_aside": sum(problem.level == "error" for problem in collected.problems) if collected else 0,
        },
        "public": {
            "written": len(published.written) if published else 0,
            "removed": len(published.removed) if published else 0,
        },
        "editions": [
            {
                "schedule": composed.schedule,
                "edition": composed.edition.name if composed.edition else None,
                "state": composed.edition.state.value if composed.edition else None,
                "reason": composed.reason,
                "holds": [hold.detail for hold in composed.edition.holds] if composed.edition else [],
                "stories": list(composed.edition.stories) if composed.edition else [],
            }
            for composed in result.composed
        ],
        "deliveries": dict(result.delivered),
        "stalled": result.stalled,
        "unpublished": result.unpublished,
        "told": result.notices,
        "restored": result.restored,
        "edited": result.edited,
    }


def _print(result: TickResult) -> None:
    if result.restored:
        say(result.restored)
    if result.collected is not None:
        warn_of_problems(result.collected)
        if result.collected.held:
            warn(result.collected.held)
        say(f"Content: {format_sweep(result.collected)}.")
    if result.published is not None:
        say(f"public/: {len(result.published.written):,} written, {len(result.published.removed):,} removed.")
    for name, change in result.edited.items():
        say(f"{name}: {change}.")
    for composed in result.composed:
        if composed.edition is None:
            say(f"{composed.schedule}: skipped, {composed.reason}.")
            continue
        stories = count_noun(len(composed.edition.stories), "story", "stories")
        say(f"{composed.edition.name}: {composed.edition.state.value}, {stories}.")
        for hold in composed.edition.holds:
            say(f"  held: {hold.detail}")
    say(f"Deliveries: {format_counts(result.delivered, 'none')}.")
    for lane, reason in result.stalled.items():
        warn(f"{f'Channel {lane}' if lane else 'Mail'} is stalled: {reason}")


def show_clock(
    set_to: Annotated[str, typer.Option("--set", metavar="now", help="`now`: set it back to real time.")] = "",
    json: Json = False,
) -> None:
    """Show the newsroom's clock, or set it back to real time.

    The clock is ahead after `--now` was used, or after this machine's clock was wrong. Until real time has reached it,
    nothing is published or sent; the pages are served. After --set now, what came due meanwhile is held for a person.
    """
    if set_to not in ("", "now"):
        raise RefusedError(f"--set {set_to} is not possible. Write `--set now`: this machine's time.")
    with open_newsroom(needs="store") as runtime:
        real = datetime.now(UTC)
        done = None
        with runtime.store.write() if set_to else runtime.store.read() as connection:
            if set_to:
                done = set_back.set_back(connection, real, getpass.getuser(), runtime.newsroom.site.zone)
            if done is not None:
                notices.add(
                    connection, f"clock:{real.isoformat()}", "clock", _describe_set_back(done, real, runtime), real
                )
            reached = clock.read_clock(connection)
        ahead = max(reached - real, timedelta(0)) if reached is not None else timedelta(0)
        if json:
            held = (
                {"held": list(done.held), "schedules": list(done.schedules)} if done else {"held": [], "schedules": []}
            )
            print_json({"clock": reached, "real": real, "ahead": round(ahead.total_seconds()), **held})
        elif done is not None:
            say(_describe_set_back(done, real, runtime))
        else:
            _print_clock(runtime, reached, real)


def _print_clock(runtime: Runtime, reached: datetime | None, real: datetime) -> None:
    from tidings.runtime.service_cycle import CLOCK_TOLERANCE

    if reached is None:
        say("The newsroom's clock has not started: there was no tick yet.")
        return
    say(f"The newsroom's clock has reached {format_moment(reached, runtime)}.")
    say(f"This machine's clock says      {format_moment(real, runtime)} ({runtime.newsroom.site.timezone}).")
    if reached > real + CLOCK_TOLERANCE:
        say("It is ahead: nothing is published or sent until then. The pages are served.")
        say("If this machine's clock is right, set it back: tidings clock --set now")


def _describe_set_back(done: set_back.SetBack, real: datetime, runtime: Runtime) -> str:
    before, after = format_moment(done.before, runtime), format_moment(real, runtime)
    lines = [f"The newsroom's clock was at {before}. It is set back to {after} ({runtime.newsroom.site.timezone})."]
    if done.held:
        lines.append(f"These editions are held: {', '.join(done.held)}.")
    if done.schedules:
        lines.append(f"The next edition of each of these schedules is held: {', '.join(done.schedules)}.")
    if done.held or done.schedules:
        lines.append("Send each with `tidings release EDITION`, or drop it with `tidings cancel EDITION`.")
    return "\n".join(lines)


def build() -> None:
    """Write feeds and pages into public/."""
    with open_newsroom(needs="yaml", schedules_needed=()) as runtime:
        check_secrets_of_sources(runtime)
        require_secrets(runtime, "publish")
        now = runtime.now()
        with runtime.store.read() as connection:
            reached = clock.read_clock(connection)
        now = max(now, reached) if reached else now
        processes = min(os.cpu_count() or 1, _MOST_PROCESSES)
        with show_steps() as show:
            collected = collect(
                runtime.store,
                runtime.sources,
                now=now,
                url=runtime.newsroom.site.url,
                processes=processes,
                on_progress=partial(show, "Reading"),
            )
            # Of thousands of files, their listing takes as much memory as their items.
            del runtime.sources
            pages = publish(
                runtime.store, runtime.newsroom, now=now, processes=processes, on_progress=partial(show, "Writing")
            )
        archive = publish_archive(runtime.store, runtime.newsroom, now=now, force=True)
        warn_of_problems(collected)
        written, removed = len(pages.written + archive.written), len(pages.removed + archive.removed)
        say(f"public/: {written:,} written, {removed:,} removed, {pages.unchanged + archive.unchanged:,} unchanged.")
        if runtime.bucket is not None:
            with show_steps() as show:
                copied = runtime.copy_to_bucket(lambda done, of: show("Copying", done, of))
            say(f"{runtime.bucket.address}: {copied.copied:,} copied, {copied.removed:,} removed.")
            if copied.failed:
                raise RefusedError(copied.failed)


def sweep(
    accept: Annotated[bool, typer.Option("--accept", help="Confirm that the vanished items are really gone.")] = False,
) -> None:
    """Read every source now.

    If many items vanish at once, nothing changes until you add --accept.
    """
    with open_newsroom(needs="yaml", schedules_needed=()) as runtime:
        check_secrets_of_sources(runtime)
        fetch(runtime, force=True)
        now, url = runtime.now(), runtime.newsroom.site.url
        collected = collect(runtime.store, runtime.sources, now=now, url=url, accept=accept)
        warn_of_problems(collected)
        say(f"{format_sweep(collected)}.")
        if collected.held:
            raise RefusedError(collected.held)


def run(
    only: Annotated[
        str,
        typer.Option(
            "--only",
            metavar="ROLE",
            help="One part of the work: `pages` serves, `ticker` publishes and composes, `worker` sends.",
        ),
    ] = "",
    catch_mail: Annotated[
        bool, typer.Option("--catch-mail", help="Try it out: mail and posts go to the page /inbox/, nothing leaves.")
    ] = False,
) -> None:
    """Run the service: watch, publish, send on schedule, and serve the pages.

    What --catch-mail caught counts as sent.
    """
    from tidings.runtime.service import run_service
    from tidings.web.app import metrics_app, newsroom_app
    from tidings.web.connections import bound_connections

    roles = [role.value for role in ProcessRole if role is not ProcessRole.ALL]
    if only and only not in roles:
        raise RefusedError(f"--only {only} is not known. Write one of: {', '.join(roles)}.")
    if catch_mail:
        if only:
            raise RefusedError("--catch-mail and --only cannot be combined.")
        raise typer.Exit(_run_caught())
    raise typer.Exit(
        run_service(
            session.root.resolve(),
            make_app=newsroom_app,
            make_metrics_app=metrics_app,
            protocol=bound_connections(),
            role=ProcessRole(only) if only else ProcessRole.ALL,
            say=say,
        )
    )


def worker(
    queues: Annotated[
        str, typer.Option("--queues", metavar="NAMES", help="What it does: mail, social, sources, render.")
    ] = "mail,social,sources,render",
    concurrency: Annotated[int, typer.Option("--concurrency", min=1, max=64, help="Number of its processes.")] = 1,
) -> None:
    """Work for the task engine: send mails and posts, fetch sources.

    It needs `engine:` in tidings.yaml. SIGTERM finishes the messages that are being sent.
    """
    from tidings.runtime.engine import run_worker

    names = [name.strip() for name in queues.split(",") if name.strip()]
    raise typer.Exit(run_worker(session.root.resolve(), names, concurrency=concurrency))


def _run_caught() -> int:
    """Run the service with the built-in catcher in place of all senders and channels."""
    from tidings.runtime.demo.mail_catcher import MailCatcher
    from tidings.runtime.rehearsal.stand_ins import CatchAll
    from tidings.runtime.service import run_service
    from tidings.web.app import Health, metrics_app, newsroom_app
    from tidings.web.connections import bound_connections
    from tidings.web.inbox import inbox_router

    with MailCatcher() as catcher:
        caught = CatchAll(catcher.port)

        def make_app(runtime: Runtime, health: Health) -> Any:
            site = runtime.newsroom.site
            inbox = inbox_router(catcher, caught, site.url, runtime.newsroom.lists, site.timezone)
            return newsroom_app(runtime, health, extra=[inbox])

        return run_service(
            session.root.resolve(),
            make_app=make_app,
            make_metrics_app=metrics_app,
            protocol=bound_connections(),
            catch=caught,
            say=say,
        )
