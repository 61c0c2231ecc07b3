"""Sign-in, the page behind a one-time link, and a member's own account."""

from __future__ import annotations

import re

from starlette.responses import Response

from tidings.model.errors import InputError, RefusedError
from tidings.render.room.room_pages import room_languages
from tidings.runtime.team import sign_in as signing
from tidings.store.people import team
from tidings.store.service.clock import real_now
from tidings.web.room.visit import Visit

_PATH = re.compile(r"[A-Za-z0-9][A-Za-z0-9/_.-]{0,200}")
_SECRET = re.compile(r"[A-Z2-7]{32}")


def show_sign_in(visit: Visit) -> Response:
    """The form: address, password, code."""
    if visit.member is not None:
        return visit.redirect("")
    return _sign_in_page(visit)


def _sign_in_page(visit: Visit, wrong: str = "", status: int = 200, email: str = "") -> Response:
    follow = visit.field("next") or visit.query.get("next", "")
    with visit.runtime.store.read() as connection:
        has_team = bool(team.list_members(connection))
    return visit.page(
        "sign_in.html.j2",
        visit.words.gettext("Sign in"),
        status,
        wrong=wrong,
        email=email,
        follow=follow if _PATH.fullmatch(follow) else "",
        has_team=has_team,
    )


def submit_sign_in(visit: Visit) -> Response:
    """Check address, password and code, and start a session."""
    words, email, follow = visit.words, visit.field("email"), visit.field("next")
    password = visit.fields.get("password", [""])[0]
    result = signing.sign_in(
        visit.runtime.store,
        email,
        password,
        visit.field("code"),
        network=visit.network,
        browser=visit.browser,
        now=real_now(),
    )
    if result.is_limited:
        text = words.gettext("Too many tries. Wait ten minutes, then try again.")
        return _sign_in_page(visit, text, 429, email)
    if not result.token:
        text = words.gettext("The address, the password or the code is not right. A code works only once.")
        return _sign_in_page(visit, text, 403, email)
    response = visit.redirect(follow if _PATH.fullmatch(follow) and ".." not in follow else "")
    return visit.set_session(response, result.token)


def show_join(visit: Visit) -> Response:
    """The page behind a one-time link. Opening it uses nothing up."""
    return _join_page(visit, signing.make_totp_secret())


def _join_page(visit: Visit, secret: str, status: int = 200, errors: dict[str, str] | None = None) -> Response:
    words = visit.words
    with visit.runtime.store.read() as connection:
        invited = signing.find_invited(connection, visit.params["token"], real_now())
    if invited is None:
        text = words.gettext("It was used already, or it is older than three days. An admin can make a new one.")
        return visit.message(words.gettext("This link does not work"), text, status=404)
    is_first = invited is True
    email = visit.field("email") if is_first else invited.email  # type: ignore[union-attr]
    issuer = visit.site().title[:40]
    return visit.page(
        "join.html.j2",
        words.gettext("Join the team"),
        status,
        is_first=is_first,
        email=email,
        role="admin" if is_first else invited.role.value,  # type: ignore[union-attr]
        secret=secret,
        spaced_secret=" ".join(secret[at : at + 4] for at in range(0, len(secret), 4)),
        otpauth=signing.totp_link(secret, email or "room", issuer),
        shortest=signing.SHORTEST_PASSWORD,
        errors=errors or {},
    )


