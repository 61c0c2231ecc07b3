"""`tidings check`: every problem at once, and nothing changed."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from tidings.config.checks import served_frequencies
from tidings.config.schedule import ListDelivery
from tidings.config.settings import Newsroom
from tidings.model.problem import Problem, nearest
from tidings.render.template_check import subject_problems, template_problems
from tidings.render.templates import MailTemplates
from tidings.runtime.newsroom import load_newsroom, make_sources, store_exists
from tidings.runtime.scratch import store_of
from tidings.sources.base import Found
from tidings.store import subscribers


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
    for source in make_sources(newsroom).values():
        swept = source.sweep(datetime.now(UTC))
        problems += swept.problems
        for found in swept.found:
            problems += _item(newsroom, found)
    problems += _readers(newsroom)
    return list(dict.fromkeys(problems))


def template_errors(newsroom: Newsroom) -> list[Problem]:
    """What is wrong with the templates and subjects that the schedules name."""
    templates = MailTemplates(newsroom.root / "templates")
    found: list[Problem] = []
    used: dict[str, str] = {}
    for schedule in newsroom.schedules.values():
        file = f"schedules/{schedule.name}.yaml"
        for part in schedule.deliver:
            if isinstance(part, ListDelivery):
                used.setdefault(part.template, file)
                if part.subject:
                    for message in subject_problems(templates, part.subject):
                        found.append(Problem(file, 0, 0, f"subject: {message}", "mend the text between {{ and }}"))
    for name, file in used.items():
        if name not in templates.names():
            found.append(Problem(file, 0, 0, f"there is no template {name!r}", nearest(name, templates.names())))
        else:
            found += template_problems(templates, name, languages=newsroom.site.languages)
    return found


def _item(newsroom: Newsroom, found: Found) -> list[Problem]:
    problems = []
    for topic in found.topics:
        if topic not in newsroom.topics:
            mend = nearest(topic, newsroom.topics) if newsroom.topics else "declare it under `topics:` in tidings.yaml"
            problems.append(Problem(found.ref, 0, 0, f"topic {topic!r} is not declared", mend, "warning"))
    known = {*newsroom.lists, *newsroom.channels}
    for name in found.not_in:
        if name not in known:
            said = f"not_in: there is no list or channel {name!r}"
            problems.append(Problem(found.ref, 0, 0, said, nearest(name, known) if known else "", "warning"))
    for image in found.images:
        if not image.alt.strip():
            said = f"the picture {image.src.rsplit('/', 1)[-1]} has no alt text; a digest with it would be held"
            problems.append(Problem(found.ref, 0, 0, said, 'say what it shows: {src: ..., alt: "..."}', "warning"))
    return problems


def _readers(newsroom: Newsroom) -> list[Problem]:
    if not store_exists(newsroom):
        return []
    problems = []
    store = store_of(newsroom)
    try:
        with store.read() as connection:
            for name in newsroom.lists:
                served = served_frequencies(newsroom, name)
                for frequency, count in subscribers.frequencies(connection, name).items():
                    if "all" not in served and frequency not in served:
                        said = f"{count} reader(s) of list {name!r} chose {frequency!r}, which no schedule serves"
                        mend = f"add a schedule with `frequency: {frequency}`, or change their choice"
                        problems.append(Problem("tidings.yaml", 0, 0, said, mend))
    finally:
        store.close()
    return problems
