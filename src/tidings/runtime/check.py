"""`tidings check`: report every problem at once. Changes nothing."""

from __future__ import annotations

import ipaddress
import os
import re
import stat
from collections import abc
from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from email.utils import parseaddr
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfoNotFoundError

from pydantic import BaseModel, SecretStr

from tidings.channels.base import CanEdit, CanTakeDown
from tidings.config import problems as placing
from tidings.config.cross_checks import served_frequencies
from tidings.config.file_reader import MAIN
from tidings.config.load import store_address
from tidings.config.schedule import Schedule
from tidings.config.settings import Newsroom, NewsroomConfig
from tidings.config.yaml_text import Mapping, Node, Scalar, Sequence, read_text, read_yaml
from tidings.model.cadence import At, OnNew, OnRequest, load_zone, moved_slots, next_slots, to_utc
from tidings.model.errors import Problem, RefusedError, nearest
from tidings.model.plurals import count_noun
from tidings.model.text import Localised
from tidings.pipeline.collect.check import check_items
from tidings.pipeline.compose.baseline import cadence_key, describe_cadence_edit
from tidings.pipeline.compose.gates import has_spamassassin
from tidings.render.i18n import count_missing_words
from tidings.render.template_check import find_subject_problems, find_template_problems
from tidings.render.templates import MailTemplates
from tidings.runtime.newsroom import load_newsroom, make_channels, make_sources, store_exists
from tidings.sources.web.cached_source import CachedSourceSettings
from tidings.store.content import schedules
from tidings.store.engine import Store
from tidings.store.people import eligibility, subscribers


def check_newsroom(root: Path) -> list[Problem]:
    """Return all errors and warnings of a newsroom: settings, templates, items and subscribers.

    Errors in the settings do not hide other problems, unless the YAML cannot be read.
    """
    loaded = load_newsroom(root)
    problems = list(loaded.problems)
    newsroom = loaded.newsroom
    if newsroom is None:
        newsroom = load_newsroom(root, lenient=True).newsroom
    if newsroom is None:
        return problems
    problems += template_errors(newsroom)
    node = _read_node(newsroom.root / MAIN, MAIN)
    if node is not None:
        problems += _check_settings(newsroom, node)
        problems += _check_traps(newsroom, node)
    store = Store(store_address(newsroom), newsroom.root) if store_exists(newsroom) else None
    try:
        problems += check_items(newsroom, make_sources(newsroom, store), store)
        problems += _check_frequencies(newsroom, store) if store is not None else ()
        problems += _check_cadences(newsroom, store) if store is not None else ()
        problems += _check_moments(newsroom, store, datetime.now(UTC))
    finally:
        if store is not None:
            store.close()
    return list(dict.fromkeys(problems))


def _read_node(path: Path, file: str) -> Node | None:
    text, _ = read_text(path.read_bytes(), file)
    return read_yaml(text or "", file)[0]


def _check_settings(newsroom: Newsroom, node: Node) -> Iterator[Problem]:
    """Warn about channel limits and unknown topics."""

    def problem(path: tuple[str, ...], message: str, mend: str, level: Literal["error", "warning"]) -> Problem:
        return Problem(MAIN, *placing.find_place(node, path), message, mend, level)

    for name, source in newsroom.sources.items():
        if not isinstance(source, CachedSourceSettings):
            continue
        for word, topic in source.topics.items():
            if topic not in newsroom.topics:
                mend = nearest(topic, newsroom.topics) if newsroom.topics else "declare it under `topics:`"
                path = ("sources", name, "topics", word)
                yield problem(path, f"topic {topic!r} is not declared", mend, "warning")
        languages = newsroom.site.languages
        if source.language and source.language not in languages:
            message = f"source {name!r}: {source.language!r} is not a language of the site, so items may be refused"
            mend = f"site.languages has {', '.join(languages)}"
            yield problem(("sources", name, "language"), message, mend, "warning")
    for name, settings in newsroom.channels.items():
        if (warning := getattr(settings, "WARNING", None)) is not None:
            yield problem(("channels", name, "type"), f"channel {name!r}: {warning[0]}", warning[1], "warning")
    for name, channel in make_channels(newsroom).items():
        settings = newsroom.channels[name]
        for key, value, is_able, other in (
            ("translations", "thread", channel.capabilities.replies, "first"),
            ("on_correction", "edit", isinstance(channel, CanEdit), "leave"),
            ("on_correction", "reply", channel.capabilities.replies, "leave"),
            ("on_withdrawal", "take_down", isinstance(channel, CanTakeDown), "leave"),
        ):
            if getattr(settings, key) == value and not is_able:
                message = f"channel {name!r}: {settings.type} cannot do `{key}: {value}`"
                yield problem(("channels", name, key), message, f"delete the line, or write {key}: {other}", "error")


