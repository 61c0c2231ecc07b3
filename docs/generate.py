"""The reference pages, from the code: `make docs`. A test fails when they differ from what is committed."""

from __future__ import annotations

import inspect
from enum import StrEnum
from pathlib import Path
from typing import Any

import click
import typer
from pydantic import BaseModel

from tidings import plugins
from tidings.config.schedule import Approval, CadenceText, ChannelDelivery, ListDelivery, Schedule, Select
from tidings.config.settings import Document, Feed, MailingList, Notify, Sender, Site, Web
from tidings.model.delivery import DeliveryState, Purpose, Returned, SkipReason
from tidings.model.edition import EditionState, HoldReason
from tidings.render.mailview import EditionView, FileView, ItemView, MailList, MailSite, PictureView, SectionView
from tidings.runtime.schemas import schemas

REFERENCE = Path(__file__).parent / "reference"
HEAD = "<!-- Written by `make docs` from the code; edit the code, not this page. -->\n\n"

ITEM_KEYS = {
    "title": "Required. On one line it is plain text: a colon, a quote, @ or #SDG5 belong to it.",
    "summary": "One paragraph, plain text too. Default: the beginning of the body.",
    "kind": "story, press-release, publication, event, video, speech, note, or any slug. Default: story.",
    "published": "Date or date-time in the site's zone. In the future: not out before. Default: when first seen.",
    "updated": "A significant change, said by the editor; feeds and pages show it.",
    "correction": "What was wrong, in a sentence: on the page, in feeds, and in the next edition of those who had the story.",
    "withdrawn": "Why; takes the item down everywhere and holds editions that carry it.",
    "embargo": "Leaves no trace anywhere before this moment.",
    "expires": "No edition carries it after this. Default for events: their end.",
    "starts": "Events: when it begins.",
    "ends": "Events: when it ends.",
    "place": "Events: where.",
    "url": "Canonical page elsewhere. Default: /LANG/SLUG/ under site.url.",
    "language": "Default: LANG of the file's name, else the first of site.languages.",
    "story": "Groups translations. Default: NAME of the file.",
    "id": "A URI of your own. Default: minted once and kept over renames and edits.",
    "topics": "Names of topics, [sdg-4, youth].",
    "organisations": "Who is behind it.",
    "authors": "Who wrote it.",
    "images": '[{src: media/a.jpg, alt: "...", caption: "...", credit: "..."}]; a digest without alt text is held.',
    "attachments": "[{src: media/brief.pdf, title: Brief}]",
    "lead": "true: first in its next edition.",
    "not_in": "Lists or channels that it stays out of.",
    "draft": "true: nowhere yet.",
}


def fields(model: type[BaseModel]) -> str:
    """A table of a model's keys."""
    rows = ["| key | default | meaning |", "|---|---|---|"]
    for name, field in model.model_fields.items():
        if field.exclude:
            continue  # not written in the file
        default = "required" if field.is_required() else f"`{_default(field.get_default(call_default_factory=True))}`"
        rows.append(f"| `{field.alias or name}` | {default} | {field.description} |")
    return "\n".join(rows) + "\n"


def _default(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, BaseModel) or value in ({}, ()):
        return "{}" if not isinstance(value, tuple) else "[]"
    if hasattr(value, "get_secret_value"):
        return str(value.get_secret_value())
    if hasattr(value, "total_seconds"):
        hours = value.total_seconds() / 3600
        return f"{hours:g}h" if hours else "0m"
    return "[" + ", ".join(value) + "]" if isinstance(value, tuple) else str(value)


def tidings_yaml() -> str:
    """tidings.yaml, its channels and sources included."""
    parts = [HEAD + "# tidings.yaml\n"]
    parts.append(
        "Any string may be `{env: NAME}` or `{file: PATH}`; any text that readers see may be a map of languages.\n"
    )
    for title, model in (
        ("The whole file", Document),
        ("site", Site),
        ("web", Web),
        ("feeds.NAME", Feed),
        ("mail", Sender),
        ("lists.NAME", MailingList),
        ("notify", Notify),
    ):
        parts.append(f"## {title}\n\n{fields(model)}")
    for group, built_in, title in (
        ("tidings.sources", plugins.SOURCES, "sources.NAME"),
        ("tidings.channels", plugins.CHANNELS, "channels.NAME"),
    ):
        for name, module in sorted(plugins.load_adapters(group, built_in).items()):
            parts.append(f"## {title}, `type: {name}`\n\n{fields(module.Settings)}")
    return "\n".join(parts)


def schedule_yaml() -> str:
    """schedules/NAME.yaml."""
    parts = [HEAD + "# schedules/NAME.yaml\n"]
    for title, model in (
        ("The whole file", Schedule),
        ("cadence", CadenceText),
        ("approval", Approval),
        ("select", Select),
        ("deliver, to a list", ListDelivery),
        ("deliver, to a channel", ChannelDelivery),
    ):
        parts.append(f"## {title}\n\n{fields(model)}")
    return "\n".join(parts)


