"""Checks between files: a schedule's lists and channels exist, each reader's frequency is served.

They work on the YAML, not on models, so that a typo elsewhere does not hide these problems.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from email.utils import parseaddr
from typing import Any

from tidings.config.problems import Path, find_place
from tidings.config.schedule import RULES, ListDelivery
from tidings.config.settings import Newsroom
from tidings.config.types import is_language, is_name
from tidings.config.yaml_text import Node
from tidings.model.cadence import CadenceError, Cron, DayOfMonth, Monthly, NthWeekday, parse_rule
from tidings.model.errors import Problem, nearest

_MAIN = "tidings.yaml"
Finding = tuple[Path, str, str]
_HUB = "websub"
"""The type of channel that gets no posts."""


_SECOND_LEVELS = frozenset(
    [
        "ac",
        "co",
        "com",
        "edu",
        "gob",
        "gouv",
        "gov",
        "go",
        "gub",
        "int",
        "ltd",
        "mil",
        "net",
        "ne",
        "nic",
        "nom",
        "or",
        "org",
        "plc",
        "sch",
    ]
)
"""Second-level labels under which organisations register, as in example.org.kz."""


def cross_check(
    main: Mapping[str, Any], schedules: Mapping[str, Mapping[str, Any]], nodes: Mapping[str, Node]
) -> Iterator[Problem]:
    """Yield the problems between the parts of a newsroom. `schedules` and `nodes` are by file name."""
    for path, message, mend in _main(main, schedules):
        yield Problem(_MAIN, *find_place(nodes[_MAIN], path), message, mend)
    for path, message, mend in _defaults(main, schedules):
        yield Problem(_MAIN, *find_place(nodes[_MAIN], path), message, mend, "warning")
    for file, schedule in schedules.items():
        for path, message, mend in _rare_days(schedule):
            yield Problem(file, *find_place(nodes[file], path), message, mend, "warning")
        for path, message, mend in _schedule(main, schedules, file, schedule):
            yield Problem(file, *find_place(nodes[file], path), message, mend)


def _main(main: Mapping[str, Any], schedules: Mapping[str, Mapping[str, Any]]) -> Iterator[Finding]:
    lists, channels, topics = (_map(main.get(key)) for key in ("lists", "channels", "topics"))
    for key, name, field in [
        *(("lists", name, "fallback") for name in lists),
        *(("channels", name, "languages") for name in channels),
    ]:
        for number, language in _many(_map(_map(main.get(key)).get(name)).get(field)):
            yield from _language(main, language, (key, name, field, number))
    for name, feed in _map(main.get("feeds")).items():
        if name == "all":
            yield ("feeds", name), "the feed `all` always exists", "give this one another name"
        for number, topic in _many(_map(_map(feed).get("select")).get("topics")):
            yield from _known(topic, topics, ("feeds", name, "select", "topics", number), "topic")
    if lists and not main.get("mail"):
        yield ("lists",), "there are lists but no `mail`", "add a sender under `mail:`"
    store = main.get("store") or "sqlite:"
    if main.get("engine") and isinstance(store, str) and store.startswith("sqlite:"):
        message = "a task engine needs PostgreSQL, because its workers share one store; this store is SQLite"
        yield ("engine",), message, "write store: {env: NAME} with postgresql://host/database, or delete `engine`"
    yield from _senders(main)
    for key in ("lists", "channels"):
        for name, settings in _map(main.get(key)).items():
            yield from _renamed(_map(settings).get("was"), _map(main.get(key)), (key, name, "was"))
    yield from _translations(channels)
    channel = _map(main.get("notify")).get("channel")
    if isinstance(channel, str):
        yield from _known(channel, channels, ("notify", "channel"), "channel")
        yield from _posts(channel, channels, ("notify", "channel"))


def _posts(name: Any, channels: Mapping[str, Any], path: Path) -> Iterator[Finding]:
    if isinstance(name, str) and _map(channels.get(name)).get("type") == _HUB:
        message = f"channel {name!r} is a WebSub hub and takes no posts"
        yield path, message, "take this out"


def _translations(channels: Mapping[str, Any]) -> Iterator[Finding]:
    """Report channels that send or await translations but have only one language."""
    for name, settings in channels.items():
        written = _map(settings)
        wants = [("translations", written.get("translations") == "thread")]
        wants.append(("wait_for_translations", bool(written.get("wait_for_translations"))))
        for key, wanted in wants:
            if wanted and len({language for _, language in _many(written.get("languages"))}) < 2:
                message = f"channel {name!r} has one language, so it gets no translations"
                yield (
                    ("channels", name, key),
                    message,
                    "write all its languages: `languages: [kk, ru]`; or take this out",
                )


def _senders(main: Mapping[str, Any]) -> Iterator[Finding]:
    """Report senders with the same name, and unknown senders of a list."""
    mail = main.get("mail")
    known: dict[str, int] = {}
    for number, sender in enumerate(mail if isinstance(mail, list) else [mail]):
        settings = _map(sender)
        kind = settings.get("type", "smtp")
        name = settings.get("name") or (str(settings.get("host", "")).lower() if kind == "smtp" else kind)
        if not isinstance(name, str) or not name:
            continue
        if name in known:
            mend = f"give this one a name: `name: {name}-2`" if "name" not in settings else "give this one another name"
            path = ("mail", number, "name") if "name" in settings else ("mail", number)
            yield path, f"two senders are called {name!r}", mend
        known[name] = number
    for name, settings in _map(main.get("lists")).items():
        for number, sender in _many(_map(settings).get("sender")):
            if sender not in known and known:
                message = f"there is no sender {sender!r} under `mail`"
                yield ("lists", name, "sender", number), message, nearest(sender, known)


def _defaults(main: Mapping[str, Any], schedules: Mapping[str, Mapping[str, Any]]) -> Iterator[Finding]:
    """Warn about a default frequency without a schedule, and about notice addresses without a mail sender."""
    if _map(main.get("notify")).get("to") and not main.get("mail"):
        yield ("notify", "to"), "notices cannot be mailed: there is no `mail`", "add a sender under `mail:`"
    for name, settings in _map(main.get("lists")).items():
        served = {
            "all" if part.get("everyone") == "true" else str(part.get("frequency", "all"))
            for schedule in schedules.values()
            for part in _parts(schedule)
            if part.get("list") == name and isinstance(part.get("frequency", ""), str)
        }
        default = _map(settings).get("default_frequency", "weekly")
        if isinstance(default, str) and is_name(default) and served and not {"all", default} & served:
            message = f"no schedule serves the default frequency {default!r} of list {name!r}"
            mend = f"write `default_frequency: {min(served)}`, or add a schedule that delivers it"
            yield ("lists", name, "default_frequency"), message, mend
        for frequency in _map(_map(settings).get("frequencies")):
            if is_name(frequency) and served and not {"all", frequency} & served:
                mend = nearest(frequency, served)
                path = ("lists", name, "frequencies", frequency)
                yield path, f"no schedule serves the frequency {frequency!r} of list {name!r}", mend
    yield from _unaligned(main)


def _unaligned(main: Mapping[str, Any]) -> Iterator[Finding]:
    """Warn if From and signature have different organisational domains: DMARC fails then (RFC 9989, relaxed)."""
    mail = main.get("mail")
    for number, sender in enumerate(mail if isinstance(mail, list) else [mail]):
        domain = str(_map(_map(sender).get("dkim")).get("domain") or "").lower()
        for name, settings in _map(main.get("lists")).items():
            of = parseaddr(str(_map(settings).get("from") or ""))[1].rpartition("@")[2].lower()
            if domain and of and organisational_domain(of) != organisational_domain(domain):
                path = ("mail", number, "dkim", "domain") if isinstance(mail, list) else ("mail", "dkim", "domain")
                message = f"mail of list {name!r} is from {of}, and signed by {domain}: DMARC fails it"
                yield path, message, f"sign with a key of {of}, or send from an address at {domain}"


def organisational_domain(domain: str) -> str:
    """Return the domain that an organisation registered, such as example.org or example.co.uk.

    The exact answer is in the DNS (RFC 9989 §4.10). This guesses by common domains of countries, without the network.
    """
    labels = domain.rstrip(".").split(".")
    is_country = len(labels) > 2 and len(labels[-1]) == 2 and labels[-2] in _SECOND_LEVELS
    return ".".join(labels[-3 if is_country else -2 :])


def _schedule(
    main: Mapping[str, Any], schedules: Mapping[str, Any], file: str, schedule: Mapping[str, Any]
) -> Iterator[Finding]:
    for number, part in enumerate(_parts(schedule)):
        for kind in ("list", "channel"):
            if isinstance(part.get(kind), str):
                yield from _known(part[kind], _map(main.get(f"{kind}s")), ("deliver", number, kind), kind)
        yield from _posts(part.get("channel"), _map(main.get("channels")), ("deliver", number, "channel"))
    select = _map(schedule.get("select"))
    for number, topic in _many(select.get("topics")):
        yield from _known(topic, _map(main.get("topics")), ("select", "topics", number), "topic")
    for number, language in _many(select.get("languages")):
        yield from _language(main, language, ("select", "languages", number))
    was = schedule.get("was")
    if was and any(other.rpartition("/")[2].partition(".")[0] == was for other in schedules):
        yield ("was",), f"`was: {was}`, but schedules/{was}.yaml still exists", "take one of the two out"
    elif was and [other.get("was") for other in schedules.values()].count(was) > 1:
        yield ("was",), f"two schedules have `was: {was}`", "keep it in one of them"
    yield from _outlets(schedule)


def _rare_days(schedule: Mapping[str, Any]) -> Iterator[Finding]:
    """Warn about days that not every month has, and about cron lines that mean more days than they seem to."""
    cadence = _map(schedule.get("cadence"))
    monthly, cron = cadence.get("monthly"), cadence.get("cron")
    try:
        rule = parse_rule("monthly", monthly) if isinstance(monthly, (str, list)) else None
        if rule is None and isinstance(cron, str):
            rule = parse_rule("cron", cron)
    except (CadenceError, TypeError, AttributeError):
        return  # reported with the schedule
    if isinstance(rule, Monthly):
        rare = [part.day for part in rule.days if isinstance(part, DayOfMonth) and part.day > 28]
        if rare:
            message = f"monthly: not every month has a day {rare[0]}, and such a month is skipped"
            yield ("cadence", "monthly"), message, "write `last 09:00` for the last day of each month"
        fifth = [str(part) for part in rule.days if isinstance(part, NthWeekday) and part.nth == 5]
        if fifth:
            message = f"monthly: not every month has {fifth[0]}, and such a month is skipped"
            yield ("cadence", "monthly"), message, "write `last` instead of `fifth` for the last one of each month"
    if isinstance(rule, Cron) and rule.days is not None and rule.weekdays is not None:
        message = "cron: both day fields are set, so it fires when either of them matches"
        yield ("cadence", "cron"), message, "put * into one of them, or write `monthly: first fri 09:00`"


def _outlets(schedule: Mapping[str, Any]) -> Iterator[Finding]:
    """Report lists and channels that are named twice, and lists without `frequency` in a repeating schedule."""
    seen: set[tuple[str, str]] = set()
    for number, part in enumerate(_parts(schedule)):
        kind = next((kind for kind in ("list", "channel") if isinstance(part.get(kind), str)), None)
        if kind is None:
            continue
        if (kind, part[kind]) in seen:
            yield ("deliver", number, kind), f"{kind} {part[kind]!r} is in `deliver` twice", "keep one"
        seen.add((kind, part[kind]))
        if kind == "list" and _repeats(schedule) and not part.get("frequency") and part.get("everyone") != "true":
            message = f"list {part[kind]!r} needs `frequency` in a schedule that repeats"
            yield (
                ("deliver", number),
                message,
                "write `frequency: weekly`, or another name, or `frequency: all` for everyone",
            )


def _repeats(schedule: Mapping[str, Any]) -> bool:
    cadence, select = _map(schedule.get("cadence")), _map(schedule.get("select"))
    rules = {key for key in RULES if cadence.get(key)}
    return bool(rules) and "at" not in rules and cadence.get("on") != "request" and not select.get("stories")


def _renamed(was: Any, names: Mapping[str, Any], path: Path) -> Iterator[Finding]:
    if isinstance(was, str) and was in names:
        yield path, f"`was: {was}`, but {was!r} still exists", "take one of the two out"
    elif was and [_map(settings).get("was") for settings in names.values()].count(was) > 1:
        yield path, f"two have `was: {was}`", "keep it in one of them"


def _known(name: str, known: Mapping[str, Any], path: Path, kind: str) -> Iterator[Finding]:
    if name not in known and (kind == "topic" or is_name(name)) and all(map(is_name, known)):
        mend = nearest(name, known) if known else f"add it under `{kind}s:` in tidings.yaml"
        yield path, f"there is no {kind} {name!r}", mend


def _language(main: Mapping[str, Any], language: str, path: Path) -> Iterator[Finding]:
    languages = [language for _, language in _many(_map(main.get("site")).get("languages"))] or ["en"]
    # A wrong tag and an unreadable `site` are reported elsewhere.
    if not main.get("site") or not all(map(is_language, (*languages, language))):
        return
    if language not in languages:
        yield path, f"{language!r} is not among site.languages", nearest(language, languages)


def _map(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _many(value: Any) -> list[tuple[int, str]]:
    """Return the texts of a list, or the single text, with their positions."""
    written = [value] if isinstance(value, str) else value
    if not isinstance(written, list):
        return []
    return [(number, text) for number, text in enumerate(written) if isinstance(text, str)]


def _parts(schedule: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    parts = schedule.get("deliver")
    return [_map(part) for part in parts] if isinstance(parts, list) else []


def served_frequencies(newsroom: Newsroom, list_name: str) -> set[str]:
    """Return the frequencies of a list that schedules serve. `all` serves every frequency."""
    return {
        "all" if part.everyone else part.frequency or "all"
        for schedule in newsroom.schedules.values()
        for part in schedule.deliver
        if isinstance(part, ListDelivery) and part.list == list_name
    }
