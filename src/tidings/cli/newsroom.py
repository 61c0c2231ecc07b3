"""`init`, `check`, `doctor`, `schema`: make a newsroom, and check its files and its DNS records."""

from __future__ import annotations

import shlex
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tidings.cli.session import Json, print_json, say, session

if TYPE_CHECKING:
    from tidings.runtime.init import OwnSettings


def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that does not exist or is empty.")],
    title: Annotated[str, typer.Option("--title", metavar="TEXT", help="Name of the publisher.")] = "",
    languages: Annotated[
        str, typer.Option("--languages", metavar="A,B", help="Such as en,ru. The first is the main one.")
    ] = "",
    timezone: Annotated[str, typer.Option("--timezone", metavar="ZONE", help="Such as Asia/Almaty.")] = "",
    address: Annotated[str, typer.Option("--address", metavar="TEXT", help="Postal address, for every digest.")] = "",
    colour: Annotated[str, typer.Option("--colour", metavar="#RRGGBB", help="Main colour.")] = "",
    sample: Annotated[
        bool | None, typer.Option("--sample/--empty", help="With sample stories, or without stories.")
    ] = None,
) -> None:
    """Create a new newsroom that runs.

    On a terminal it asks for what no option says. Elsewhere, without options, it is the sample newsroom.
    """
    from tidings.runtime.init import check_new_folder, init_newsroom

    check_new_folder(session.root / folder)
    given = {"title": title, "languages": languages, "timezone": timezone, "address": address, "colour": colour}
    asks = sys.stdin.isatty() and sys.stdout.isatty()
    is_plain = not any(given.values()) and sample is not False and (sample is True or not asks)
    own = None if is_plain else _choose(folder, given, sample, asks=asks)
    root = init_newsroom(session.root / folder, own)
    say(f"The newsroom is in {root}. Next:\n")
    say(f"  tidings check -C {folder}      check it")
    say(f"  tidings tick -C {folder}       start: stories that exist now count as known, later ones are sent")
    say(f"  tidings plan -C {folder}       see what goes out next, to whom, and why")
    say(f"  tidings run -C {folder} --catch-mail    try it: pages and caught mail on http://127.0.0.1:8080/inbox")
    say(f"  tidings run -C {folder}        watch, publish and send; pages on http://127.0.0.1:8080/")


def _choose(folder: Path, given: dict[str, str], sample: bool | None, *, asks: bool) -> OwnSettings:
    """Return the settings from the options. For missing ones, ask on a terminal, else use the defaults.

    Raises RefusedError if the person interrupts the questions. The error has a command that continues with the answers.
    """
    from tidings.model.errors import RefusedError
    from tidings.runtime.init import OwnSettings, guess_timezone, read_answer

    default = OwnSettings(timezone=guess_timezone())
    questions = {
        "title": "Name of the publisher",
        "languages": "Languages, the first is the default",
        "timezone": "Time zone",
        "address": "Postal address, for every digest",
        "colour": "Main colour",
    }
    values: dict[str, Any] = {name: OwnSettings.read(name, text) for name, text in given.items() if text}
    try:
        for name, question in questions.items() if asks else ():
            usual = getattr(default, name)
            shown = ",".join(usual) if isinstance(usual, tuple) else usual
            while name not in values:
                try:
                    text = typer.prompt(question, default=shown)
                    values[name] = OwnSettings.read(name, text)
                except RefusedError as error:
                    say(str(error))
                    shown = OwnSettings.suggest(name, text) or shown
        if sample is None and asks:
            say("Sample stories show how a story is written, and give the first pages something to show.")
            while sample is None:
                answer = typer.prompt("With sample stories, to delete later? [Y/n]", default="", show_default=False)
                sample = read_answer(answer)
                if sample is None:
                    say("Answer yes or no.")
    except typer.Abort:
        say()
        answers = {key: ",".join(value) if isinstance(value, tuple) else value for key, value in values.items()}
        words = [word for key, value in answers.items() for word in (f"--{key}", shlex.quote(value))]
        command = " ".join(["tidings init", shlex.quote(str(folder)), *words])
        raise RefusedError(f"Stopped; nothing was made. To go on with your answers: {command}") from None
    sample = sample is not False
    return replace(default, **values, with_sample=sample)


