"""The screens "Team" and "Log": the members with their roles, and who did what when."""

from __future__ import annotations

from sqlalchemy import Connection
from starlette.responses import Response

from tidings.model.errors import InputError
from tidings.render.room.room_pages import SCRIPT, RoomWords
from tidings.runtime.team import sign_in as signing
from tidings.store.people import team
from tidings.store.people.team import Role, TeamMember
from tidings.store.service.clock import real_now
from tidings.web.room.today import list_title
from tidings.web.room.visit import Visit

_PAGE = 50


def role_name(words: RoomWords, role: Role) -> str:
    """Return a role's name in the member's language."""
    names = {
        Role.VIEWER: words.gettext("viewer"),
        Role.WRITER: words.gettext("writer"),
        Role.EDITOR: words.gettext("editor"),
        Role.ADMIN: words.gettext("admin"),
    }
    return names[role]


def describe_roles(words: RoomWords) -> list[dict[str, str]]:
    """Return the roles with the actions that each may do."""
    texts = {
        Role.VIEWER: words.gettext("sees everything and changes nothing"),
        Role.WRITER: words.gettext("also writes stories, but sends nothing"),
        Role.EDITOR: words.gettext("also decides on editions, subscribers and channels"),
        Role.ADMIN: words.gettext("also changes settings and the team"),
    }
    return [{"role": role.value, "name": role_name(words, role), "text": text} for role, text in texts.items()]


def show_team(visit: Visit) -> Response:
    """Show the members and their roles, and to admins also the form that adds one."""
    return _team_page(visit)


def _team_page(visit: Visit, status: int = 200, error: str = "", link: str = "", invited: str = "") -> Response:
    words = visit.words
    with visit.runtime.store.read() as connection:
        members, sessions = team.list_members(connection), team.count_sessions(connection)
    return visit.page(
        "team.html.j2",
        words.gettext("Team"),
        status,
        script=SCRIPT,
        members=[
            {
                "member": member,
                "role": role_name(words, member.role),
                "sessions": sessions.get(member.id, 0),
                "link_works": member.link_until is not None and member.link_until > real_now(),
                "lists": [list_title(visit, name) for name in member.lists],
            }
            for member in members
        ],
        roles=describe_roles(words),
        lists={name: list_title(visit, name) for name in sorted(visit.newsroom.lists)},
        error=error,
        link=link,
        invited=invited,
        email=visit.field("email") if error else "",
        chosen=visit.field("role") or Role.WRITER.value,
    )


def add_member(visit: Visit) -> Response:
    """Add a member and show their one-time link, once."""
    words, email, role = visit.words, visit.field("email"), visit.field("role")
    if role not in list(Role):
        return _team_page(visit, 422, words.gettext("Choose a role."))
    lists = [] if role == Role.ADMIN else _chosen_lists(visit)
    try:
        with visit.runtime.store.write() as connection:
            number = team.add_member(connection, email, Role(role), lists, real_now(), visit.field("name", 100))
            if number is None:
                return _team_page(visit, 422, words.gettext("This address is in the team already."))
            token = signing.make_link(connection, number, real_now())
            visit.record(connection, "team.added", email, team.describe_access(role, lists))
    except InputError:
        return _team_page(visit, 422, words.gettext("This is not an e-mail address."))
    return _team_page(visit, link=_join_link(visit, token), invited=email)


def show_member(visit: Visit) -> Response:
    """Show one member: role, lists, a new link, sign out, remove."""
    member = _find(visit)
    return visit.not_found() if member is None else _member_page(visit, member)


def _member_page(visit: Visit, member: TeamMember, status: int = 200, wrong: str = "", link: str = "") -> Response:
    with visit.runtime.store.read() as connection:
        sessions = team.sessions_of(connection, member.id)
        is_last_admin = team.is_last_admin(connection, member)
    return visit.page(
        "member.html.j2",
        member.shown_name,
        status,
        script=SCRIPT,
        wrong=wrong,
        shown=member,
        sessions=sessions,
        roles=describe_roles(visit.words),
        lists={name: list_title(visit, name) for name in sorted(visit.newsroom.lists)},
        is_last_admin=is_last_admin,
        link=link,
    )


def change_member(visit: Visit) -> Response:
    """Save, make a new link, sign out or remove, depending on the button's `do`."""
    member, words = _find(visit), visit.words
    if member is None:
        return visit.not_found()
    action, role = visit.field("do"), visit.field("role")
    link = ""
    with visit.runtime.store.write() as connection:
        is_last = team.is_last_admin(connection, member)
        loses_admin = action == "remove" or (action == "save" and role != Role.ADMIN)
        if is_last and loses_admin:
            wrong = words.gettext("This is the only admin. Make another one first.")
        else:
            wrong = ""
            link = _apply(visit, connection, member, action, role)
    if wrong:
        return _member_page(visit, member, 422, wrong)
    if link:
        return _member_page(visit, member, link=link)
    return visit.redirect("team", {"remove": "removed", "sign_out": "signed_out"}.get(action, "saved"))


