"""Digests: render an edition's items into fragments once, then lay out the fragments for each set of readers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import Any, Final, TypeVar

from jinja2 import Template
from markupsafe import Markup, escape

from tidings.model.edition import Selection
from tidings.model.item import Item
from tidings.model.text import shorten
from tidings.render.i18n import format_date, kind_label, load_catalogue, text_direction
from tidings.render.mail.fragments import MailDocument, MailFragment, inline_fragments
from tidings.render.mail.personal import PersonalPlaceholders
from tidings.render.mail.views import (
    EditionView,
    MailEdition,
    MailItem,
    MailList,
    MailSite,
    SectionView,
    build_mail_item,
)
from tidings.render.palette import make_palette
from tidings.render.templates import MailTemplates, Sources, TemplateError, run_limited, run_template

BUDGET: Final = 100_000
"""Most bytes of the encoded HTML part without personal parts. Gmail clips at 102 KB, in an unknown encoding."""
PREHEADER_LENGTH: Final = 150
_SUBJECTS_AT_ONCE: Final = 500
"""Number of subjects that one call of the child process can render within its time limit."""
K = TypeVar("K")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


@dataclass(frozen=True, slots=True)
class MailLayout:
    """The mail of one set of readers: fragment keys in order, the subject, and the preview line of the inbox.

    `shortened` and `titled` are ids of items that were shortened, or reduced to titles, because of the size limit.
    """

    language: str
    subject: str
    preheader: str
    keys: tuple[str, ...]
    shortened: tuple[str, ...] = ()
    titled: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return plain data for the store; `from_json` reads it back."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> MailLayout:
        values: dict[str, Any] = {k: tuple(value) if isinstance(value, list) else value for k, value in data.items()}
        return cls(**values)


def render_mail_document(
    *,
    templates: MailTemplates,
    template: str,
    subject: str,
    site: MailSite,
    list: MailList,
    edition: MailEdition,
    language: str,
    items: Sequence[Item],
    notes: Sequence[Item] = (),
    corrections: Sequence[Item] = (),
    topic_labels: Mapping[str, str] | None = None,
) -> MailDocument:
    """Render all parts that readers of `language` may get, and inline their CSS in one run.

    `subject` is the schedule's template for the subject; '' uses that of the mail template. `topic_labels` are in
    `language`. Raises TemplateError, InlineError or FragmentError, all InputError.
    """
    if templates.are_own(template, subject):
        values = {"template": template, "subject": subject, "site": site, "list": list, "edition": edition}
        values |= {"language": language, "items": items, "notes": notes, "corrections": corrections}
        values["topic_labels"] = topic_labels
        return MailDocument.from_json(run_limited(_render_own, template, templates.sources(template), values))
    date = format_date(edition.date, language, site.zone)
    edition_view = EditionView(edition.name, edition.title, edition.number, date, edition.url)
    context = _make_context(site, list, edition_view, language)
    views = {
        item.id: build_mail_item(item, language=language, zone=site.zone, topic_labels=topic_labels or {})
        for item in (*items, *notes, *corrections)
    }
    calls: dict[str, tuple[str, tuple[Any, ...]]] = {"head": ("head", ())}
    for kind in dict.fromkeys(item.kind for item in items):
        calls[f"section:{kind}"] = ("section", (SectionView(kind, kind_label(kind, language, 2)),))
    words = load_catalogue(language)
    calls["section:titles"] = ("section", (SectionView("titles", words.gettext("More stories")),))
    if corrections:
        calls["section:corrections"] = ("section", (SectionView("corrections", words.gettext("Corrections")),))
    for item in items:
        view = views[item.id]
        calls[f"lead:{item.id}"] = ("lead", (view,))
        calls[f"item:{item.id}"] = ("item", (view, "full"))
        calls[f"short:{item.id}"] = ("item", (view, "short"))
        calls[f"title:{item.id}"] = ("item", (view, "title"))
    calls.update({f"note:{item.id}": ("note", (views[item.id],)) for item in notes})
    calls.update({f"correction:{item.id}": ("correction", (views[item.id],)) for item in corrections})
    calls["foot"] = ("foot", ())
    html = _run_macros(templates, template, "html", calls, context)
    text = _run_macros(templates, template, "txt", calls, context)
    body = [(key, part) for key, part in html.items() if key not in ("head", "foot")]
    inlined = inline_fragments(html["head"], body, html["foot"])
    templates.subject(template, subject)  # Raises TemplateError if the subject is invalid.
    return MailDocument(
        template=template,
        subject=subject,
        language=language,
        fragments={key: MailFragment(inlined[key], _tidy(text[key])) for key in calls},
        briefs={view.id: view.brief() for view in views.values()},
        context={
            "site": {**asdict(site), "languages": [*site.languages]},
            "list": asdict(list),
            "edition": asdict(edition_view),
        },
    )


@lru_cache(maxsize=4)
def _load_sources(sources: tuple[tuple[str, tuple[str, str, str]], ...]) -> MailTemplates:
    return MailTemplates(sources=dict(sources))


def _render_own(sources: Sources, values: dict[str, Any]) -> dict[str, Any]:
    """Render the document with templates of the newsroom. Runs in a child process with limits."""
    templates = _load_sources(tuple(sources.items()))
    return render_mail_document(templates=templates, **values).to_json()


def _make_context(site: MailSite, list: MailList, edition: EditionView, language: str) -> dict[str, Any]:
    """Return the variables of every macro, except `personal`, which differs between HTML and text."""
    direction = text_direction(language)
    words = load_catalogue(language)

    def gettext(message: str, **values: Any) -> str:
        text = words.gettext(message)
        if any(isinstance(value, Markup) for value in values.values()):
            return escape(text) % values
        return text % values if values else text

    def ngettext(singular: str, plural: str, count: int, **values: Any) -> str:
        return words.ngettext(singular, plural, count) % {"count": count, **values}

    return {
        "site": site,
        "list": list,
        "edition": edition,
        "language": language,
        "dir": direction,
        "start": "right" if direction == "rtl" else "left",
        "end": "left" if direction == "rtl" else "right",
        "colours": make_palette(site.colour),
        "_": gettext,
        "gettext": gettext,
        "ngettext": ngettext,
    }


def _run_macros(
    templates: MailTemplates,
    template: str,
    form: str,
    calls: Mapping[str, tuple[str, tuple[Any, ...]]],
    context: Mapping[str, Any],
) -> dict[str, str]:
    """Render each part in one form, `html` or `txt`. `calls` are macros with their arguments, by fragment key."""
    file = f"{template}/body.{form}.j2"
    body = templates.body(template, form)
    personal = PersonalPlaceholders(Markup if form == "html" else str)
    module = run_template(body.make_module, {**context, "personal": personal}, file=file)
    parts = {}
    for key, (name, args) in calls.items():
        macro = getattr(module, name, None)
        if macro is None:
            raise TemplateError(f"templates/{file}: has no macro {name!r}")
        parts[key] = str(run_template(macro, *args, file=file))
    return parts


def _tidy(text: str) -> str:
    """End a text fragment with one empty line, and allow no more than one anywhere."""
    lines = "\n".join(line.rstrip() for line in text.strip("\n").splitlines())
    return re.sub(r"\n{3,}", "\n\n", lines) + "\n\n" if lines.strip() else ""


def build_layout(
    document: MailDocument, selection: Selection, *, templates: MailTemplates, budget: int = BUDGET
) -> MailLayout:
    """Lay out the mail of one set of readers. See `build_layouts`."""
    return build_layouts(document, {"": selection}, templates=templates, budget=budget)[""]


def build_layouts(
    document: MailDocument, selections: Mapping[K, Selection], *, templates: MailTemplates, budget: int = BUDGET
) -> dict[K, MailLayout]:
    """Lay out the mails of sets of readers: notes, the lead, the items by kind, titles, corrections.

    If a mail exceeds `budget` bytes, items are shortened from the last upwards, then reduced to titles, and finally the
    lead is shortened. Only the subject and the preheader are rendered here.
    """
    subjects = _render_subjects(document, selections.values(), templates)
    return {
        key: _lay_out(document, selection, subject, budget)
        for (key, selection), subject in zip(selections.items(), subjects, strict=True)
    }


def _lay_out(document: MailDocument, selection: Selection, subject: tuple[str, str], budget: int) -> MailLayout:
    forms = {item.id: "item" for item in selection.items}
    lead = f"lead:{selection.lead.id}" if selection.lead else ""
    keys = _keys(selection, lead, forms)
    sizes = document.sizes
    shortened: list[str] = []
    titled: list[str] = []
    size = sum(sizes[key] for key in keys)
    for form, ids in (("short", shortened), ("title", titled)):
        for item in reversed(selection.items):
            if encoded_size(size, len(keys)) <= budget:
                break
            size += sizes[f"{form}:{item.id}"] - sizes[f"{forms[item.id]}:{item.id}"]
            forms[item.id] = form
            ids.append(item.id)
    if selection.lead and encoded_size(size, len(keys)) > budget:
        lead = f"short:{selection.lead.id}"
        shortened.append(selection.lead.id)
    return MailLayout(
        language=document.language,
        subject=subject[0],
        preheader=subject[1],
        keys=_keys(selection, lead, forms) if shortened else keys,
        shortened=tuple(id for id in shortened if id not in titled),
        titled=tuple(titled),
    )


def encoded_size(size: int, joints: int = 0) -> int:
    """Return the size as base64 in lines of 76 characters with CRLF, with at most two short lines at each joint."""
    return -(-size // 57) * 78 + joints * 8


def _keys(selection: Selection, lead: str, forms: Mapping[str, str]) -> tuple[str, ...]:
    keys = ["head", *(f"note:{item.id}" for item in selection.notes)]
    if lead:
        keys.append(lead)
    by_kind: dict[str, list[str]] = {}
    for item in selection.items:
        by_kind.setdefault(item.kind, []).append(f"{forms[item.id]}:{item.id}")
    for kind, kind_keys in by_kind.items():
        keys += [f"section:{kind}", *kind_keys]
    if selection.titles:
        keys += ["section:titles", *(f"title:{item.id}" for item in selection.titles)]
    if selection.corrections:
        keys += ["section:corrections", *(f"correction:{item.id}" for item in selection.corrections)]
    return (*keys, "foot")


def _render_subjects(
    document: MailDocument, selections: Iterable[Selection], templates: MailTemplates
) -> list[tuple[str, str]]:
    """Render the subject and the preheader for each set of readers. Raises TemplateError if a subject is not valid."""
    wanted = [(tuple(item.id for item in each.all_items), each.stories) for each in selections]
    distinct = list(dict.fromkeys(wanted))
    if templates.are_own(document.template, document.subject):
        values = replace(document, fragments={}, memo={}).to_json()
        sources = templates.sources(document.template)
        rendered = []
        for start in range(0, len(distinct), _SUBJECTS_AT_ONCE):
            part = distinct[start : start + _SUBJECTS_AT_ONCE]
            rendered += run_limited(_render_own_subjects, document.template, sources, values, part)
    else:
        rendered = [_render_subject(document, ids, stories, templates) for ids, stories in distinct]
    subjects = dict(zip(distinct, rendered, strict=True))
    return [(subjects[each][0], subjects[each][1]) for each in wanted]


def _render_own_subjects(
    sources: Sources, values: dict[str, Any], wanted: Sequence[tuple[tuple[str, ...], tuple[str, ...]]]
) -> list[tuple[str, str]]:
    """Render subjects with templates of the newsroom. Runs in a child process with limits."""
    document, templates = MailDocument.from_json(values), _load_sources(tuple(sources.items()))
    return [_render_subject(document, ids, stories, templates) for ids, stories in wanted]


def _render_subject(
    document: MailDocument, ids: Sequence[str], stories: Sequence[str], templates: MailTemplates
) -> tuple[str, str]:
    if "views" not in document.memo:
        site = document.context["site"]
        document.memo["views"] = {key: MailItem.from_brief(brief) for key, brief in document.briefs.items()}
        document.memo["names"] = _make_context(
            MailSite(**{**site, "languages": tuple(site["languages"])}),
            MailList(**document.context["list"]),
            EditionView(**document.context["edition"]),
            document.language,
        )
        document.memo["subject"] = templates.subject(document.template, document.subject)
    own, preview = document.memo["subject"]
    views = [document.memo["views"][id] for id in ids]
    known = set(stories)
    items = [view for view in views if view.story in known]
    context = dict(document.memo["names"])
    context["items"] = items
    # A mail with only corrections or notes has no lead, so its first part is used for the subject.
    context["lead"] = items[0] if items else views[0] if views else None
    file = f"{document.template}/subject.txt.j2"
    subject, preheader = run_template(_run_subject, own, preview, context, file=file)
    subject = _line(subject)
    if not subject:
        raise TemplateError(f"templates/{file}: the subject is empty for the stories {', '.join(stories)}")
    return subject, shorten(_line(preheader), PREHEADER_LENGTH)


def render_trial_subject(
    templates: MailTemplates,
    source: str,
    *,
    site: MailSite,
    list: MailList,
    edition: MailEdition,
    items: Sequence[Item],
    **_: Any,
) -> None:
    """Render a subject with trial items. Raises Jinja's exceptions unchanged."""
    date = format_date(edition.date, "en", site.zone)
    context = _make_context(site, list, EditionView(edition.name, edition.title, 1, date, edition.url), "en")
    views = [build_mail_item(item, language="en", zone=site.zone, topic_labels={}) for item in items]
    templates.environment.from_string(source).render(context, items=views, lead=views[0])


def _run_subject(own: Template, preview: Template, context: dict[str, Any]) -> tuple[str, str]:
    """Render the subject, and the macro `preheader` of the mail template ('' if it has none)."""
    module = preview.make_module(context)
    macro = getattr(module, "preheader", None)
    return str(module) if own is preview else own.render(context), str(macro()) if macro else ""


def _line(text: str) -> str:
    line = " ".join(text.split())
    if match := _CONTROL.search(line):
        raise TemplateError(f"the subject contains the control character {match[0]!r}")
    return line
