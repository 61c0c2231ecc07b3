"""`team`: the people who work in the comms room, their roles and one-time links, and the keys of programs."""

from __future__ import annotations

import getpass
from typing import Annotated
from urllib.parse import urlsplit

import typer
from sqlalchemy import Connection

from tidings.cli.session import Json, console, format_moment, log_action, make_table, open_newsroom, print_json, say
from tidings.model.errors import RefusedError, nearest
from tidings.model.plurals import count_noun
from tidings.runtime.newsroom import Runtime
from tidings.runtime.team.sign_in import make_link
from tidings.store.people import api_keys, team
from tidings.store.people.team import Role, TeamMember
from tidings.store.service.clock import real_now

Address = Annotated[str, typer.Argument(metavar="ADDRESS", help="The e-mail address of the member.")]
Lists = Annotated[
    str | None, typer.Option("--lists", metavar="L,...", help="Only these lists. An empty text: all lists.")
]
KeyName = Annotated[str, typer.Argument(metavar="NAME", help="Name of the key, such as website. The log shows it.")]
_ROLES = "viewer, writer, editor or admin"


def add(
    address: Address,
    role: Annotated[str, typer.Option("--role", metavar="ROLE", help=f"{_ROLES}.")],
    lists: Lists = None,
    name: Annotated[str, typer.Option("--name", metavar="TEXT", help="Shown in the room instead of the address.")] = "",
) -> None:
    """Add a member and print a one-time link.

    With the link they choose a password and connect an app that makes codes.
    """
    with open_newsroom(needs="store") as runtime:
        chosen = _read_role(role)
        names = _read_lists(runtime, lists or "", chosen)
        with runtime.store.write() as connection:
            member = team.add_member(connection, address, chosen, names, real_now(), name)
            if member is None:
                raise RefusedError(
                    f"{address} is in the team already. `tidings team set {address} --link` makes a new sign-in link."
                )
            link = _make_link(connection, runtime, member)
            log_action(connection, "team.added", address, team.describe_access(chosen, names))
        say(f"{address} is in the team as {chosen}. Give them this link. It works once, within three days:")
        _say_link(runtime, link)


def list_team(json: Json = False) -> None:
    """List the members, their roles and lists, and in how many browsers each is signed in."""
    with open_newsroom(needs="store") as runtime:
        with runtime.store.read() as connection:
            members, sessions = team.list_members(connection), team.count_sessions(connection)
        if json:
            print_json([_as_json(member, sessions.get(member.id, 0)) for member in members])
            return
        if not members:
            say("There is no team yet. Add yourself: tidings team add ADDRESS --role admin")
            return
        table = make_table("", "address", "name", "role", "lists", "signed in")
        for member in members:
            count = sessions.get(member.id, 0)
            state = count_noun(count, "browser") if count else "no"
            if not member.has_joined:
                until = member.link_until
                state = f"not yet; the link works until {format_moment(until, runtime)}" if until else "not yet"
            table.add_row(member.email, member.name, member.role, ", ".join(member.lists) or "all", state)
        console().print(table)


def change(
    address: Address,
    role: Annotated[str | None, typer.Option("--role", metavar="ROLE", help=f"{_ROLES}.")] = None,
    lists: Lists = None,
    name: Annotated[str | None, typer.Option("--name", metavar="TEXT", help="Shown instead of the address.")] = None,
    link: Annotated[
        bool, typer.Option("--link", help="Print a new one-time link, for a lost password or phone.")
    ] = False,
) -> None:
    """Change a member's role, lists or name, or print a new one-time link. It holds at once."""
    if role is None and lists is None and name is None and not link:
        raise RefusedError("say what to change: --role, --lists, --name or --link.")
    with open_newsroom(needs="store") as runtime, runtime.store.write() as connection:
        member = _find(connection, address)
        chosen = member.role if role is None else _read_role(role)
        if chosen is not Role.ADMIN:
            team.keep_an_admin(connection, member)
        names = _read_lists(runtime, ",".join(member.lists) if lists is None else lists, chosen)
        team.change_member(connection, member.id, role=chosen, lists=names, name=name)
        changes = [team.describe_access(chosen, names), *(["new link"] if link else [])]
        log_action(connection, "team.changed", member.email, "; ".join(changes))
        say(f"{member.email}: {chosen}, {', '.join(names) or 'all lists'}.")
        if link:
            say("This link works once, within three days:")
            _say_link(runtime, _make_link(connection, runtime, member.id))


def remove(address: Address) -> None:
    """Remove a member and end their sessions. The log keeps what they did."""
    with open_newsroom(needs="store") as runtime, runtime.store.write() as connection:
        member = _find(connection, address)
        team.keep_an_admin(connection, member)
        team.remove_member(connection, member.id)
        log_action(connection, "team.removed", member.email)
        say(f"{member.email} is removed from the team and signed out.")


