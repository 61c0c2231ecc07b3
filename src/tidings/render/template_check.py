"""Find the mistakes of a mail template before it is used, each with its file and line."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from jinja2 import TemplateNotFound, TemplateSyntaxError, UndefinedError, meta, nodes
from jinja2.exceptions import TemplateRuntimeError

from tidings.model.errors import InputError, Problem
from tidings.model.item import Attachment, Contact, Image, Item
from tidings.render.mail.digest import render_mail_document, render_trial_subject
from tidings.render.mail.views import MailEdition, MailList, MailSite
from tidings.render.templates import (
    BODY_NAMES,
    FILES,
    MACROS,
    NAME,
    SUBJECT_NAMES,
    MailTemplates,
    Sources,
    TemplateError,
    run_limited,
)

_TRIAL_AT = datetime(2026, 1, 2, 9, 30, tzinfo=UTC)


def find_template_problems(templates: MailTemplates, name: str, *, languages: Sequence[str] = ("en",)) -> list[Problem]:
    """Find missing files, syntax errors, unknown names and filters, and missing macros. If there are none, render a
    trial.

    The trial finds unknown attributes, CSS that would be lost or break, and parts with unclosed elements.
    """
    if not NAME.fullmatch(name) or name not in templates.names():
        return [_problem(name, 0, f"there is no template {name!r}; choose from {', '.join(templates.names())}")]
    if templates.are_own(name):
        try:
            found = run_limited(_check_own, name, templates.sources(name), name, tuple(languages))
        except TemplateError as error:
            return [_problem_of(error, name)]
        return [_problem(file.removeprefix("templates/"), line, message) for file, line, message in found]
    return _check_files(templates, name, languages)


def _check_own(sources: Sources, name: str, languages: Sequence[str]) -> list[tuple[str, int, str]]:
    """Check templates of the newsroom. Runs in a child process with limits."""
    problems = _check_files(MailTemplates(sources=sources), name, languages)
    return [(problem.file, problem.line, problem.message) for problem in problems]


def _check_files(templates: MailTemplates, name: str, languages: Sequence[str]) -> list[Problem]:
    problems: list[Problem] = []
    for file in FILES:
        path = f"{name}/{file}"
        if templates.loader.path(path) is None:
            problems.append(_problem(path, 0, f"is missing; a template is a folder with {', '.join(FILES)}"))
        else:
            problems += _find_file_problems(templates, path, SUBJECT_NAMES if file == FILES[0] else BODY_NAMES, set())
    return problems or _try_rendering(templates, name, languages)


def find_subject_problems(templates: MailTemplates, source: str) -> list[str]:
    """Return the mistakes in a schedule's `subject`, as messages."""
    if "{" not in source:
        return []
    try:
        return list(run_limited(_check_subject, "_base", templates.sources("digest"), source))
    except TemplateError:
        return ["it takes too much time or memory"]


def _check_subject(sources: Sources, source: str) -> list[str]:
    """Check a subject, and render it once. Runs in a child process with limits."""
    templates = MailTemplates(sources=sources)
    try:
        tree = templates.environment.parse(source)
    except TemplateSyntaxError as error:
        return [str(error.message)]
    if filters := _unknown_filters(templates, tree):
        return [f"there is no filter {name!r}" for name, _ in filters]
    if names := _unknown_names(templates, tree, SUBJECT_NAMES):
        return [_unknown_name(name, SUBJECT_NAMES) for name in names]
    try:
        render_trial_subject(templates, source, **_trial_input("en"))
    except UndefinedError:
        return []  # it may use a third story, which the trial does not include
    except RecursionError:
        return ["a macro calls itself without end"]
    except (TemplateRuntimeError, MemoryError, OverflowError, AssertionError) as error:
        return [str(error) or "it needs too much memory"]
    except (TypeError, ValueError, ArithmeticError, LookupError, AttributeError):
        return []
    return []


