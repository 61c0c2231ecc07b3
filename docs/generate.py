"""Write the reference pages from the code: `make docs`. A test fails when the committed pages differ."""

from __future__ import annotations

import inspect
import json
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from tidings import plugins
from tidings.config.adapters import EventWebhookSettings
from tidings.config.bounces import BounceMailbox, Bounces, MailgunHook, PostmarkHook, SendgridHook, SesHook, SoftBounces
from tidings.config.schedule import Approval, CadenceText, ChannelDelivery, ListDelivery, Schedule, StoryFilter
from tidings.config.settings import (
    Engine,
    FeedSettings,
    Gates,
    MailingList,
    NewsroomConfig,
    Notify,
    OpenIdSettings,
    Retention,
    Room,
    Site,
    SpamGate,
    Web,
)
from tidings.model.delivery import DeliveryState, FeedbackKind, Purpose, SkipReason
from tidings.model.edition import EditionState, HoldReason
from tidings.model.item import Contact
from tidings.render.mail.views import EditionView, FileView, MailItem, MailList, MailSite, PictureView, SectionView
from tidings.runtime.schemas import make_schemas
from tidings.web.api.v1.app import describe_team_api

REFERENCE = Path(__file__).parent / "reference"
HEAD = "<!-- Written by `make docs` from the code; edit the code, not this page. -->\n\n"

ITEM_KEYS = {
    "title": "Required. One line is plain text: it may contain a colon, a quote, @ or #SDG5.",
    "summary": "One paragraph of plain text. Default: the beginning of the body.",
    "kind": "story, press-release, publication, event, video, speech, note, or any slug. Default: story.",
    "published": "Date or date-time in the site's zone. If it is in the future, the item is not out before. Default: when first seen.",
    "updated": "The moment of a significant change. Feeds and pages show it.",
    "correction": "What was wrong, in a sentence. Shown on the page, in feeds, and in the next edition to subscribers who had the story.",
    "withdrawn": "The reason. Takes the item down everywhere and holds editions that carry it.",
    "embargo": "Leaves no trace anywhere before this moment.",
    "expires": "No edition carries it after this moment. Default for events: their end.",
    "starts": "Events: the beginning.",
    "ends": "Events: the end.",
    "place": "Events: the place.",
    "url": "Canonical page elsewhere. Default: /LANG/SLUG/ under site.url.",
    "language": "Default: LANG in the file's name, else the first of site.languages.",
    "story": "Groups translations. Default: NAME of the file.",
    "id": "A URI of your own. Default: made once and kept over renames and edits.",
    "topics": "Names of topics: [sdg-4, youth].",
    "organisations": "The organisations behind it.",
    "authors": "The authors.",
    "images": '[{src: media/a.jpg, alt: "...", caption: "...", credit: "..."}]; a digest with a picture without alt text is held.',
    "attachments": "[{src: media/brief.pdf, title: Brief}]; at most 1 GB each (pictures 100 MB).",
    "contact": "Who answers the press: {name: ..., role: ..., email: ..., phone: ...}, a list of these, or all in one line.",
    "lead": "true: the first story in its next edition.",
    "not_in": "Lists or channels that do not get it.",
    "post": "Your own words for posts instead of title and summary: one text, or a map by channel. The link is added.",
    "draft": "true: not published anywhere yet.",
}


