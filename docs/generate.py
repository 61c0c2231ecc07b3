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
from tidings.config.bounces import BounceMailbox, Bounces, MailgunHook, PostmarkHook, SendgridHook, SesHook, SoftBounces
from tidings.config.schedule import Approval, CadenceText, ChannelDelivery, ListDelivery, Schedule, StoryFilter
from tidings.config.settings import FeedSettings, MailingList, NewsroomConfig, Notify, Retention, Site, Web
from tidings.model.delivery import DeliveryState, FeedbackKind, Purpose, SkipReason
from tidings.model.edition import EditionState, HoldReason
from tidings.render.mail.views import EditionView, FileView, MailItem, MailList, MailSite, PictureView, SectionView
from tidings.runtime.schemas import make_schemas

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
    "post": "Your own words for posts, instead of title and summary: one text, or a map by channel. The link is added.",
    "draft": "true: nowhere yet.",
}


WORDS: dict[type[StrEnum], tuple[str, dict[str, str]]] = {
    DeliveryState: (
        "State of a delivery",
        {
            "pending": "Waits to be sent.",
            "leased": "A process has taken it and prepares it.",
            "handed": "Permitted under the lock of consent: its message may be on the wire.",
            "accepted": "The other side took it. Terminal.",
            "deferred": "Refused for now, or waits for its turn or for the post that it answers; goes again later.",
            "rejected": "Refused for good. Terminal.",
            "in_doubt": "All was handed over and the answer was lost: it may have arrived.",
            "skipped": "Does not go, for a stored reason. Terminal.",
            "cancelled": "Its edition was cancelled or superseded before it went, or a person resolved it so. Terminal.",
            "quarantined": "Set aside: three times the process died preparing it or no message could be made of it, or it "
            "was refused for now too often. Terminal.",
        },
    ),
    SkipReason: (
        "Why one was skipped",
        {
            "suppressed": "The address must not be mailed.",
            "unsubscribed": "They had left the list.",
            "not_confirmed": "They had not confirmed.",
            "erased": "The person was erased.",
            "expired": "Not in use yet: what has expired is in no edition.",
            "nothing_for_reader": "Other topics, no translation, or had it all before.",
            "other_list": "They got the same edition through another list.",
            "paused": "The reader asked for a pause; what comes out meanwhile goes to them after it.",
            "withdrawn": "Not in use yet: a withdrawn story holds its edition.",
            "over_limit": "Beyond `max_posts`.",
            "untranslated": "A story waits for its translations (`wait_for_translations`); with which ones. It goes later.",
            "unanswerable": "A translation whose first post did not go out, or of which nobody knows the id.",
        },
    ),
    Purpose: (
        "What it is for",
        {
            "edition": "A digest, or a post of a whole edition.",
            "story": "A message of one story (`per: item`); `again-` and a number for a post that a person asked for anew.",
            "test": "`tidings test`.",
            "notice": "What somebody must hear of.",
            "confirmation": "Asks who was put down for a list for their word.",
            "welcome": "To who is new on a list.",
            "correction": "Of a post that stands, with a hyphen and which correction: it is edited or answered.",
            "retraction": "Of a post that stands: it is taken down.",
            "review": "To who must approve an edition: the question, and the edition.",
        },
    ),
    FeedbackKind: (
        "What may come back after accepted",
        {
            "hard": "The address does not exist. Not read back yet.",
            "soft": "Could not be delivered for now. Not read back yet.",
            "complaint": "Reported as unwanted. Not read back yet.",
        },
    ),
    EditionState: (
        "State of an edition",
        {
            "composing": "Its slot is claimed; items, bytes and recipients are being frozen.",
            "held": "Waits for a person; its stories are reserved.",
            "sending": "Its deliveries may go, in its window.",
            "done": "Nothing of it goes on by itself. Terminal.",
            "cancelled": "A person dropped it; its stories are new again. Terminal.",
            "superseded": "A newer edition of the schedule took its stories over. Terminal.",
        },
    ),
    HoldReason: (
        "Why one is held",
        {
            "gate": "The frozen bytes are not fit to go.",
            "late": "Its slot was found later than `max_late`.",
            "approval": "Somebody must look first.",
            "withdrawn": "A story in it was withdrawn.",
            "restored": "The store came out of a backup, and it may have gone out since.",
        },
    ),
}
"""For each enumeration of the ledger: its title, and what each word means."""

