"""What must agree between files: a schedule's lists and channels exist, each reader's frequency is served.

Works on what is written, not on models, so that a typo elsewhere does not hide these.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tidings.config.problems import Path, place
from tidings.config.schedule import ListDelivery
from tidings.config.settings import Newsroom
from tidings.config.yamltext import Node
from tidings.model.problem import Problem, nearest

_MAIN = "tidings.yaml"
Finding = tuple[Path, str, str]


def cross_check(
    main: Mapping[str, Any], schedules: Mapping[str, Mapping[str, Any]], nodes: Mapping[str, Node]
) -> Iterator[Problem]:
    """Problems between the parts of a newsroom; `schedules` by file, `nodes` by file say where each thing stands."""
    for path, message, mend in _main(main, schedules):
        yield Problem(_MAIN, *place(nodes[_MAIN], path), message, mend)
    for path, message, mend in _defaults(main, schedules):
        yield Problem(_MAIN, *place(nodes[_MAIN], path), message, mend, "warning")
    for file, schedule in schedules.items():
        for path, message, mend in _schedule(main, schedules, file, schedule):
            yield Problem(file, *place(nodes[file], path), message, mend)


def _main(main: Mapping[str, Any], schedules: Mapping[str, Mapping[str, Any]]) -> Iterator[Finding]:
    lists, channels, topics = (_map(main.get(key)) for key in ("lists", "channels", "topics"))
    for key, name, field in [
        *(("lists", name, "fallback") for name in lists),
        *(("channels", name, "languages") for name in channels),
    ]:
        for language in _many(_map(_map(main.get(key)).get(name)).get(field)):
            yield from _language(main, language, (key, name, field))
    for name, feed in _map(main.get("feeds")).items():
        if name == "all":
            yield ("feeds", name), "the feed `all` exists by itself", "give this one another name"
        for topic in _many(_map(_map(feed).get("select")).get("topics")):
            yield from _known(topic, topics, ("feeds", name, "select", "topics"), "topic")
    if lists and not main.get("mail"):
        yield ("lists",), "there are lists but no `mail`", "say under `mail:` how mail leaves"
    told = _map(main.get("notify")).get("channel")
    if isinstance(told, str):
        yield from _known(told, channels, ("notify", "channel"), "channel")


def _defaults(main: Mapping[str, Any], schedules: Mapping[str, Mapping[str, Any]]) -> Iterator[Finding]:
    """A list whose default frequency nobody serves works for who chooses another: no error."""
    for name, settings in _map(main.get("lists")).items():
        served = {
            str(part.get("frequency", "all"))
            for schedule in schedules.values()
            for part in _parts(schedule)
            if part.get("list") == name
        }
        default = _map(settings).get("default_frequency", "weekly")
        if served and "all" not in served and default not in served:
            said = f"no schedule serves the default frequency {default!r} of list {name!r}"
            mend = f"write `default_frequency: {min(served)}`, or add a schedule that delivers it"
            yield ("lists", name, "default_frequency"), said, mend


def _schedule(
    main: Mapping[str, Any], schedules: Mapping[str, Any], file: str, schedule: Mapping[str, Any]
) -> Iterator[Finding]:
    for number, part in enumerate(_parts(schedule)):
        for kind in ("list", "channel"):
            if isinstance(part.get(kind), str):
                yield from _known(part[kind], _map(main.get(f"{kind}s")), ("deliver", number, kind), kind)
    select = _map(schedule.get("select"))
    for topic in _many(select.get("topics")):
        yield from _known(topic, _map(main.get("topics")), ("select", "topics"), "topic")
    for language in _many(select.get("languages")):
        yield from _language(main, language, ("select", "languages"))
    was = schedule.get("was")
    if was and any(other.rpartition("/")[2].partition(".")[0] == was for other in schedules):
        yield ("was",), f"`was: {was}`, but schedules/{was}.yaml still stands", "take one of the two out"


def _known(name: str, known: Mapping[str, Any], path: Path, what: str) -> Iterator[Finding]:
    if name not in known:
        mend = nearest(name, known) if known else f"add it under `{what}s:` in tidings.yaml"
        yield path, f"there is no {what} {name!r}", mend


def _language(main: Mapping[str, Any], language: str, path: Path) -> Iterator[Finding]:
    languages = _many(_map(main.get("site")).get("languages")) or ["en"]
    if language not in languages:
        yield path, f"{language!r} is not among site.languages", nearest(language, languages)


def _map(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _many(value: Any) -> list[str]:
    return [one for one in ([value] if isinstance(value, str) else value or []) if isinstance(one, str)]


def _parts(schedule: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    parts = schedule.get("deliver")
    return [_map(part) for part in parts] if isinstance(parts, list) else []


def served_frequencies(newsroom: Newsroom, list_name: str) -> set[str]:
    """Frequencies of a list that some schedule serves; `all` serves every one."""
    return {
        part.frequency or "all"
        for schedule in newsroom.schedules.values()
        for part in schedule.deliver
        if isinstance(part, ListDelivery) and part.list == list_name
    }