WORDS: dict[type[StrEnum], tuple[str, dict[str, str]]] = {
    DeliveryState: (
        "State of a delivery",
        {
            "pending": "Waits to be sent.",
            "leased": "Version 0.1 wrote it while it prepared a message. It becomes `pending` again.",
            "handed": "Claimed: it may be sent, and its message may be on the wire.",
            "accepted": "The other side accepted it. Terminal.",
            "deferred": "Refused for now, or waits for its turn or for the post that it answers. It is sent later.",
            "rejected": "Refused permanently. Terminal.",
            "in_doubt": "Everything was handed over and the answer was lost. It may have arrived.",
            "skipped": "Not sent, for a stored reason. Terminal.",
            "cancelled": "Its edition was cancelled or superseded before it was sent, or a person cancelled it. Terminal.",
            "quarantined": "Set aside: three times the process died preparing it or no message could be made of it, or it "
            "was refused for now too often. Terminal.",
        },
    ),
    SkipReason: (
        "Why a delivery was skipped",
        {
            "suppressed": "The address must not be mailed.",
            "unsubscribed": "The subscriber had left the list.",
            "not_confirmed": "The subscriber had not confirmed.",
            "erased": "The person was erased.",
            "expired": "Not used yet: expired items are in no edition.",
            "nothing_for_reader": "Other topics, no translation, or nothing new for this subscriber.",
            "other_list": "The subscriber got the same edition through another list.",
            "paused": "The subscriber asked for a pause. They get the stories after it.",
            "withdrawn": "Not used yet: a withdrawn story holds its edition.",
            "over_limit": "Beyond `max_posts`.",
            "untranslated": "A story waits for its translations (`wait_for_translations`). The reason names them. It is sent later.",
            "unanswerable": "A translation whose first post was not accepted, or whose first post has no known id.",
        },
    ),
    Purpose: (
        "Purpose of a delivery",
        {
            "edition": "A digest, or a post of a whole edition.",
            "story": "A message of one story (`per: item`). `again-` and a number marks a post that a person sent again.",
            "test": "`tidings test`.",
            "notice": "A notice to the people under `notify`.",
            "confirmation": "Asks a new subscriber to confirm.",
            "welcome": "Welcomes a new subscriber.",
            "correction": "Edits or answers a post. A hyphen and the correction's number follow.",
            "retraction": "Takes a post down.",
            "event": "Tells an event webhook what happened.",
            "review": "Asks a person to approve an edition, and shows it.",
        },
    ),
    FeedbackKind: (
        "Feedback after `accepted`",
        {
            "hard": "The address does not exist: it is suppressed at once.",
            "soft": "Not deliverable for now: suppressed after several days of this.",
            "complaint": "Reported as spam: the list does not write again.",
        },
    ),
    EditionState: (
        "State of an edition",
        {
            "composing": "Its slot is claimed; items, bytes and recipients are being frozen.",
            "held": "Waits for a person; its stories are reserved.",
            "sending": "Its deliveries may be sent, in its window.",
            "done": "No delivery of it is active. Terminal.",
            "cancelled": "A person dropped it; its stories are new again. Terminal.",
            "superseded": "A newer edition of the schedule took its stories. Terminal.",
        },
    ),
    HoldReason: (
        "Why an edition is held",
        {
            "gate": "A gate found the frozen bytes not fit to send.",
            "late": "Its slot was found later than `max_late`.",
            "approval": "Somebody must look first.",
            "withdrawn": "A story in it was withdrawn.",
            "breaker": "Too many of its mails were refused or came back to be true.",
            "restored": "The store was restored from a backup, and the edition may have been sent since.",
            "edited": "A person changed it, and must look at the result.",
            "sent_back": "An approver asked for changes. Change it or build it again; it cannot go as it is.",
        },
    ),
}
"""The title and the meanings of each enumeration in the ledger."""

EXIT_CODES = {
    0: "done",
    1: "the input is at fault: YAML, an item, a template, a file",
    2: "wrong usage, or refused",
    3: "done, but some deliveries failed or are stuck",
    70: "a bug in Tidings; `TIDINGS_DEBUG=1` shows where",
}


def fields(model: type[BaseModel]) -> str:
    """Return a table of a model's keys."""
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
    """Return the page about tidings.yaml, with all channels and sources."""
    parts = [HEAD + "# tidings.yaml\n"]
    parts.append(
        "Any string may be `{env: NAME}` or `{file: PATH}`; any text that readers see may be a map of languages.\n"
    )
    for title, model in (
        ("The whole file", NewsroomConfig),
        ("site", Site),
        ("engine", Engine),
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
        ("gates", Gates),
        ("gates.spam", SpamGate),
        ("notify", Notify),
        ("room", Room),
        ("room.oidc", OpenIdSettings),
        ("keep", Retention),
        ("webhooks.NAME", EventWebhookSettings),
    ):
        parts.append(f"## {title}\n\n{fields(model)}")
    for adapters, title in (
        (plugins.sources(), "sources.NAME"),
        (plugins.channels(), "channels.NAME"),
        (plugins.senders(), "mail"),
    ):
        for name, module in sorted(adapters.items()):
            parts.append(f"## {title}, `type: {name}`\n\n{fields(module.Settings)}")
    return "\n".join(parts)