EXIT_CODES = {
    0: "done",
    1: "the input is at fault: YAML, an item, a template, a file",
    2: "wrong usage, or refused",
    3: "done, but some deliveries failed or could not go on",
    70: "a fault of Tidings itself; `TIDINGS_DEBUG=1` shows where",
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
        return f"{hours / 24:g}d" if hours >= 48 and hours % 24 == 0 else f"{hours:g}h" if hours else "0m"
    return "[" + ", ".join(value) + "]" if isinstance(value, tuple) else str(value)


def tidings_yaml() -> str:
    """tidings.yaml, its channels and sources included."""
    parts = [HEAD + "# tidings.yaml\n"]
    parts.append(
        "Any string may be `{env: NAME}` or `{file: PATH}`; any text that readers see may be a map of languages.\n"
    )
    for title, model in (
        ("The whole file", NewsroomConfig),
        ("site", Site),
        ("web", Web),
        ("feeds.NAME", FeedSettings),
        ("lists.NAME", MailingList),
        ("bounces", Bounces),
        ("bounces.mailbox", BounceMailbox),
        ("bounces.soft", SoftBounces),
        ("bounces.ses", SesHook),
        ("bounces.postmark", PostmarkHook),
        ("bounces.mailgun", MailgunHook),
        ("bounces.sendgrid", SendgridHook),
        ("notify", Notify),
        ("keep", Retention),
    ):
        parts.append(f"## {title}\n\n{fields(model)}")
    for group, built_in, title in (
        ("tidings.sources", plugins.SOURCES, "sources.NAME"),
        ("tidings.channels", plugins.CHANNELS, "channels.NAME"),
        ("tidings.mail", plugins.MAIL, "mail"),
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
        ("select", StoryFilter),
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
    from tidings.cli.app import app

    parts = [
        HEAD
        + "# Commands\n\nEvery command takes `-C DIR`, before or after its name; without it the newsroom is the folder you "
        "are in. `tidings --version` prints the version.\n\n| exit code | means |\n|---|---|\n"
        + "".join(f"| {code} | {meaning} |\n" for code, meaning in EXIT_CODES.items())
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
        told = getattr(parameter, "help", "") or ""
        if isinstance(parameter.default, (int, str)) and not isinstance(parameter.default, bool) and parameter.default:
            told += f" Default: {parameter.default}."
        rows.append(f"| `{label}` | {told} |")
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
        "have that part; the parts are `name unsubscribe_url preferences_url view_url`; in the archive "
        "`archive_url subscribe_url`. The text of `subject.txt.j2` is the "
        "subject, its macro `preheader()` the inbox's preview line; both see this reader's `lead` and `items`.\n\nSibling and "
        "positional CSS selectors (`+ ~ :nth-child`) are refused: a fragment does not know its neighbours.\n"
    ]
    for name, view in (
        ("site", MailSite),
        ("list", MailList),
        ("edition", EditionView),
        ("section", SectionView),
        ("item", MailItem),
        ("item.image", PictureView),
        ("item.attachments", FileView),
    ):
        names = ", ".join(f"`{field}`" for field in view.__dataclass_fields__)
        parts.append(f"## {name}\n\n{inspect.getdoc(view)}\n\nFields: {names}.\n")
    return "\n".join(parts)


def states() -> str:
    """The words of the ledger."""
    parts = [HEAD + "# States and reasons\n"]
    for enum, (title, meanings) in WORDS.items():
        rows = "\n".join(f"| `{one.value}` | {meanings[one.value]} |" for one in enum)
        parts.append(f"## {title}\n\n| | |\n|---|---|\n{rows}\n")
    return "\n".join(parts)


def shapes() -> str:
    """What --json prints."""
    parts = [
        HEAD
        + "# JSON\n\n`tidings schema` prints all of these as JSON Schema, with those of the YAML files for editors: "
        "`tidings schema tidings.yaml`, `tidings schema schedule.yaml`. They are only ever extended.\n"
    ]
    for name, schema in make_schemas().items():
        if not name.endswith("--json"):
            continue
        lines = name.startswith("ledger")
        form = "A list of objects" if "items" in schema else "One object a line" if lines else "An object"
        keys = "\n".join(
            f"| `{key}` | {_shape(one)} |" for key, one in schema.get("items", schema)["properties"].items()
        )
        parts.append(f"## tidings {name}\n\n{form}.\n\n| key | holds |\n|---|---|\n{keys}\n")
    return "\n".join(parts)


def _shape(schema: dict[str, Any]) -> str:
    """A JSON Schema in a few words."""
    if "enum" in schema:
        return " or ".join(f"`{one}`" for one in schema["enum"])
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    inner = schema.get("items")
    if "array" in kinds and inner:
        found = f"list of {_shape(inner)}"
    elif "properties" in schema:
        found = "{" + ", ".join(f"`{key}`: {_shape(one)}" for key, one in schema["properties"].items()) + "}"
    elif "additionalProperties" in schema:
        found = f"{_shape(schema['additionalProperties'])} by name"
    else:
        found = "moment" if schema.get("format") == "date-time" else kinds[0]
    return found + (" or null" if "null" in kinds else "")


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
