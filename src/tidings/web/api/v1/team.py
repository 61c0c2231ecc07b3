"""`/api/v1/team` and `/keys`: the people who work in the comms room, and the programs that use the API."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import Field
from sqlalchemy import Connection

from tidings.model.errors import nearest
from tidings.runtime.team import sign_in
from tidings.store.people import api_keys, team
from tidings.store.people.team import Role, TeamMember, describe_access
from tidings.store.service.clock import real_now
from tidings.web.api.v1.access import ApiModel, ApiRefusal, ApiRoute, Caller, Who

Number = Annotated[int, Field(ge=1, lt=2**53)]
Name = Annotated[str, Field(max_length=100)]
ListNames = Annotated[list[Name], Field(max_length=200, description="Empty: all lists. An admin works on all.")]


class TeamMemberInfo(ApiModel):
    """A person who works in the comms room."""

    member: int
    address: str
    name: str
    role: Role
    lists: list[str] = Field(description="The lists that they work on; empty: all.")
    joined: bool = Field(description="They have signed in.")
    sessions: int = Field(description="Browsers in which they are signed in.")


class NewMember(ApiModel):
    """A person to add to the team."""

    email: str = Field(min_length=3, max_length=320)
    role: Role
    lists: ListNames = Field(default_factory=list)
    name: Name = ""


class MemberChange(ApiModel):
    """Changes to a member. A field that is not named stays as it is."""

    role: Role | None = None
    lists: ListNames | None = None
    name: Name | None = None


class JoinLink(ApiModel):
    """A one-time link where a member sets up how to sign in. It is shown once."""

    member: int
    link: str


class SignedOut(ApiModel):
    """The number of browsers that were signed out."""

    sessions: int


class KeyDetails(ApiModel):
    """A key of this API, without its secret."""

    name: str
    role: Role
    lists: list[str]
    who: str = Field(description="Who made it.")
    created: datetime
    used: datetime | None = Field(description="Its last use, within ten minutes.")


class NewKey(ApiModel):
    """A key to make for a program."""

    name: str = Field(max_length=50, description="a-z, 0-9, - and _, such as website.")
    role: Role
    lists: ListNames = Field(default_factory=list)


class MadeKey(ApiModel):
    """A new key. It is shown once; the store keeps only its hash."""

    name: str
    key: str


def list_team(caller: Who) -> list[TeamMemberInfo]:
    """List the people who work in the comms room."""
    with caller.runtime.store.read() as connection:
        sessions = team.count_sessions(connection)
        return [_member(one, sessions.get(one.id, 0)) for one in team.list_members(connection)]


def add_member(caller: Who, person: NewMember) -> JoinLink:
    """Add a member. Send them the returned link, where they set up how to sign in."""
    lists = _check_lists(caller, person.role, person.lists)
    with caller.runtime.store.write() as connection:
        number = team.add_member(connection, person.email, person.role, lists, real_now(), person.name.strip())
        if number is None:
            raise ApiRefusal(409, "this address is in the team already.")
        caller.record(connection, "team.added", person.email, describe_access(person.role, lists))
        return _make_link(caller, connection, number)


def change_member(caller: Who, member: Number, change: MemberChange) -> TeamMemberInfo:
    """Change the role, the lists or the name of a member, from their next request on."""
    with caller.runtime.store.write() as connection:
        known = _find(connection, member)
        role = change.role or known.role
        if role is not Role.ADMIN:
            team.keep_an_admin(connection, known)
        kept = [] if role is Role.ADMIN else list(known.lists)
        lists = kept if change.lists is None else _check_lists(caller, role, change.lists)
        team.change_member(connection, member, role=role, lists=lists, name=change.name)
        caller.record(connection, "team.changed", known.email, describe_access(role, lists))
        return _member(_find(connection, member), team.count_sessions(connection).get(member, 0))


def make_member_link(caller: Who, member: Number) -> JoinLink:
    """Make a new one-time link for a member who lost the old link, the password or the phone."""
    with caller.runtime.store.write() as connection:
        caller.record(connection, "team.changed", _find(connection, member).email, "new link")
        return _make_link(caller, connection, member)


def sign_member_out(caller: Who, member: Number) -> SignedOut:
    """Sign a member out of every browser."""
    with caller.runtime.store.write() as connection:
        caller.record(connection, "team.signed_out", _find(connection, member).email)
        return SignedOut(sessions=team.end_sessions(connection, member))


def remove_member(caller: Who, member: Number) -> None:
    """Remove a member and sign them out. The log keeps what they did."""
    with caller.runtime.store.write() as connection:
        known = _find(connection, member)
        team.keep_an_admin(connection, known)
        team.remove_member(connection, member)
        caller.record(connection, "team.removed", known.email)


def list_keys(caller: Who) -> list[KeyDetails]:
    """List the keys of this API."""
    with caller.runtime.store.read() as connection:
        return [KeyDetails.model_validate(key) for key in api_keys.list_keys(connection)]


def add_key(caller: Who, key: NewKey) -> MadeKey:
    """Make a key for a program."""
    lists = _check_lists(caller, key.role, key.lists)
    with caller.runtime.store.write() as connection:
        who = caller.person.email
        secret = api_keys.add_key(connection, key.name, key.role, lists, who=who, now=real_now())
        if secret is None:
            raise ApiRefusal(409, f"there is a key {key.name!r} already.")
        caller.record(connection, "key.added", key.name, describe_access(key.role, lists))
    return MadeKey(name=key.name, key=secret)


def remove_key(caller: Who, name: Name) -> None:
    """Revoke a key. Its next request is refused."""
    with caller.runtime.store.write() as connection:
        if not api_keys.remove_key(connection, name):
            raise ApiRefusal(404, f"there is no key {name!r}.")
        caller.record(connection, "key.removed", name)


def _find(connection: Connection, number: int) -> TeamMember:
    member = team.get_member(connection, number)
    if member is None:
        raise ApiRefusal(404, f"there is no member {number} in the team.")
    return member


def _check_lists(caller: Caller, role: Role, names: list[str]) -> list[str]:
    """Return the lists of a member or key, without repeats. Raises ApiRefusal."""
    known = caller.newsroom.lists
    for name in names:
        if name not in known:
            raise ApiRefusal(422, f"lists: there is no list {name!r}. {nearest(name, known)}")
    if names and role is Role.ADMIN:
        raise ApiRefusal(422, "lists: an admin works on all lists. Leave them out, or choose another role.")
    return sorted(set(names))


def _make_link(caller: Caller, connection: Connection, number: int) -> JoinLink:
    token = sign_in.make_link(connection, number, real_now())
    return JoinLink(member=number, link=f"{caller.newsroom.site.url}room/join/{token}")


def _member(member: TeamMember, sessions: int) -> TeamMemberInfo:
    return TeamMemberInfo(
        member=member.id,
        address=member.email,
        name=member.name,
        role=member.role,
        lists=list(member.lists),
        joined=member.has_joined,
        sessions=sessions,
    )


_ONE = "/team/{member}"
ROUTES = (
    ApiRoute("GET", "/team", "GET team", list_team),
    ApiRoute("POST", "/team", "POST team/add", add_member, 201, is_secret=True),
    ApiRoute("PATCH", _ONE, "POST team/{number}", change_member),
    ApiRoute("DELETE", _ONE, "POST team/{number}", remove_member, 204),
    ApiRoute("POST", f"{_ONE}/link", "POST team/{number}", make_member_link, 201, is_secret=True),
    ApiRoute("POST", f"{_ONE}/sign-out", "POST team/{number}", sign_member_out),
    ApiRoute("GET", "/keys", "GET api", list_keys),
    ApiRoute("POST", "/keys", "POST api/keys/add", add_key, 201, is_secret=True),
    ApiRoute("DELETE", "/keys/{name}", "POST api/keys/remove", remove_key, 204),
)