def _apply(visit: Visit, connection: Connection, member: TeamMember, action: str, role: str) -> str:
    """Do what the button says. Returns the new link, if any."""
    if action == "save" and role in list(Role):
        lists = [] if role == Role.ADMIN else _chosen_lists(visit)
        team.change_member(connection, member.id, role=Role(role), lists=lists, name=visit.field("name", 100))
        visit.record(connection, "team.changed", member.email, team.describe_access(role, lists))
    elif action == "link":
        visit.record(connection, "team.changed", member.email, "new link")
        return _join_link(visit, signing.make_link(connection, member.id, real_now()))
    elif action == "sign_out":
        team.end_sessions(connection, member.id)
        visit.record(connection, "team.signed_out", member.email)
    elif action == "remove":
        team.remove_member(connection, member.id)
        visit.record(connection, "team.removed", member.email)
    return ""


def _chosen_lists(visit: Visit) -> list[str]:
    return [name for name in visit.fields.get("list", []) if name in visit.newsroom.lists]


def _find(visit: Visit) -> TeamMember | None:
    number = visit.params["number"]
    if not (number.isascii() and number.isdigit() and len(number) < 12):
        return None
    with visit.runtime.store.read() as connection:
        return team.get_member(connection, int(number))


def _join_link(visit: Visit, token: str) -> str:
    return f"{visit.newsroom.site.url}room/join/{token}"


def show_log(visit: Visit) -> Response:
    """Show who did what and when, the newest first, in pages."""
    before = visit.query.get("before", "")
    who, kind = visit.query.get("who", "")[:300], visit.query.get("kind", "")
    kinds = _kinds(visit.words)
    with visit.runtime.store.read() as connection:
        entries = team.log_entries(
            connection,
            before=int(before) if before.isascii() and before.isdigit() and len(before) < 16 else None,
            who=who,
            kinds=[kind] if kind in kinds else [],
            most=_PAGE + 1,
        )
        members = [member.email for member in team.list_members(connection)]
    actions = action_texts(visit.words)
    return visit.page(
        "log.html.j2",
        visit.words.gettext("Log"),
        entries=[{"entry": entry, "text": actions.get(entry.action, entry.action)} for entry in entries[:_PAGE]],
        older=entries[_PAGE - 1].id if len(entries) > _PAGE else 0,
        people=sorted({*members, *([who] if who else [])}),
        who=who,
        kinds=kinds,
        kind=kind,
    )


def _kinds(words: RoomWords) -> dict[str, str]:
    return {
        "edition": words.gettext("Editions"),
        "story": words.gettext("Stories"),
        "subscriber": words.gettext("Subscribers"),
        "delivery": words.gettext("Posts and mails"),
        "pause": words.gettext("Pauses"),
        "settings": words.gettext("Settings"),
        "team": words.gettext("Team"),
    }


def action_texts(words: RoomWords) -> dict[str, str]:
    """Return the name of each action in the log."""
    return {
        "team.added": words.gettext("added to the team"),
        "team.changed": words.gettext("changed in the team"),
        "team.removed": words.gettext("removed from the team"),
        "team.signed_out": words.gettext("signed out"),
        "team.joined": words.gettext("joined the team"),
        "team.passkey": words.gettext("added a passkey"),
        "team.passkey_removed": words.gettext("removed a passkey"),
        "team.password": words.gettext("changed the password"),
        "key.added": words.gettext("made a key for the API"),
        "key.removed": words.gettext("revoked a key of the API"),
        "webhook.tested": words.gettext("sent a test event"),
        "pause.begun": words.gettext("paused"),
        "pause.ended": words.gettext("resumed"),
        "edition.released": words.gettext("released"),
        "edition.approved": words.gettext("approved"),
        "edition.sent_back": words.gettext("sent back"),
        "edition.taken_back": words.gettext("took the edition back"),
        "edition.postponed": words.gettext("chose another time for the edition"),
        "edition.cancelled": words.gettext("cancelled"),
        "edition.recomposed": words.gettext("built again"),
        "edition.changed": words.gettext("changed the edition"),
        "edition.planned": words.gettext("changed the next edition"),
        "edition.commented": words.gettext("commented"),
        "edition.tested": words.gettext("sent a test to themselves"),
        "story.saved": words.gettext("saved the story"),
        "story.ready": words.gettext("made the story ready"),
        "story.drafted": words.gettext("made the story a draft again"),
        "story.corrected": words.gettext("corrected the story"),
        "story.withdrawn": words.gettext("withdrew the story"),
        "story.put_back": words.gettext("took the withdrawal back"),
        "story.moved": words.gettext("moved the story"),
        "story.picture": words.gettext("added a picture"),
        "story.created": words.gettext("wrote a new story"),
        "story.restored": words.gettext("brought an earlier version back"),
        "subscriber.added": words.gettext("added a subscriber"),
        "subscriber.changed": words.gettext("changed a subscriber"),
        "subscriber.removed": words.gettext("took a subscriber off a list"),
        "subscriber.erased": words.gettext("erased a subscriber"),
        "subscriber.exported": words.gettext("exported subscribers"),
        "subscriber.imported": words.gettext("imported subscribers"),
        "delivery.edited": words.gettext("corrected a post"),
        "delivery.taken_down": words.gettext("took a post down"),
        "delivery.resolved": words.gettext("settled a delivery"),
        "settings.saved": words.gettext("changed the settings"),
        "settings.restored": words.gettext("brought earlier settings back"),
    }