def check(json: Json = False) -> None:
    """Check YAML, templates, items, channels and frequencies."""
    from tidings.model.plurals import count_noun
    from tidings.runtime.check import check_newsroom

    problems = check_newsroom(session.root.resolve())
    errors = sum(problem.level == "error" for problem in problems)
    if json:
        rows = [
            asdict(problem) | {"line": problem.line or None, "column": problem.column or None} for problem in problems
        ]
        print_json({"ok": not errors, "problems": rows})
    else:
        for problem in problems:
            say(f"{'' if problem.level == 'error' else 'warning: '}{problem}")
        counts = ((errors, "problem"), (len(problems) - errors, "warning"))
        say(", ".join(count_noun(count, noun) for count, noun in counts if count) + "." if problems else "All is well.")
    raise typer.Exit(1 if errors else 0)


def doctor(
    resolver: Annotated[
        str, typer.Option("--resolver", metavar="HOST[:PORT]", help="Name server to ask. Default: this machine's.")
    ] = "",
    sending: Annotated[
        list[str] | None,
        typer.Option(
            "--sending-ip",
            metavar="ADDRESS",
            help="IP address from which mail leaves, if not the mail host. Repeatable.",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Look up the DNS of your senders, and try the mail host. Sends no mail.

    Each finding says what is wrong, where, and the record to publish. Exit code 1: mail would fail.
    """
    from tidings.model.errors import InputError
    from tidings.model.plurals import count_noun
    from tidings.runtime.monitoring.doctor.dns_lookups import DnsLookups
    from tidings.runtime.monitoring.doctor.examine import examine
    from tidings.runtime.newsroom import load_valid_newsroom

    root = session.root.resolve()
    newsroom = load_valid_newsroom(root, needs="yaml")
    session.secrets = newsroom.secrets
    if unset := newsroom.find_unset("mail"):
        raise InputError("\n".join(each.problem for each in unset))
    if not newsroom.mail or not newsroom.lists:
        raise InputError("this newsroom sends no mail yet. Add a list under `lists:` and a sender under `mail:`.")
    findings = examine(newsroom, DnsLookups(resolver), sending=sending or ())
    errors = sum(finding.level == "error" for finding in findings)
    if json:
        print_json({"ok": not errors, "findings": [asdict(finding) for finding in findings]})
    else:
        where = ""
        for finding in findings:
            if finding.where != where:
                where = finding.where
                say(f"{where}")
            say(f"  {finding.level:<8} {finding.check:<10} {session.redact(finding.text)}")
            if finding.mend:
                say(f"{'':22}{finding.mend[:1].upper()}{finding.mend[1:]}")
            if finding.record:
                say(f"{'':22}{finding.record}")
        counts = {
            "error": errors,
            "warning": sum(finding.level == "warning" for finding in findings),
            "open question": sum(finding.level == "unknown" for finding in findings),
        }
        summary = ", ".join(count_noun(count, noun) for noun, count in counts.items() if count)
        say(f"{summary}." if summary else "All is well.")
    raise typer.Exit(1 if errors else 0)


def schema(name: Annotated[str, typer.Argument(help="Only this schema. Default: all.")] = "") -> None:
    """Print the JSON Schemas of the YAML files and of every --json."""
    from tidings.model.errors import RefusedError, nearest
    from tidings.runtime.schemas import make_schemas

    schemas = make_schemas()
    if name and name not in schemas:
        raise RefusedError(f"there is no schema {name!r}. {nearest(name, schemas)}")
    print_json(schemas[name] if name else schemas)