def _check_traps(newsroom: Newsroom, node: Node) -> Iterator[Problem]:
    """Warn about settings that are valid and seldom meant: sample addresses, mail without TLS, open secrets."""

    def warn(path: tuple[str | int, ...], message: str, mend: str) -> Problem:
        return Problem(MAIN, *placing.find_place(node, path), message, mend, "warning")

    addresses = (newsroom.site.address.default, *newsroom.site.address.by_language.values())
    postal = next((text for text in addresses if _is_sample_postal(text)), "")
    if postal:
        message = f"site.address is a sample, {postal}: every digest shows it"
        yield warn(("site", "address"), message, "write your postal address, which the law requires")
    samples = [
        (path, value)
        for path, value in _addresses(newsroom)
        if is_sample_domain(parseaddr(value)[1].rpartition("@")[2])
    ]
    if samples:
        path, value = samples[0]
        others = f" ({count_noun(len(samples) - 1, 'other')} like it)" if len(samples) > 1 else ""
        message = f"{'.'.join(map(str, path))} is a sample address, {value}{others}: no mail reaches it"
        yield warn(path, message, "write your own before you send")
    senders = node.get("mail") if isinstance(node, Mapping) else None
    for number, sender in enumerate(newsroom.mail):
        port = getattr(sender, "port", None)
        if getattr(sender, "security", None) == "none" and port in _TLS_PORTS:
            at = ("mail", number, "security") if isinstance(senders, Sequence) else ("mail", "security")
            message = f"mail to {sender.target_host} goes out without TLS on port {port}: others can read the password"
            yield warn(at, message, f"write `security: {_TLS_PORTS[port]}`")
    if newsroom.gates.spam is not None and not has_spamassassin():
        message = "gates.spam needs SpamAssassin, and this machine has neither spamassassin nor spamc"
        yield warn(("gates", "spam"), message, "install it (apt install spamassassin), or take the line out")
    for language in newsroom.site.languages:
        missing, known = count_missing_words(language)
        if missing:
            number = newsroom.site.languages.index(language)
            lack = (
                "no words for readers" if missing == known else f"no words for {missing} of {known} texts for readers"
            )
            message = f"Tidings has {lack} in {language!r}: its pages and mails show them in English"
            yield warn(("site", "languages", number), message, "ask for this language, or leave it out")
    yield from _check_texts(newsroom, node)
    for file, line, column in [("keys.json", 0, 0), *_secret_files(node)]:
        path_ = newsroom.root / file
        if os.name == "posix" and path_.is_file() and path_.stat().st_mode & stat.S_IROTH:
            message = f"everyone on this machine can read the secret in {file}"
            where = (MAIN, line, column) if line else (file, 0, 0)
            yield Problem(*where, message, f"chmod 600 {file}", "warning")


def _check_texts(newsroom: Newsroom, node: Node) -> Iterator[Problem]:
    """Warn about texts for readers that are empty, or that lack one of the site's languages."""
    places = [
        (text, path, (MAIN, *placing.find_place(node, path)))
        for name in NewsroomConfig.model_fields
        for path, text in _localised_texts(getattr(newsroom, name, None), (name,))
    ]
    places += [
        (schedule.title, ("title",), _find_in_schedule(newsroom.root, name, ("title",)))
        for name, schedule in newsroom.schedules.items()
        if schedule.title is not None
    ]
    # A language for which Tidings has no words is named already.
    known = [language for language in newsroom.site.languages if not count_missing_words(language)[0]]
    lacking: dict[tuple[str, ...], list[tuple[str, tuple[str, int, int], str]]] = {}
    for text, path, place in places:
        missing = tuple(language for language in known if language not in text.by_language)
        if not text.default:
            yield Problem(*place, f"{'.'.join(path)} is empty", "write it, because readers see it", "warning")
        elif text.by_language and missing:
            shown = text.get(missing[0], newsroom.site.languages[0])
            lacking.setdefault((place[0], *missing), []).append((".".join(path), place, shown[:40]))
    for (_, *missing_), found in lacking.items():
        name, place, shown = found[0]
        others = f" ({count_noun(len(found) - 1, 'other')} like it)" if len(found) > 1 else ""
        message = f"{name} has no text in {', '.join(missing_)}{others}: these readers see {shown!r}"
        yield Problem(*place, message, f"add `{missing_[0]}: ...`", "warning")


def _localised_texts(value: object, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Localised]]:
    """Yield the texts for readers in a part of the settings, with their paths."""
    if isinstance(value, Localised):
        yield path, value
    elif isinstance(value, BaseModel):
        for name, field in type(value).model_fields.items():
            yield from _localised_texts(getattr(value, name, None), (*path, field.alias or name))
    elif isinstance(value, abc.Mapping):
        for name, inner in value.items():
            yield from _localised_texts(inner, (*path, str(name)))