def submit_join(visit: Visit) -> Response:
    """Set password and code generator, use the link up, and sign in."""
    words, now, token = visit.words, real_now(), visit.params["token"]
    secret, email = visit.field("secret"), visit.field("email")
    password = visit.fields.get("password", [""])[0]
    if not _SECRET.fullmatch(secret):
        return _join_page(visit, signing.make_totp_secret(), 400)
    with visit.runtime.store.read() as connection:
        invited = signing.find_invited(connection, token, now)
    if invited is None:
        return _join_page(visit, secret)
    errors: dict[str, str] = {}
    if not isinstance(invited, bool):
        email = invited.email
    if problem := signing.check_password(password, email):
        errors["password"] = _describe_password(visit, problem)
    step = signing.find_step(secret, visit.field("code"), now)
    if step is None:
        errors["code"] = words.gettext(
            "This is not the present code. Check the clock of your phone, then type the new one."
        )
    if not errors and step is not None:
        hashed = signing.hash_password(password)
        try:
            with visit.runtime.store.write() as connection:
                member = signing.accept_link(
                    connection, token, email=email, password=hashed, secret=secret, step=step, now=now
                )
                team.record_action(connection, "team.joined", member.email, who=member.email, via="room", now=now)
                session = signing.start_session(connection, member.id, visit.browser, now)
            return visit.set_session(visit.redirect("", "welcome"), session)
        except InputError:
            errors["email"] = words.gettext("This is not an e-mail address.")
        except RefusedError:
            return _join_page(visit, secret)
    return _join_page(visit, secret, 422, errors)


def _describe_password(visit: Visit, problem: str) -> str:
    words = visit.words
    if problem == "short":
        return words.gettext(
            "Use at least %(count)s characters: three or four words are good.", count=signing.SHORTEST_PASSWORD
        )
    if problem == "long":
        return words.gettext("Use at most 200 characters.")
    return words.gettext("This is too easy to guess. Three or four unrelated words are good.")


def show_account(visit: Visit) -> Response:
    """The member's own browsers and password."""
    return _account_page(visit)


def _account_page(visit: Visit, status: int = 200, errors: dict[str, str] | None = None) -> Response:
    own = signing.hash_token(visit.cookie)
    with visit.runtime.store.read() as connection:
        sessions = team.sessions_of(connection, visit.person.id)
    return visit.page(
        "account.html.j2",
        visit.words.gettext("Your account"),
        status,
        person=visit.person,
        sessions=[{"session": session, "is_this": session.token == own} for session in sessions],
        errors=errors or {},
        shortest=signing.SHORTEST_PASSWORD,
    )


def change_password(visit: Visit) -> Response:
    """Change the password, with the present one and a code. Other browsers are signed out."""
    words, person, now = visit.words, visit.person, real_now()
    new = visit.fields.get("new", [""])[0]
    if problem := signing.check_password(new, person.email):
        return _account_page(visit, 422, {"new": _describe_password(visit, problem)})
    result = signing.sign_in(
        visit.runtime.store,
        person.email,
        visit.fields.get("password", [""])[0],
        visit.field("code"),
        network=visit.network,
        browser=visit.browser,
        now=now,
    )
    if not result.token:
        wrong = (
            words.gettext("Too many tries. Wait ten minutes, then try again.")
            if result.is_limited
            else words.gettext("The present password or the code is not right. A code works only once.")
        )
        return _account_page(visit, 422, {"password": wrong})
    hashed = signing.hash_password(new)
    with visit.runtime.store.write() as connection:
        team.set_password(connection, person.id, hashed)
        team.end_sessions(connection, person.id)
        token = signing.start_session(connection, person.id, visit.browser, now)
        visit.record(connection, "team.password", person.email)
    return visit.set_session(visit.redirect("account", "password"), token)


def sign_out(visit: Visit) -> Response:
    """End this session."""
    with visit.runtime.store.write() as connection:
        team.end_session(connection, signing.hash_token(visit.cookie))
    return visit.end_session(visit.redirect("sign-in", "signed_out"))


def sign_out_others(visit: Visit) -> Response:
    """End all other sessions of the member, and renew this one."""
    with visit.runtime.store.write() as connection:
        team.end_sessions(connection, visit.person.id)
        token = signing.start_session(connection, visit.person.id, visit.browser, real_now())
        visit.record(connection, "team.signed_out", visit.person.email)
    return visit.set_session(visit.redirect("account", "signed_out"), token)


def choose_room_language(visit: Visit) -> Response:
    """Store the language in which the member sees the room."""
    language = visit.field("language")
    if language in room_languages():
        with visit.runtime.store.write() as connection:
            team.change_member(connection, visit.person.id, language=language)
    return visit.redirect("")