def _find_file_problems(
    templates: MailTemplates, path: str, names: frozenset[str], checked: set[str]
) -> Iterator[Problem]:
    """Return the problems of a file and of the files that it imports."""
    if path in checked:
        return
    checked.add(path)
    try:
        source, _, _ = templates.loader.get_source(templates.environment, path)
        tree = templates.environment.parse(source, path)
    except TemplateSyntaxError as error:
        yield _problem(path, error.lineno, str(error.message))
        return
    except TemplateNotFound as error:
        yield _problem(path, 0, "is missing" if error.message in (None, path) else str(error.message))
        return
    # Jinja's search for names compiles the template, so it stops at an unknown filter.
    filters = _unknown_filters(templates, tree)
    for filter_name, line in filters:
        yield _problem(path, line, f"there is no filter {filter_name!r}")
    for name in () if filters else _unknown_names(templates, tree, names):
        yield _problem(path, _find_line(source, name), _unknown_name(name, names))
    if "/body." in path:
        macros = {node.name for node in tree.body if isinstance(node, nodes.Macro)}
        for macro in MACROS:
            if macro not in macros:
                yield _problem(path, 0, f"has no macro {macro!r}; a body needs the macros {', '.join(MACROS)}")
    for imported in meta.find_referenced_templates(tree):
        if imported is not None:
            yield from _find_file_problems(templates, imported, names, checked)


def _problem(file: str, line: int, message: str) -> Problem:
    return Problem(f"templates/{file}", line, 0, message)


def _unknown_names(templates: MailTemplates, tree: nodes.Template, names: frozenset[str]) -> list[str]:
    # Jinja treats a name that is set inside `if` as a name that may come from outside.
    own = {node.name for node in tree.find_all(nodes.Name) if node.ctx == "store"}
    return sorted(meta.find_undeclared_variables(tree) - names - own - set(templates.environment.globals))


def _unknown_name(name: str, names: frozenset[str]) -> str:
    return f"{name!r} is not known here; the names are {', '.join(sorted(names))}"


def _unknown_filters(templates: MailTemplates, tree: nodes.Template) -> list[tuple[str, int]]:
    known = templates.environment.filters
    return [(str(node.name), node.lineno) for node in tree.find_all(nodes.Filter) if node.name not in known]


def _find_line(source: str, name: str) -> int:
    for match in re.finditer(r"\{[{%](?:(?!\{[{%]).)*?[}%]\}", source, re.DOTALL):
        inside = re.search(rf"(?<![.\w]){re.escape(name)}\b", match[0])
        if inside:
            return source.count("\n", 0, match.start() + inside.start()) + 1
    return 0


def _try_rendering(templates: MailTemplates, name: str, languages: Sequence[str]) -> list[Problem]:
    for language in languages:
        trial = _trial_input(language)
        try:
            render_mail_document(templates=templates, template=name, subject="", language=language, **trial)
        except InputError as error:
            problem = _problem_of(error, name)
            if problem.line or str(error).startswith("templates/"):
                return [problem]
            return [_problem(f"{name}/body.html.j2", 0, part) for part in str(error).split("; ")]
    return []


def _problem_of(error: InputError, name: str) -> Problem:
    """Return the problem of a rendering error at its place, else for the whole template."""
    place = re.match(r"templates/([^:]+?\.j2)(?::(\d+))?:? (.*)", str(error), re.DOTALL)
    if place:
        return _problem(place[1], int(place[2] or 0), place[3])
    return _problem(f"{name}/body.html.j2", 0, str(error).removeprefix(f"templates/{name}: "))


def _trial_item(name: str, language: str, **fields: Any) -> Item:
    values: dict[str, Any] = {
        "id": f"trial-{name}",
        "story": f"trial-{name}",
        "slug": f"trial-{name}",
        "language": language,
        "kind": "story",
        "title": "A title",
        "summary": "",
        "body": "",
        "url": f"https://example.org/{name}/",
        "source": "trial",
        "ref": name,
        "published": _TRIAL_AT,
        "first_seen": _TRIAL_AT,
        "changed": _TRIAL_AT,
    }
    return Item(**values | fields)


def _trial_input(language: str) -> dict[str, Any]:
    """Return an item with every field, and one with as few as possible."""
    full = _trial_item(
        "full",
        language,
        kind="event",
        summary="A summary.",
        body='<h2>Heading</h2><p>Text with <a href="https://example.org/a">a link</a>.</p>',
        updated=_TRIAL_AT,
        starts=_TRIAL_AT,
        ends=_TRIAL_AT,
        place="A place",
        topics=("topic",),
        organisations=("Organisation",),
        authors=("Author",),
        images=(Image("https://example.org/a.jpg", "A picture", "Caption", "Credit", 1200, 800),),
        attachments=(Attachment("https://example.org/a.pdf", "A file", "application/pdf", 12345),),
        contacts=(Contact("A Name", "Press officer", "press@example.org", "+7 727 000 00 00"),),
        correction="A correction.",
    )
    bare = _trial_item("bare", "en")
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