def sign_out(address: Address) -> None:
    """End all sessions of a member."""
    with open_newsroom(needs="store") as runtime, runtime.store.write() as connection:
        member = _find(connection, address)
        count = team.end_sessions(connection, member.id)
        log_action(connection, "team.signed_out", member.email)
        say(f"{member.email} is signed out of {count_noun(count, 'browser')}.")


# -- keys of the API --------------------------------------------------------------------------------------------------


def add_key(
    name: KeyName,
    role: Annotated[str, typer.Option("--role", metavar="ROLE", help=f"{_ROLES}.")],
    lists: Lists = None,
) -> None:
    """Make a key for the API and print it, once.

    A program sends it with each request: `Authorization: Bearer KEY`. It may do what its role may do in the comms room.
    """
    with open_newsroom(needs="store") as runtime:
        chosen = _read_role(role)
        names = _read_lists(runtime, lists or "", chosen)
        with runtime.store.write() as connection:
            secret = api_keys.add_key(connection, name, chosen, names, who=getpass.getuser(), now=real_now())
            if secret is None:
                raise RefusedError(f"there is a key {name!r} already. Revoke it first: tidings team key remove {name}")
            log_action(connection, "key.added", name, team.describe_access(chosen, names))
        say(f"The key {name} may do what the role {chosen} may. Keep it now: it is not shown again.")
        say(f"  {secret}")


def list_keys(json: Json = False) -> None:
    """List the keys of the API, their roles and lists, and when each was last used."""
    with open_newsroom(needs="store") as runtime:
        with runtime.store.read() as connection:
            keys = api_keys.list_keys(connection)
        if json:
            shown = ("name", "role", "lists", "who", "created", "used")
            print_json([{name: getattr(key, name) for name in shown} for key in keys])
            return
        if not keys:
            say("There is no key yet. Make one: tidings team key add NAME --role viewer")
            return
        table = make_table("", "name", "role", "lists", "made", "by", "last used")
        for key in keys:
            used = format_moment(key.used, runtime) if key.used else "never"
            lists = ", ".join(key.lists) or "all"
            table.add_row(key.name, key.role, lists, format_moment(key.created, runtime), key.who, used)
        console().print(table)


def remove_key(name: KeyName) -> None:
    """Revoke a key of the API. It stops working at once."""
    with open_newsroom(needs="store") as runtime, runtime.store.write() as connection:
        if not api_keys.remove_key(connection, name):
            known = [key.name for key in api_keys.list_keys(connection)]
            raise RefusedError(f"there is no key {name!r}. {nearest(name, known) if known else ''}".strip())
        log_action(connection, "key.removed", name)
        say(f"The key {name} is revoked.")


def _as_json(member: TeamMember, sessions: int) -> dict[str, object]:
    return {
        "address": member.email,
        "name": member.name,
        "role": member.role.value,
        "lists": list(member.lists),
        "has_password": member.has_password,
        "link_until": member.link_until,
        "sessions": sessions,
    }


def _find(connection: Connection, address: str) -> TeamMember:
    member = team.find_member(connection, address)
    if member is None:
        known = [one.email for one in team.list_members(connection)]
        raise RefusedError(f"{address} is not in the team. {nearest(address, known) if known else ''}".strip())
    return member


def _read_role(text: str) -> Role:
    if text not in list(Role):
        raise RefusedError(f"--role {text} is not a role. Write {_ROLES}.")
    return Role(text)


def _read_lists(runtime: Runtime, text: str, role: Role) -> list[str]:
    names = [name for name in (part.strip() for part in text.split(",")) if name]
    for name in names:
        if name not in runtime.newsroom.lists:
            raise RefusedError(f"there is no list {name!r}. {nearest(name, runtime.newsroom.lists)}")
    if names and role is Role.ADMIN:
        raise RefusedError("an admin works on all lists: leave out --lists, or choose another role.")
    return names


def _say_link(runtime: Runtime, link: str) -> None:
    """Print a link. If the site has a sample address, also print the link for this machine."""
    from tidings.runtime.check import is_sample_domain

    site, web = runtime.newsroom.site, runtime.newsroom.web
    if is_sample_domain(urlsplit(site.url).hostname or ""):
        say("On this machine, while `tidings run` is running:")
        say(f"  {web.local_url}{link.removeprefix(site.url)}")
        say("On a phone or elsewhere, once this address leads here (site.url is a sample until you write yours):")
    say(f"  {link}")


def _make_link(connection: Connection, runtime: Runtime, member: int) -> str:
    return f"{runtime.newsroom.site.url}room/join/{make_link(connection, member, real_now())}"
