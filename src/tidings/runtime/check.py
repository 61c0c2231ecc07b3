"""`tidings check`: every problem at once, and nothing changed."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pydantic import SecretStr

from tidings.channels.base import CanEdit, CanTakeDown
from tidings.config import problems as placing
from tidings.config.cross_checks import served_frequencies
from tidings.config.file_reader import MAIN
from tidings.config.load import store_address
from tidings.config.settings import Newsroom
from tidings.config.yaml_text import Mapping, Scalar, Sequence, read_text, read_yaml
from tidings.model.errors import Problem, RefusedError, nearest
from tidings.model.item import Image
from tidings.render.template_check import find_subject_problems, find_template_problems
from tidings.render.templates import MailTemplates
from tidings.runtime.newsroom import load_newsroom, make_channels, make_sources, store_exists
from tidings.sources.article import advise_on_alt, warn_of_missing_alt
from tidings.sources.base import SourceItem
from tidings.sources.web.cached_source import CachedSourceSettings
from tidings.store.engine import Store
from tidings.store.people import subscribers


def check_newsroom(root: Path) -> list[Problem]:
    """All problems and warnings of a folder: YAML, then templates, items and readers as far as the YAML can be read."""
    loaded = load_newsroom(root)
    problems = list(loaded.problems)
    newsroom = loaded.newsroom
    if newsroom is None:
        newsroom = load_newsroom(root, lenient=True).newsroom
    if newsroom is None:
        return problems
    problems += template_errors(newsroom)
    problems += _remarks(newsroom)
    store = Store(store_address(newsroom), newsroom.root) if store_exists(newsroom) else None
    try:
        problems += _items(newsroom, store)
        problems += _readers(newsroom, store) if store is not None else ()
    finally:
        if store is not None:
            store.close()
    return list(dict.fromkeys(problems))


def _items(newsroom: Newsroom, store: Store | None) -> Iterator[Problem]:
    """Of all that the folders hold, and of what websites have told so far."""
    for source in make_sources(newsroom, store).values():
        swept = source.sweep(datetime.now(UTC))
        # Only where a source is a folder is a ref the name of a file; elsewhere somebody else chose it.
        of_files = bool(source.watch_paths())
        wordless = [(one, image) for one in swept.items for image in _wordless(newsroom, one, of_files)]
        again = {warn_of_missing_alt(one, _origin(one, image)) for one, image in wordless}
        yield from (problem for problem in swept.problems if problem not in again)
        for found in swept.items:
            yield from _item(newsroom, found, newsroom.root / found.ref if of_files else None)


def _remarks(newsroom: Newsroom) -> Iterator[Problem]:
    """What is to be known of some types of channels, and what sources name that stands nowhere."""
    text, _ = read_text((newsroom.root / MAIN).read_bytes(), MAIN)
    node, _ = read_yaml(text or "", MAIN)
    for name, source in newsroom.sources.items():
        if node is None or not isinstance(source, CachedSourceSettings):
            continue
        for word, topic in source.topics.items():
            if topic not in newsroom.topics:
                where = placing.find_place(node, ("sources", name, "topics", word))
                mend = nearest(topic, newsroom.topics) if newsroom.topics else "declare it under `topics:`"
                yield Problem(MAIN, *where, f"topic {topic!r} is not declared", mend, "warning")
        if source.language and source.language not in newsroom.site.languages:
            where = placing.find_place(node, ("sources", name, "language"))
            said = f"source {name!r}: {source.language!r} is none of the site's languages, so an item may be set aside"
            yield Problem(MAIN, *where, said, f"site.languages has {', '.join(newsroom.site.languages)}", "warning")
    for name, settings in newsroom.channels.items():
        warning = getattr(settings, "WARNING", None)
        if warning is not None and node is not None:
            where = placing.find_place(node, ("channels", name, "type"))
            yield Problem(MAIN, *where, f"channel {name!r}: {warning[0]}", warning[1], "warning")
    for name, channel in make_channels(newsroom).items():
        settings = newsroom.channels[name]
        for key, value, can in (
            ("translations", "thread", channel.capabilities.replies),
            ("on_correction", "edit", isinstance(channel, CanEdit)),
            ("on_correction", "reply", channel.capabilities.replies),
            ("on_withdrawal", "take_down", isinstance(channel, CanTakeDown)),
        ):
            if getattr(settings, key) == value and not can and node is not None:
                where = placing.find_place(node, ("channels", name, key))
                said = f"channel {name!r}: {settings.type} cannot do `{key}: {value}`"
                other = "first" if key == "translations" else "leave"
                yield Problem(MAIN, *where, said, f"take it out, or write {key}: {other}")


def template_errors(newsroom: Newsroom) -> list[Problem]:
    """What is wrong with the templates and subjects that the schedules name."""
    templates = MailTemplates(newsroom.root / "templates")
    found: list[Problem] = []
    used: dict[str, tuple[str, int, int]] = {}
    for file, part in _deliveries(newsroom.root):
        template, subject = part.get("template"), part.get("subject")
        if isinstance(template, Scalar):
            used.setdefault(template.text, (file, template.line, template.column))
        else:
            used.setdefault("digest", (file, part.line, part.column))
        if isinstance(subject, Scalar) and subject.text:
            for message in find_subject_problems(templates, subject.text):
                mend = "mend the text between {{ and }}; items, lead, list, site and edition are known there"
                found.append(Problem(file, subject.line, subject.column, f"subject: {message}", mend))
    for name, place in used.items():
        if name not in templates.names():
            found.append(Problem(*place, f"there is no template {name!r}", nearest(name, templates.names())))
        else:
            found += find_template_problems(templates, name, languages=newsroom.site.languages)
    return found


def _deliveries(root: Path) -> Iterator[tuple[str, Mapping]]:
    """What schedules deliver to lists, as it is written: a mistake elsewhere in a schedule does not hide these."""
    folder = root / "schedules"
    for path in sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")]):
        file = path.relative_to(root).as_posix()
        try:
            text, _ = read_text(path.read_bytes(), file)
        except OSError:
            continue
        node = read_yaml(text, file)[0] if text is not None else None
        parts = node.get("deliver") if isinstance(node, Mapping) else None
        for part in parts.items if isinstance(parts, Sequence) else ():
            if isinstance(part, Mapping) and part.get("list") is not None:
                yield file, part


def _item(newsroom: Newsroom, found: SourceItem, file: Path | None) -> list[Problem]:
    problems = []
    for topic in found.topics if file is not None else ():  # a website's own words are taken as they are
        if topic not in newsroom.topics:
            mend = nearest(topic, newsroom.topics) if newsroom.topics else "declare it under `topics:` in tidings.yaml"
            line = _line_of(file, "topics", topic)
            problems.append(Problem(found.ref, line, 0, f"topic {topic!r} is not declared", mend, "warning"))
    known = {*newsroom.lists, *newsroom.channels}
    for name in found.not_in:
        if name not in known:
            said = f"not_in: there is no list or channel {name!r}"
            mend = nearest(name, known) if known else "take it out"
            line = _line_of(file, "not_in", name)
            problems.append(Problem(found.ref, line, 0, said, mend, "warning"))
    problems += [_without_alt(found, image, file) for image in _wordless(newsroom, found, file is not None)]
    for name in found.post:
        if name and name not in newsroom.channels:
            said = f"post: there is no channel {name!r}"
            mend = nearest(name, newsroom.channels) if newsroom.channels else "take it out"
            line = _line_of(file, "post", name)
            problems.append(Problem(found.ref, line, 0, said, mend, "warning"))
    return problems


def _wordless(newsroom: Newsroom, found: SourceItem, of_files: bool) -> list[Image]:
    """Pictures that hold a mail back; of a file they are a warning already where nothing is posted."""
    asked = newsroom.channels or (newsroom.lists and not of_files)
    return [image for image in found.images if not image.alt] if asked else []


def _origin(found: SourceItem, image: Image) -> str:
    return found.original_urls.get(image.src, image.src)


def _without_alt(found: SourceItem, image: Image, file: Path | None) -> Problem:
    src = _origin(found, image)
    name = unquote(src.rsplit("/", 1)[-1])
    mend = 'add alt: "..." that says in words what it shows' if file is not None else advise_on_alt(found, src)
    said = f"the picture {name[:80]} has no alt text: mail with it is held, and posts go without it"
    # What schedules took as sent is in no mail.
    level = "warning" if found.backlog else "error"
    return Problem(found.ref, _line_of(file, "images", name), 0, said, mend, level)


def _line_of(path: Path | None, key: str, word: str) -> int:
    """The line where `word` stands under a key of the front matter; 0 where it cannot be found."""
    if path is None:
        return 0
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError):
        return 0
    begin = next((number for number, line in enumerate(lines) if line.startswith(f"{key}:")), None)
    if begin is None:
        return 0
    return next((number for number, line in enumerate(lines[begin:], begin + 1) if word in line), begin + 1)


def _readers(newsroom: Newsroom, store: Store) -> list[Problem]:
    problems = []
    with store.read() as connection:
        for name in newsroom.lists:
            served = served_frequencies(newsroom, name)
            for frequency, count in subscribers.count_by_frequency(connection, name).items():
                if "all" not in served and frequency not in served:
                    said = f"{count} reader(s) of list {name!r} chose {frequency!r}, which no schedule serves"
                    mend = f"add a schedule with `frequency: {frequency}`, or change their choice"
                    problems.append(Problem("tidings.yaml", 0, 0, said, mend))
    return problems


def check_clock_override(newsroom: Newsroom, now: datetime, real_now: datetime) -> None:
    """Allow `--now` more than an hour from real time only if nothing leaves this machine, else raise RefusedError."""
    if abs(now - real_now) <= timedelta(hours=1):
        return
    hosts = {
        "mail" if len(newsroom.mail) == 1 else f"mail {sender.name}": sender.target_host for sender in newsroom.mail
    }
    for name, settings in newsroom.channels.items():
        url = getattr(settings, "url", None) or getattr(settings, "server", None)
        text = url.get_secret_value() if isinstance(url, SecretStr) else str(url or "")
        hosts[f"channel {name}"] = urlsplit(text).hostname or ""
    for outlet, host in hosts.items():
        if not _is_loopback(host):
            raise RefusedError(
                f"--now is more than an hour from real time, and {outlet} would send to other machines: people would "
                "get mail of another day. Set its host to 127.0.0.1, or leave out --now."
            )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