def item_files() -> str:
    """content/NAME.LANG.md."""
    rows = "\n".join(f"| `{key}` | {meaning} |" for key, meaning in ITEM_KEYS.items())
    return (
        HEAD + "# content/NAME.LANG.md\n\nFront matter between two lines of `---`, then Markdown or HTML.\n\n"
        f"| key | meaning |\n|---|---|\n{rows}\n\nOther keys are kept as text and reach templates as `item.extra`; one within "
        "two letters of a known key sets the item aside, for it is most likely a slip of the finger.\n"
    )


def commands() -> str:
    """Every command with its arguments."""
    from tidings.cli import editions, people, records, rooms, service  # noqa: F401
    from tidings.cli.app import app

    parts = [
        HEAD
        + "# Commands\n\nEvery command takes `-C DIR`, before or after its name. Exit codes: 0 done, 1 the input is at "
        "fault, 2 wrong usage or refused, 3 done but some deliveries failed.\n"
    ]
    root = typer.main.get_command(app)
    assert isinstance(root, click.Group) or hasattr(root, "commands")
    for name, command in sorted(root.commands.items()):
        inner = getattr(command, "commands", None)
        for full, one in [(f"{name} {sub}", part) for sub, part in inner.items()] if inner else [(name, command)]:
            parts.append(_command(full, one))
    return "\n".join(parts)


def _command(name: str, command: Any) -> str:
    lines = [f"## tidings {name}\n", f"{(command.help or '').strip()}\n"]
    rows = []
    for parameter in command.params:
        options = [option for option in parameter.opts if option not in ("--help", "-h")]
        if not options:
            continue
        label = ", ".join(options) if options[0].startswith("-") else (parameter.metavar or parameter.name.upper())
        if options[0].startswith("-") and parameter.metavar:
            label += f" {parameter.metavar}"
        rows.append(f"| `{label}` | {getattr(parameter, 'help', '') or ''} |")
    if rows:
        lines += ["| | |", "|---|---|", *rows, ""]
    return "\n".join(lines)


def templates() -> str:
    """What mail templates are and see."""
    parts = [
        HEAD + "# Mail templates\n\nA template is a folder `templates/NAME/` with `subject.txt.j2`, `body.html.j2` and "
        "`body.txt.j2` (Jinja2, sandboxed, every name strict). What stands in the newsroom goes before what is shipped.\n\n"
        "The bodies are macros: `head()`, `lead(item)`, `section(section)`, `item(item, form)` with form full, short or "
        "title, `note(item)`, `correction(item)`, `foot()`. Each sees `site list edition language dir start end colours "
        "personal _ gettext ngettext` and its own argument alone, and must close what it opens, for they are cut apart and "
        'joined anew for each reader.\n\n`{% call personal.when("view_url") %}...{% endcall %}` stays only for readers who '
        "have that part; the parts are `name unsubscribe_url preferences_url view_url`. The text of `subject.txt.j2` is the "
        "subject, its macro `preheader()` the inbox's preview line; both see this reader's `lead` and `items`.\n\nSibling and "
        "positional CSS selectors (`+ ~ :nth-child`) are refused: a fragment does not know its neighbours.\n"
    ]
    for name, view in (
        ("site", MailSite),
        ("list", MailList),
        ("edition", EditionView),
        ("section", SectionView),
        ("item", ItemView),
        ("item.image", PictureView),
        ("item.attachments", FileView),
    ):
        names = ", ".join(f"`{field}`" for field in view.__dataclass_fields__)
        parts.append(f"## {name}\n\n{inspect.getdoc(view)}\n\nFields: {names}.\n")
    return "\n".join(parts)


def states() -> str:
    """The words of the ledger."""
    parts = [HEAD + "# States and reasons\n"]
    enums: tuple[tuple[str, type[StrEnum]], ...] = (
        ("State of a delivery", DeliveryState),
        ("Why one was skipped", SkipReason),
        ("Its purpose", Purpose),
        ("What may come back after accepted", Returned),
        ("State of an edition", EditionState),
        ("Why one is held", HoldReason),
    )
    for title, enum in enums:
        parts.append(f"## {title}\n\n{' '.join(f'`{one.value}`' for one in enum)}\n")
    return "\n".join(parts)


def shapes() -> str:
    """What --json prints."""
    parts = [HEAD + "# JSON\n\n`tidings schema` prints all of these as JSON Schema; they are only ever extended.\n"]
    for name, schema in schemas().items():
        if not name.endswith("--json"):
            continue
        inner = schema.get("items", schema)
        names = " ".join(f"`{key}`" for key in inner.get("properties", {}))
        parts.append(f"## tidings {name}\n\n{'A list of objects' if 'items' in schema else 'An object'}: {names}\n")
    return "\n".join(parts)


PAGES = {
    "tidings-yaml.md": tidings_yaml,
    "schedules.md": schedule_yaml,
    "items.md": item_files,
    "commands.md": commands,
    "templates.md": templates,
    "states.md": states,
    "json.md": shapes,
}


def main() -> None:
    """Write every page."""
    REFERENCE.mkdir(exist_ok=True)
    for name, page in PAGES.items():
        (REFERENCE / name).write_text(page().rstrip() + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
