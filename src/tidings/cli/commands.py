"""The table of commands. A command's module is imported when the command runs, so that `--help` stays fast."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup


@dataclass(frozen=True, slots=True)
class Command:
    """The location of a command, and its line in `--help`: the first sentence of its function's docstring."""

    function: str
    """`MODULE:NAME`, with a module of `tidings.cli`."""
    help: str


@dataclass(frozen=True, slots=True)
class Group:
    """Commands with a common first word."""

    commands: Mapping[str, Command | Group]
    help: str


SOURCES = {
    "list": Command("sources:list_sources", "List every source, when it was read, and what is wrong with it."),
    "try": Command("sources:try_source", "Read a source now and show what it would give. Stores nothing."),
    "sync": Command("sources:sync_sources", "Read sources now, due or not, and store their items. Sends nothing."),
}
EDITION = {
    "show": Command(
        "editions:show_edition", "Show the stories, subjects, recipients, checks and history of an edition."
    ),
    "edit": Command("editions:edit_edition", "Change a held edition. Checks and approval start again."),
}
SUBSCRIBERS = {
    "add": Command("subscribers:add", "Put one person on a list. Sends no mail."),
    "set": Command("subscribers:change", "Change a person's choices. No story is repeated or skipped."),
    "remove": Command("subscribers:remove", "Take a person off a list for good. An import does not bring them back."),
    "import": Command("subscriber_files:import_people", "Put the people of a file on a list. Sends no mail."),
    "export": Command(
        "subscriber_files:export", "Write the confirmed subscribers of a list as CSV, or those in another state."
    ),
    "reconfirm": Command("subscribers:reconfirm", "Ask everybody on an old list to confirm again by a date."),
    "list": Command(
        "subscribers:list_people", "List or count the people on a list by language, topic, frequency or state."
    ),
    "show": Command("subscribers:show_person", "Show all that is known about a person."),
    "erase": Command("subscribers:erase", "Erase a person. Only a hash stays, so that nobody mails them again."),
}
TEAM_KEYS = {
    "add": Command("team:add_key", "Make a key for the API and print it, once."),
    "list": Command("team:list_keys", "List the keys of the API, their roles and lists, and when each was last used."),
    "remove": Command("team:remove_key", "Revoke a key of the API. It stops working at once."),
}
TEAM: dict[str, Command | Group] = {
    "add": Command("team:add", "Add a member and print a one-time link."),
    "list": Command(
        "team:list_team", "List the members, their roles and lists, and in how many browsers each is signed in."
    ),
    "set": Command(
        "team:change", "Change a member's role, lists or name, or print a new one-time link. It holds at once."
    ),
    "remove": Command("team:remove", "Remove a member and end their sessions. The log keeps what they did."),
    "sign-out": Command("team:sign_out", "End all sessions of a member."),
    "key": Group(TEAM_KEYS, "Make, list and revoke keys for the API."),
}
PANELS: dict[str, dict[str, Command | Group]] = {
    "Start": {
        "init": Command("newsroom:init", "Create a new newsroom that runs."),
        "demo": Command("demo:demo", "Play two weeks of the sample newsroom on this machine."),
        "check": Command("newsroom:check", "Check YAML, templates, items, channels and frequencies."),
        "doctor": Command("newsroom:doctor", "Look up the DNS of your senders, and try the mail host. Sends no mail."),
        "schema": Command("newsroom:schema", "Print the JSON Schemas of the YAML files and of every --json."),
        "dkim": Command("dkim:dkim", "Make a key to sign mail with, or show the DNS records of your keys."),
        "build": Command("service:build", "Write feeds and pages into public/."),
    },
    "Look": {
        "plan": Command("plan:plan", "Show the next slots, and which stories would go to whom. Changes nothing."),
        "preview": Command("editions:preview", "Write what would be sent as files: .html, .txt, .eml and posts."),
        "rehearse": Command("rehearse:rehearse", "Show what would go to whom between two moments. Changes nothing."),
        "status": Command("status:status", "Show what is wrong and how to fix it, and what comes next."),
        "ledger": Command("ledger:ledger", "List deliveries and their results."),
        "explain": Command("ledger:explain", "Explain why a reader did or did not get a story."),
        "report": Command("report:report", "Report what went out, what bounced, and who joined or left."),
        "sources": Group(SOURCES, "List sources, try one, or read them now."),
    },
    "Send": {
        "test": Command("editions:send_test", "Send the mail of a schedule to these addresses only."),
        "send": Command("editions:send", "Send an edition now. Shows the plan and asks for the number of recipients."),
        "release": Command("editions:release", "Send a held edition as it is, unless a check still fails."),
        "cancel": Command("editions:cancel", "Cancel an edition. Its stories are new again."),
        "recompose": Command("editions:recompose", "Build a held edition again from the content as it is now."),
        "edition": Group(EDITION, "Show an edition, or change a held one."),
        "resolve": Command(
            "editions:resolve", "Settle a delivery in doubt, or an edition that was restored or held for bounces."
        ),
        "pause": Command("pauses:pause", "Pause a schedule, a list or a channel, even in the middle of an edition."),
        "resume": Command("pauses:resume", "Resume what was paused."),
    },
    "People": {
        "subscribers": Group(SUBSCRIBERS, "Add, change, list, import, export and erase subscribers."),
        "team": Group(TEAM, "Add, change and remove the people who work in the comms room."),
    },
    "Keep running": {
        "run": Command("service:run", "Run the service: watch, publish, send on schedule, and serve the pages."),
        "worker": Command("service:worker", "Work for the task engine: send mails and posts, fetch sources."),
        "tick": Command("service:tick", "Do what is due now, wait for its deliveries, and exit."),
        "sweep": Command("service:sweep", "Read every source now."),
        "clock": Command("service:show_clock", "Show the newsroom's clock, or set it back to real time."),
        "backup": Command("backup:backup", "Write store, keys, YAML, content and templates into one file."),
        "restore": Command("backup:restore", "Bring a newsroom back from a backup."),
        "upgrade": Command("backup:upgrade", "Make a backup, then bring the store to this version's schema."),
    },
}
"""The panels of the help, in the order in which a new user needs them."""
_WIDEST = 1_000
"""Most columns of the help, which uses the width of the terminal."""