def schedule_yaml() -> str:
    """Return the page about schedules/NAME.yaml."""
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
    """Return the page about content/NAME.LANG.md."""
    rows = "\n".join(f"| `{key}` | {meaning} |" for key, meaning in ITEM_KEYS.items())
    return (
        HEAD + "# content/NAME.LANG.md\n\nFront matter between two lines of `---`, then Markdown or HTML.\n\n"
        f"| key | meaning |\n|---|---|\n{rows}\n\nOther keys are kept as text and reach templates as `item.extra`; one within "
        "two letters of a known key sets the item aside, because it is most likely a typing mistake. So does a key that looks like "
        "a moment of publishing, embargo or expiry under another name (`embargo_until`, `publishDate`, `expires_at`, in many "
        "languages): the story would be out too early.\n"
    )


def commands() -> str:
    """Return the page with every command and its arguments."""
    from tidings.cli.commands import root_command

    parts = [
        HEAD + "# Commands\n\nEvery command takes `-C DIR`, before or after its name. The default is the current "
        "folder. `tidings --version` prints the version.\n\nErrors are on stderr. After `--json`, an error is also on "
        'stdout, if nothing else is: `{"error": "...", "exit_code": 2}`.\n\n| exit code | means |\n|---|---|\n'
        + "".join(f"| {code} | {meaning} |\n" for code, meaning in EXIT_CODES.items())
    ]
    for name, command in sorted(root_command().commands.items()):
        parts += _commands(name, command)
    return "\n".join(parts)


def _commands(name: str, command: Any) -> list[str]:
    """Return the section of a command, or those of the commands of a group."""
    inner = getattr(command, "commands", None)
    if not inner:
        return [_command(name, command)]
    return [section for sub, part in inner.items() for section in _commands(f"{name} {sub}", part)]


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
    """Return the page about mail templates."""
    parts = [
        HEAD + "# Mail templates\n\nA template is a folder `templates/NAME/` with `subject.txt.j2`, `body.html.j2` and "
        "`body.txt.j2` (Jinja2, sandboxed, unknown names are errors). A file of the newsroom replaces the shipped one.\n\n"
        "The bodies are macros: `head()`, `lead(item)`, `section(section)`, `item(item, form)` with form full, short or "
        "title, `note(item)`, `correction(item)`, `foot()`. Each sees `site list edition language dir start end colours "
        "personal _ gettext ngettext` and its own argument, and must close what it opens, because the parts are cut apart and "
        'joined again for each reader.\n\n`{% call personal.when("view_url") %}...{% endcall %}` stays only for readers who '
        "have that part; the parts are `name unsubscribe_url preferences_url view_url`; in the archive "
        "`archive_url subscribe_url`. The text of `subject.txt.j2` is the "
        "subject, its macro `preheader()` the inbox's preview line; both see this reader's `lead` and `items`.\n\nSibling and "
        "positional CSS selectors (`+ ~ :nth-child`) are refused, because a fragment does not know its neighbours.\n"
    ]
    for name, view in (
        ("site", MailSite),
        ("list", MailList),
        ("edition", EditionView),
        ("section", SectionView),
        ("item", MailItem),
        ("item.image", PictureView),
        ("item.attachments", FileView),
        ("item.contacts", Contact),
    ):
        names = ", ".join(f"`{field}`" for field in view.__dataclass_fields__)
        parts.append(f"## {name}\n\n{inspect.getdoc(view)}\n\nFields: {names}.\n")
    return "\n".join(parts)


def states() -> str:
    """Return the page with the states and reasons of the ledger."""
    parts = [HEAD + "# States and reasons\n"]
    for enum, (title, meanings) in WORDS.items():
        rows = "\n".join(f"| `{one.value}` | {meanings[one.value]} |" for one in enum)
        parts.append(f"## {title}\n\n| | |\n|---|---|\n{rows}\n")
    return "\n".join(parts)


def shapes() -> str:
    """Return the page about the output of --json."""
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
    """Describe a JSON Schema in a few words."""
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


def team_api() -> str:
    """Return the description of the team's API in OpenAPI 3.1."""
    return json.dumps(describe_team_api(), indent=1, ensure_ascii=False)


PAGES = {
    "tidings-yaml.md": tidings_yaml,
    "schedules.md": schedule_yaml,
    "items.md": item_files,
    "commands.md": commands,
    "templates.md": templates,
    "states.md": states,
    "json.md": shapes,
    "team-api.json": team_api,
}


def main() -> None:
    """Write every page."""
    REFERENCE.mkdir(exist_ok=True)
    for name, page in PAGES.items():
        (REFERENCE / name).write_text(page().rstrip() + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
