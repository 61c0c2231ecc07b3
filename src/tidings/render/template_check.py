"""What is wrong with a mail template, found before it is used: every mistake with its file and line."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from jinja2 import TemplateNotFound, TemplateSyntaxError, meta, nodes

from tidings.model.errors import InputError, Problem
from tidings.model.item import Attachment, Image, Item
from tidings.render.mail.digest import render_mail_document
from tidings.render.mail.views import MailEdition, MailList, MailSite
from tidings.render.templates import (
    BODY_NAMES,
    BUILT_IN,
    FILES,
    MACROS,
    NAME,
    SUBJECT_NAMES,
    MailTemplates,
)

_TRIAL_AT = datetime(2026, 1, 2, 9, 30, tzinfo=UTC)


def find_template_problems(templates: MailTemplates, name: str, *, languages: Sequence[str] = ("en",)) -> list[Problem]:
    """Missing files, syntax errors, unknown names and filters, missing macros; if there are none, a trial rendering.

    The trial finds unknown attributes, CSS that would be lost or would not hold, and parts that are not whole.
    """
    if not NAME.fullmatch(name) or name not in templates.names():
        return [_problem(name, 0, f"there is no template {name!r}; there are {', '.join(templates.names())}")]
    found: list[Problem] = []
    for file in FILES:
        full = f"{name}/{file}"
        if templates.loader.path(full) is None:
            found.append(_problem(full, 0, f"is missing; a template is a folder with {', '.join(FILES)}"))
        else:
            found += _problems_of(templates, full, SUBJECT_NAMES if file == FILES[0] else BODY_NAMES, set())
    return found or _trial(templates, name, languages)


def find_subject_problems(templates: MailTemplates, source: str) -> list[str]:
    """What is wrong with a schedule's `subject`, in words."""
    try:
        tree = templates.environment.parse(source)
    except TemplateSyntaxError as error:
        return [str(error.message)]
    if filters := _unknown_filters(templates, tree):
        return [f"there is no filter {name!r}" for name, _ in filters]
    return [_unknown(name, SUBJECT_NAMES) for name in _undeclared(tree, SUBJECT_NAMES)]


def _problems_of(templates: MailTemplates, full: str, names: frozenset[str], seen: set[str]) -> Iterator[Problem]:
    if full in seen:
        return
    seen.add(full)
    try:
        source, _, _ = templates.loader.get_source(templates.environment, full)
        tree = templates.environment.parse(source, full)
    except TemplateSyntaxError as error:
        yield _problem(full, error.lineno, str(error.message))
        return
    except TemplateNotFound as error:
        yield _problem(full, 0, "is missing" if error.message in (None, full) else str(error.message))
        return
    # Jinja's search for names compiles, and so stops at an unknown filter.
    filters = _unknown_filters(templates, tree)
    for filter_name, line in filters:
        yield _problem(full, line, f"there is no filter {filter_name!r}")
    for name in () if filters else _undeclared(tree, names):
        yield _problem(full, _line_of(source, name), _unknown(name, names))
    if "/body." in full:
        have = {node.name for node in tree.body if isinstance(node, nodes.Macro)}
        for macro in MACROS:
            if macro not in have:
                yield _problem(full, 0, f"has no macro {macro!r}; a body is made of {', '.join(MACROS)}")
    for other in meta.find_referenced_templates(tree):
        if other is not None:
            yield from _problems_of(templates, other, names, seen)


def _problem(file: str, line: int, message: str) -> Problem:
    return Problem(f"templates/{file}", line, 0, message)


def _undeclared(tree: nodes.Template, names: frozenset[str]) -> list[str]:
    # Jinja counts a name that is set inside `if` as one that may come from outside.
    own = {node.name for node in tree.find_all(nodes.Name) if node.ctx == "store"}
    return sorted(meta.find_undeclared_variables(tree) - names - BUILT_IN - own)


def _unknown(name: str, names: frozenset[str]) -> str:
    return f"{name!r} is not known here; there are {', '.join(sorted(names))}"


def _unknown_filters(templates: MailTemplates, tree: nodes.Template) -> list[tuple[str, int]]:
    known = templates.environment.filters
    return [(str(node.name), node.lineno) for node in tree.find_all(nodes.Filter) if node.name not in known]


def _line_of(source: str, name: str) -> int:
    for match in re.finditer(r"\{[{%].*?[}%]\}", source, re.DOTALL):
        inside = re.search(rf"(?<![.\w]){re.escape(name)}\b", match[0])
        if inside:
            return source.count("\n", 0, match.start() + inside.start()) + 1
    return 0


def _trial(templates: MailTemplates, name: str, languages: Sequence[str]) -> list[Problem]:
    for language in languages:
        try:
            render_mail_document(
                templates=templates, template=name, subject="", language=language, **_trial_input(language)
            )
        except InputError as error:
            place = re.match(r"templates/([^:]+?\.j2)(?::(\d+))?:? (.*)", str(error), re.DOTALL)
            if place:
                return [_problem(place[1], int(place[2] or 0), place[3])]
            return [_problem(f"{name}/body.html.j2", 0, part) for part in str(error).split("; ")]
    return []


def _trial_input(language: str) -> dict[str, Any]:
    """An item with everything, and one with as little as can be."""
    full = Item(
        id="trial-full",
        story="trial-full",
        slug="trial-full",
        language=language,
        kind="event",
        title="A title",
        summary="A summary.",
        body='<h2>Heading</h2><p>Text with <a href="https://example.org/a">a link</a>.</p>',
        url="https://example.org/full/",
        source="trial",
        ref="full",
        published=_TRIAL_AT,
        first_seen=_TRIAL_AT,
        changed=_TRIAL_AT,
        updated=_TRIAL_AT,
        starts=_TRIAL_AT,
        ends=_TRIAL_AT,
        place="A place",
        topics=("topic",),
        organisations=("Organisation",),
        authors=("Author",),
        images=(Image("https://example.org/a.jpg", "A picture", "Caption", "Credit", 1200, 800),),
        attachments=(Attachment("https://example.org/a.pdf", "A file", "application/pdf", 12345),),
        correction="A correction.",
    )
    bare = Item(
        id="trial-bare",
        story="trial-bare",
        slug="trial-bare",
        language="en",
        kind="story",
        title="Another title",
        summary="",
        body="",
        url="https://example.org/bare/",
        source="trial",
        ref="bare",
        published=_TRIAL_AT,
        first_seen=_TRIAL_AT,
        changed=_TRIAL_AT,
    )
    return {
        "site": MailSite(
            "Publisher", "https://example.org/", "Street", "#0077b6", "https://example.org/l.png", 120, 40
        ),
        "list": MailList("digest", "Digest"),
        "edition": MailEdition("weekly/1", "Weekly", 1, _TRIAL_AT),
        "items": (full, bare),
        "notes": (bare,),
        "corrections": (full,),
    }