class LazyCommands(MutableMapping[str, Any]):
    """Commands by name. Each is built when it is looked up."""

    def __init__(self, commands: Mapping[str, Command | Group]) -> None:
        self._commands = dict(commands)

    def __getitem__(self, name: str) -> Any:
        entry = self._commands[name]
        return _make_group(name, entry) if isinstance(entry, Group) else _make_command(name, entry)

    def __iter__(self) -> Iterator[str]:
        return iter(self._commands)

    def __len__(self) -> int:
        return len(self._commands)

    def __setitem__(self, name: str, command: Any) -> None:
        raise TypeError("the table of commands is fixed")

    def __delitem__(self, name: str) -> None:
        raise TypeError("the table of commands is fixed")


class LazyGroup(TyperGroup):
    """A group of commands that lists them without importing them."""

    panels: Mapping[str, Mapping[str, Command | Group]]

    def format_commands(self, ctx: typer.Context, formatter: Any) -> None:  # type: ignore[override]
        """Write each panel of the table as a section of the help."""
        for panel, commands in self.panels.items():
            with formatter.section(panel):
                formatter.write_dl([(f"{name:<11}", entry.help) for name, entry in commands.items()])


def root_command() -> Any:
    """Return the whole command line, as a command that can be called with arguments."""
    app = typer.Typer(
        cls=LazyGroup,
        help="The newsroom's outbox: feeds, e-mail digests and posts from a folder of stories, on a schedule.",
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": _WIDEST},
    )
    app.callback(invoke_without_command=True)(_options)
    return _fill(typer.main.get_command(app), PANELS)


def _make_group(name: str, group: Group) -> Any:
    app = typer.Typer(
        name=name, cls=LazyGroup, help=group.help, no_args_is_help=True, add_completion=False, rich_markup_mode=None
    )
    app.callback()(_no_options)
    return _fill(typer.main.get_command(app), {"Commands": group.commands})


def _fill(group: Any, panels: Mapping[str, Mapping[str, Command | Group]]) -> Any:
    group.panels = panels
    group.commands = LazyCommands({name: entry for commands in panels.values() for name, entry in commands.items()})
    return group


def _make_command(name: str, command: Command) -> Any:
    module, _, function = command.function.partition(":")
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.command(name)(getattr(import_module(f"tidings.cli.{module}"), function))
    return typer.main.get_command(app)


def _options(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    folder: Annotated[str, typer.Option("-C", metavar="DIR", help="The newsroom's folder. Default: here.")] = "",
) -> None:
    if version:
        from tidings import __version__

        print(f"tidings {__version__}")
        raise typer.Exit


def _no_options() -> None:
    pass