SAMPLE_ADDRESS = "Write your postal address here"
"""What `tidings init` writes if nobody says the postal address."""
_TLS_PORTS = {587: "starttls", 465: "tls"}
CLOSE_TO_REAL_TIME = timedelta(hours=1)
"""A newsroom whose clock differs by more sends nothing to other machines."""


def _addresses(newsroom: Newsroom) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Yield the addresses to which people write, with their paths in tidings.yaml."""
    for name, settings in newsroom.lists.items():
        yield ("lists", name, "from"), settings.from_
        yield ("lists", name, "reply_to"), settings.reply_to or ""
        yield ("lists", name, "unsubscribe_mailto"), settings.unsubscribe_mailto or ""
    for number, sender in enumerate(newsroom.mail):
        path = ("mail", "return_path") if len(newsroom.mail) == 1 else ("mail", number, "return_path")
        yield path, sender.return_path or ""
    for address in newsroom.notify.to:
        yield ("notify", "to"), address


def _is_sample_postal(text: str) -> bool:
    """Whether a postal address is the one of a new newsroom, or of an example."""
    return text == SAMPLE_ADDRESS or re.search(r"\bexample (?:street|road|avenue)\b", text.lower()) is not None


def is_sample_domain(domain: str) -> bool:
    """Whether a domain is one for examples (RFC 2606, RFC 6761)."""
    return bool(re.search(r"(?:^|\.)example(?:\.(?:com|net|org))?$", domain.lower()))


def _secret_files(node: Node) -> Iterator[tuple[str, int, int]]:
    """Yield each `{file: PATH}` below a node, with line and column."""
    if isinstance(node, Sequence):
        for item in node.items:
            yield from _secret_files(item)
    elif isinstance(node, Mapping):
        file = node.get("file") if len(node.entries) == 1 else None
        if isinstance(file, Scalar):
            yield file.text, file.line, file.column
        for _, value in node.entries:
            yield from _secret_files(value)


def _check_moved(root: Path, schedule: Schedule, now: datetime) -> Iterator[Problem]:
    """Warn about moves of coming slots that do nothing."""
    cadence, zone = schedule.cadence, load_zone(schedule.cadence.zone)
    moved = [slot.key.astimezone(zone) for slot in moved_slots(cadence)]
    names = {f"{key:{form}}" for key in moved for form in ("%Y-%m-%d", "%Y-%m-%dT%H:%M")}
    for move in cadence.moved:
        clocks = list(cadence.local_times(move.day)) if move.to is None else []
        is_skip = bool(clocks) and move.clock in (None, *clocks)
        last = move.to or datetime.combine(move.day, move.clock or time.max)
        if to_utc(last, zone) < now or is_skip or move.slot in names:
            continue
        place = _find_in_schedule(root, schedule.name, ("cadence", "moved", move.slot))
        message = f"moved: no slot is on {move.slot}"
        if move.to is not None:
            message += f", or another one lies between it and {move.to:%Y-%m-%d %H:%M}"
        yield Problem(*place, message, "`tidings plan` shows the slots", "warning")


def _check_moments(newsroom: Newsroom, store: Store | None, now: datetime) -> Iterator[Problem]:
    """Warn about schedules whose time has passed before they ever fired, and about moves that do nothing."""
    for name, schedule in newsroom.schedules.items():
        try:
            is_over = not next_slots(schedule.cadence, now, 1)
            yield from _check_moved(newsroom.root, schedule, now)
        except ZoneInfoNotFoundError:
            continue  # reported with site.timezone
        if not is_over or isinstance(schedule.cadence.rule, (OnNew, OnRequest)):
            continue
        if store is not None:
            with store.read() as connection:
                state = schedules.find_schedule(connection, name)
            if state is not None and state.last_slot is not None:
                continue
        key = "at" if isinstance(schedule.cadence.rule, At) else "until"
        place = _find_in_schedule(newsroom.root, name, ("cadence", key))
        message = f"{key}: this time has passed, so the schedule sends nothing"
        yield Problem(*place, message, "write a later time, or delete the file", "warning")


def template_errors(newsroom: Newsroom) -> list[Problem]:
    """Return the errors of the templates and subjects that schedules name."""
    templates = MailTemplates(newsroom.root / "templates")
    problems: list[Problem] = []
    used: dict[str, tuple[str, int, int]] = {}
    for file, part in _list_deliveries(newsroom.root):
        template, subject = part.get("template"), part.get("subject")
        if isinstance(template, Scalar):
            used.setdefault(template.text, (file, template.line, template.column))
        else:
            used.setdefault("digest", (file, part.line, part.column))
        if isinstance(subject, Scalar) and subject.text:
            for message in find_subject_problems(templates, subject.text):
                mend = "correct the text between {{ and }}; you can use items, lead, list, site and edition there"
                problems.append(Problem(file, subject.line, subject.column, f"subject: {message}", mend))
    for name, place in used.items():
        if name not in templates.names():
            problems.append(Problem(*place, f"there is no template {name!r}", nearest(name, templates.names())))
        else:
            problems += find_template_problems(templates, name, languages=newsroom.site.languages)
    return problems


def _list_deliveries(root: Path) -> Iterator[tuple[str, Mapping]]:
    """Yield the `deliver:` entries for lists from the YAML, so that other errors in a schedule do not hide them."""
    folder = root / "schedules"
    for path in sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")]):
        file = path.relative_to(root).as_posix()
        try:
            node = _read_node(path, file)
        except OSError:
            continue
        parts = node.get("deliver") if isinstance(node, Mapping) else None
        for part in parts.items if isinstance(parts, Sequence) else ():
            if isinstance(part, Mapping) and part.get("list") is not None:
                yield file, part


def _check_frequencies(newsroom: Newsroom, store: Store) -> Iterator[Problem]:
    """Report subscribers whose frequency no schedule serves, and those of a list that is no longer in the YAML."""
    with store.read() as connection:
        for name, count in eligibility.count_on_other_lists(connection, newsroom.lists).items():
            readers = count_noun(count, "subscriber")
            text = f"the list {name!r} is no longer in tidings.yaml, and nothing is sent to its {readers}"
            mend = f"write `was: {name}` in the list that takes its place, or add the list again"
            yield Problem(MAIN, 0, 0, text, mend, "warning")
        for name in newsroom.lists:
            served = served_frequencies(newsroom, name)
            for frequency, count in subscribers.count_by_frequency(connection, name).items():
                if "all" not in served and frequency not in served:
                    readers = count_noun(count, "subscriber", "subscribers")
                    text = (
                        f"{readers} of the list {name!r} chose {frequency!r}, but no schedule sends at this frequency"
                    )
                    mend = f"add a schedule with `frequency: {frequency}`, or change their choice"
                    yield Problem(MAIN, 0, 0, text, mend)


def _check_cadences(newsroom: Newsroom, store: Store) -> Iterator[Problem]:
    """Warn about each cadence that has changed since the last cycle: it counts from now on."""
    now = datetime.now(UTC)
    with store.read() as connection:
        for name, schedule in newsroom.schedules.items():
            seen = schedules.find_cadence(connection, name)
            if seen is not None and seen.key != cadence_key(schedule.cadence):
                place = _find_in_schedule(newsroom.root, name, ("cadence",))
                text = describe_cadence_edit(schedule, now)
                yield Problem(*place, text, "nothing to do, if this is what you want", "warning")


def _find_in_schedule(root: Path, schedule: str, path: tuple[str, ...]) -> tuple[str, int, int]:
    """Return the file of a schedule, with line and column of the value at a path in it."""
    for candidate in (root / "schedules" / f"{schedule}.yaml", root / "schedules" / f"{schedule}.yml"):
        if candidate.is_file():
            file = candidate.relative_to(root).as_posix()
            node = _read_node(candidate, file)
            return (file, *placing.find_place(node, path)) if node is not None else (file, 1, 1)
    return MAIN, 0, 0


def check_clock_override(newsroom: Newsroom, now: datetime, real_now: datetime) -> None:
    """Allow `--now` more than an hour from real time only if nothing leaves this machine, else raise RefusedError."""
    if abs(now - real_now) > CLOSE_TO_REAL_TIME and (outlet := find_remote_outlet(newsroom)):
        raise RefusedError(
            f"--now is more than an hour from real time, and {outlet} would send to other machines. People would "
            "get mail at the wrong date. Set its host to 127.0.0.1, or leave out --now."
        )


def find_remote_outlet(newsroom: Newsroom) -> str:
    """Return the name of a sender or channel that would send to another machine, or ''.

    Not of one whose secrets are missing.
    """
    hosts = {
        "mail" if len(newsroom.mail) == 1 else f"mail {sender.name}": sender.target_host
        for sender in newsroom.usable_mail
    }
    for name, settings in newsroom.channels.items():
        if newsroom.find_unset("channels", name):
            continue  # nothing is sent there without its secrets
        url = getattr(settings, "url", None) or getattr(settings, "server", None)
        text = url.get_secret_value() if isinstance(url, SecretStr) else str(url or "")
        hosts[f"channel {name}"] = urlsplit(text).hostname or ""
    for name, webhook in newsroom.webhooks.items():
        if newsroom.find_unset("webhooks", name):
            continue
        hosts[f"webhook {name}"] = urlsplit(webhook.url.get_secret_value()).hostname or ""
    if newsroom.publish is not None:
        hosts["publish"] = urlsplit(newsroom.publish.endpoint or "").hostname or ""
    return next((outlet for outlet, host in hosts.items() if not _is_loopback(host)), "")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
