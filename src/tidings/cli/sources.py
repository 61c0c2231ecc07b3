"""`sources`: what the newsroom reads on the network, how it fares, and what a source would find."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.table import Table

from tidings.cli.app import Json, Now, app, console, errors, opened, print_json, show
from tidings.model.errors import InputError, RefusedError
from tidings.pipeline.collect.sweep import collect
from tidings.runtime.newsroom import Runtime
from tidings.sources.base import FetchingSource, SourceItem
from tidings.store.content.websub import HubSubscription, load_subscriptions

sources_app = typer.Typer(
    help="Where items come from: list them, try one, read one now.", no_args_is_help=True, rich_markup_mode=None
)
app.add_typer(sources_app, name="sources")


@sources_app.command("list")
def list_command(json: Json = False) -> None:
    """Every source, when it was read, and what is wrong with it."""
    with opened() as runtime:
        with runtime.store.read() as connection:
            hubs = load_subscriptions(connection)
        rows = [_row(runtime, name, hubs.get(name)) for name in runtime.sources]
        if json:
            print_json(rows)
            return
        for row in rows:
            asked = isinstance(runtime.sources[row["source"]], FetchingSource)
            never = asked and not row["fetched"] and not row["items"]
            holds = "not read yet" if never else f"{row['items']} items"
            console.print(f"{row['source']} ({row['type']}): {holds}", markup=False)
            if row["fetched"] or row["due"]:
                console.print(
                    f"  read {show(row['fetched'], runtime)}, newest item {show(row['newest'], runtime)}, "
                    f"asked again {show(row['due'], runtime)}",
                    markup=False,
                )
            if row["problem"]:
                console.print(f"  fails since {show(row['failing_since'], runtime)}: {row['problem']}", markup=False)
            elif row["silent"]:
                console.print("  nothing new for much longer than its habit", markup=False)
            if row["hub"]:
                told = f"until {show(row['hub_until'], runtime)}" if row["hub_until"] else "once it confirms that"
                console.print(f"  told of changes by {row['hub']}, {row['hub_problem'] or told}", markup=False)


def _row(runtime: Runtime, name: str, hub: HubSubscription | None) -> dict[str, Any]:
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


@sources_app.command("try")
def try_command(
    name: Annotated[str, typer.Argument(help="The source, as tidings.yaml calls it.")], json: Json = False
) -> None:
    """Read a source at once and show what it would give; keeps nothing."""
    with opened() as runtime:
        source = runtime.sources.get(name)
        if source is None:
            raise RefusedError(_unknown(runtime, name))
        now = runtime.now()
        swept = source.try_fetch(now) if isinstance(source, FetchingSource) else source.sweep(now)
        if json:
            print_json(
                {
                    "items": [_shown(one) for one in swept.items],
                    "problems": [str(one) for one in swept.problems],
                    "readable": swept.is_readable,
                    "notes": swept.notes,
                }
            )
        else:
            if swept.is_readable:
                _print(swept.items)
            for note in swept.notes:
                console.print(note, markup=False)
            for problem in swept.problems:
                errors.print(str(problem), markup=False)
        if not swept.is_readable:
            raise typer.Exit(1)


def _shown(one: SourceItem) -> dict[str, Any]:
    return {
        "ref": one.ref,
        "title": one.title,
        "language": one.language,
        "kind": one.kind,
        "story": one.story,
        "published": one.published,
        "topics": one.topics,
        "url": one.url,
        "summary": one.summary,
        "characters": len(one.body),
        "images": [{"src": image.src, "alt": image.alt} for image in one.images],
    }


def _print(found: tuple[SourceItem, ...]) -> None:
    table = Table("published", "language", "title", "story", "topics", "text", "pictures", box=None, pad_edge=False)
    for one in sorted(found, key=lambda each: str(each.published or ""), reverse=True):
        described = sum(bool(image.alt) for image in one.images)
        table.add_row(
            f"{one.published:%Y-%m-%d}" if one.published else "-",
            one.language,
            one.title,
            one.story or "-",
            ", ".join(one.topics) or "-",
            f"{len(one.body):,}",
            f"{len(one.images)}, {described} described" if one.images else "-",
        )
    console.print(table)
    console.print(f"{len(found)} items.")


@sources_app.command("sync")
def sync_command(
    names: Annotated[list[str] | None, typer.Argument(help="These; default: all.")] = None,
    now: Now = "",
    json: Json = False,
) -> None:
    """Read sources now, due or not, and take up what they tell; sends nothing."""
    with opened(now) as runtime:
        for name in names or ():
            if name not in runtime.sources:
                raise RefusedError(_unknown(runtime, name))
        asked = fetched(runtime, only=names or None, force=True, quiet=json)
        collected = collect(runtime.store, runtime.sources, now=runtime.now(), url=runtime.newsroom.site.url)
        if json:
            items = {key: len(getattr(collected, key)) for key in ("new", "changed", "gone")}
            print_json({"sources": asked, "items": items})
        else:
            for problem in collected.problems:
                errors.print(str(problem), markup=False)
            counts = (len(collected.new), len(collected.changed), len(collected.gone))
            console.print("Content: {} new, {} changed, {} gone.".format(*counts))
        if bad := [name for name, one in asked.items() if one["problem"]]:
            raise InputError(f"not read: {', '.join(bad)}")


def fetched(
    runtime: Runtime, *, only: list[str] | None = None, force: bool = False, quiet: bool = False
) -> dict[str, dict[str, Any]]:
    """Ask the sources on the network; says what went wrong, and returns what each brought."""
    done = runtime.fetch(only=only, force=force)
    runtime.fetch_pictures(only=only, force=force)
    for name, one in done.items():
        if not quiet and (one.problem or one.notice):
            errors.print(f"source {name}: {one.problem or one.notice}", markup=False)
    return {name: {"new": one.new, "changed": one.changed, "problem": one.problem} for name, one in done.items()}


def _unknown(runtime: Runtime, name: str) -> str:
    return f"there is no source {name!r}; there are {', '.join(runtime.sources)}"
