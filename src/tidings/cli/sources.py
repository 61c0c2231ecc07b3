"""`sources`: list sources, try one, or read them now."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Any

import typer

from tidings.cli.session import Json, Now, console, format_moment, open_newsroom, print_json, require_secrets, say, warn
from tidings.model.errors import InputError, RefusedError, nearest
from tidings.model.plurals import count_noun
from tidings.pipeline.collect.sweep import collect
from tidings.pipeline.collect.writing import SweepResult
from tidings.runtime.newsroom import Runtime
from tidings.sources.base import FetchingSource, SourceItem
from tidings.store.content.websub import HubSubscription, load_subscriptions


def list_sources(json: Json = False) -> None:
    """List every source, when it was read, and what is wrong with it."""
    with open_newsroom(needs="yaml", schedules_needed=()) as runtime:
        with runtime.store.read() as connection:
            hubs = load_subscriptions(connection)
        rows = [_describe(runtime, name, hubs.get(name)) for name in runtime.sources]
        if json:
            print_json(rows)
            return
        for row in rows:
            _print_source(row, runtime)


def _describe(runtime: Runtime, name: str, hub: HubSubscription | None) -> dict[str, Any]:
    source, settings = runtime.sources[name], runtime.newsroom.sources[name]
    health = source.health(runtime.now()) if isinstance(source, FetchingSource) else None
    return {
        "source": name,
        "type": settings.type,
        "items": len(source.sweep(runtime.now()).items),
        "fetched": health.fetched if health else None,
        "newest": health.newest if health else None,
        "due": health.due if health else None,
        "problem": health.problem if health else "",
        "failing_since": health.failing_since if health else None,
        "silent": health.is_silent if health else False,
        "hub": hub.hub if hub else "",
        "hub_until": hub.until if hub else None,
        "hub_problem": hub.problem if hub else "",
    }


def _print_source(row: dict[str, Any], runtime: Runtime) -> None:
    fetched, newest, due, since, until = (
        format_moment(row[key], runtime) for key in ("fetched", "newest", "due", "failing_since", "hub_until")
    )
    is_remote = isinstance(runtime.sources[row["source"]], FetchingSource)
    is_new = is_remote and not row["fetched"] and not row["items"]
    say(f"{row['source']} ({row['type']}): {'not read yet' if is_new else count_noun(row['items'], 'item')}")
    if row["fetched"] or row["due"]:
        say(f"  read {fetched}, newest item {newest}, next read {due}")
    if row["problem"]:
        say(f"  fails since {since}: {row['problem']}")
    elif row["silent"]:
        say("  nothing new for much longer than usual")
    if row["hub"]:
        notified = f"until {until}" if row["hub_until"] else "once the hub confirms"
        say(f"  notified of changes by {row['hub']}, {row['hub_problem'] or notified}")


def try_source(
    name: Annotated[str, typer.Argument(help="The source, as tidings.yaml calls it.")], json: Json = False
) -> None:
    """Read a source now and show what it would give. Stores nothing."""
    with open_newsroom(needs="yaml", schedules_needed=()) as runtime:
        source = runtime.sources.get(name)
        if source is None:
            raise _unknown(runtime, name)
        check_secrets_of_sources(runtime, [name])
        now = runtime.now()
        swept = source.try_fetch(now) if isinstance(source, FetchingSource) else source.sweep(now)
        if json:
            print_json(
                {
                    "items": [_item_as_json(item) for item in swept.items],
                    "problems": [str(problem) for problem in swept.problems],
                    "readable": swept.is_readable,
                    "notes": swept.notes,
                }
            )
        else:
            if swept.is_readable:
                _print_items(swept.items)
            for note in swept.notes:
                say(note)
            for problem in swept.problems:
                warn(str(problem))
        if not swept.is_readable:
            raise typer.Exit(1)


def _item_as_json(item: SourceItem) -> dict[str, Any]:
    shown = ("ref", "title", "language", "kind", "story", "published", "topics", "url", "summary")
    images = [{"src": image.src, "alt": image.alt} for image in item.images]
    return {name: getattr(item, name) for name in shown} | {"characters": len(item.body), "images": images}


def _print_items(items: tuple[SourceItem, ...]) -> None:
    from rich.table import Table

    table = Table("published", "language", "title", "story", "topics", "text", "pictures", box=None, pad_edge=False)
    for item in sorted(items, key=lambda item: str(item.published or ""), reverse=True):
        described = sum(bool(image.alt) for image in item.images)
        table.add_row(
            f"{item.published:%Y-%m-%d}" if item.published else "-",
            item.language,
            item.title,
            item.story or "-",
            ", ".join(item.topics) or "-",
            f"{len(item.body):,}",
            f"{len(item.images)}, {described} described" if item.images else "-",
        )
    console().print(table)
    say(f"{count_noun(len(items), 'item')}.")


def sync_sources(
    names: Annotated[list[str] | None, typer.Argument(help="Only these. Default: all.")] = None,
    now: Now = "",
    json: Json = False,
) -> None:
    """Read sources now, due or not, and store their items. Sends nothing."""
    with open_newsroom(now, needs="yaml", schedules_needed=()) as runtime:
        for name in names or ():
            if name not in runtime.sources:
                raise _unknown(runtime, name)
        check_secrets_of_sources(runtime, names)
        fetched = fetch(runtime, only=names or None, force=True, quiet=json)
        collected = collect(runtime.store, runtime.sources, now=runtime.now(), url=runtime.newsroom.site.url)
        if json:
            items = {key: len(getattr(collected, key)) for key in ("new", "changed", "gone")}
            print_json({"sources": fetched, "items": items})
        else:
            warn_of_problems(collected)
            say(f"Content: {format_sweep(collected)}.")
        if failed := [name for name, result in fetched.items() if result["problem"]]:
            raise InputError(f"not read: {', '.join(failed)}")


def check_secrets_of_sources(runtime: Runtime, names: Collection[str] | None = None) -> None:
    """Raise InputError if a secret is missing that reading these sources (None: all) needs.

    A source that others push to needs its token for them only.
    """
    read = [name for name, settings in runtime.newsroom.sources.items() if settings.type != "push"]
    require_secrets(runtime, *(("sources", name) for name in read if not names or name in names))


def fetch(
    runtime: Runtime, *, only: list[str] | None = None, force: bool = False, quiet: bool = False
) -> dict[str, dict[str, Any]]:
    """Fetch sources on the network, and warn about failures. Returns counts and the problem by source."""
    fetched = runtime.fetch(only=only, force=force)
    runtime.fetch_pictures(only=only, force=force)
    for name, result in fetched.items():
        if not quiet and (result.problem or result.notice):
            warn(f"source {name}: {result.problem or result.notice}")
    return {
        name: {"new": result.new, "changed": result.changed, "problem": result.problem}
        for name, result in fetched.items()
    }


def warn_of_problems(collected: SweepResult) -> None:
    """Print the problems of items to stderr."""
    for problem in collected.problems:
        warn(str(problem))


def format_sweep(collected: SweepResult) -> str:
    """Format how many items are new, changed and gone."""
    return f"{len(collected.new):,} new, {len(collected.changed):,} changed, {len(collected.gone):,} gone"


def _unknown(runtime: Runtime, name: str) -> RefusedError:
    return RefusedError(f"there is no source {name!r}. {nearest(name, runtime.sources)}")
