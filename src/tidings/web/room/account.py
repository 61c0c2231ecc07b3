"""A member's own account: browsers, password and passkeys. Also helpers for passkeys on other pages."""

from __future__ import annotations

from datetime import timedelta

from starlette.responses import Response

from tidings.model.errors import InputError
from tidings.render.room.room_pages import room_languages
from tidings.runtime.team import passkeys as checking
from tidings.runtime.team import sign_in as signing
from tidings.runtime.team.passkeys import PasskeyChallenges, PasskeySite
from tidings.store.people import passkeys, team
from tidings.store.service.clock import real_now
from tidings.web.room.visit import Visit

PASSKEY_SCRIPT = "passkey.js"
_FRESH = timedelta(minutes=30)
"""Time after a sign-in in which a passkey may be added. Nobody can add one in a browser that was left open."""
LONGEST_ANSWER = 16_000
"""Most characters of a browser's answer about a passkey."""


def passkey_site(visit: Visit) -> PasskeySite | None:
    """Return the site for which passkeys are made, or None if browsers allow no passkeys at its address."""
    return PasskeySite.from_url(visit.newsroom.site.url)


def passkey_challenges(visit: Visit) -> PasskeyChallenges:
    """Return the challenges of this browser."""
    return PasskeyChallenges(visit.runtime.keys, visit.cookie)


def creation_options(visit: Visit, member: int, email: str) -> str:
    """Return the options with which the script makes a passkey, or an empty text if browsers allow none."""
    site = passkey_site(visit)
    if site is None:
        return ""
    with visit.runtime.store.read() as connection:
        known = passkeys.passkeys_of(connection, member) if member else []
    challenge = passkey_challenges(visit).make("add", real_now())
    title = visit.site().title
    return checking.creation_options(site, title, member, email, known, visit.runtime.keys, challenge)


def describe_password(visit: Visit, problem: str) -> str:
    """Say what is wrong with a new password, in the member's language."""
    words = visit.words
    if problem == "short":
        return words.gettext(
            "Use at least %(count)s characters: three or four words are good.", count=signing.SHORTEST_PASSWORD
        )
    if problem == "long":
        return words.gettext("Use at most 200 characters.")
    return words.gettext("This is too easy to guess. Three or four unrelated words are good.")


def show_account(visit: Visit) -> Response:
    """Show the member's own browsers and password."""
    return _account_page(visit)


def _account_page(visit: Visit, status: int = 200, errors: dict[str, str] | None = None) -> Response:
    own, now = signing.hash_token(visit.cookie), real_now()
    with visit.runtime.store.read() as connection:
        sessions = team.sessions_of(connection, visit.person.id)
        known = passkeys.passkeys_of(connection, visit.person.id)
    is_fresh = any(session.token == own and now - session.created < _FRESH for session in sessions)
    has_site = passkey_site(visit) is not None
    return visit.page(
        "account.html.j2",
        visit.words.gettext("Your account"),
        status,
        script=PASSKEY_SCRIPT,
        person=visit.person,
        passkeys=known,
        has_passkeys=has_site or bool(known),
        may_add=is_fresh and has_site,
        options=creation_options(visit, visit.person.id, visit.person.email) if is_fresh else "",
        sessions=[{"session": session, "is_this": session.token == own} for session in sessions],
        errors=errors or {},
        shortest=signing.SHORTEST_PASSWORD,
    )


def change_password(visit: Visit) -> Response:
    """Change the password, with the present one and a code. Other browsers are signed out."""
    words, person, now = visit.words, visit.person, real_now()
    new = visit.fields.get("new", [""])[0]
    if problem := signing.check_password(new, person.email):
        return _account_page(visit, 422, {"new": describe_password(visit, problem)})
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


def add_passkey(visit: Visit) -> Response:
    """Store a new passkey of the browser."""
    words, person, now, site = visit.words, visit.person, real_now(), passkey_site(visit)
    with visit.runtime.store.read() as connection:
        sessions = team.sessions_of(connection, person.id)
    own = signing.hash_token(visit.cookie)
    if site is None or not any(session.token == own and now - session.created < _FRESH for session in sessions):
        wrong = words.gettext("Sign in again to add a passkey.")
        return _account_page(visit, 403, {"passkey": wrong})
    try:
        new = checking.check_new(site, passkey_challenges(visit), visit.field("passkey", LONGEST_ANSWER), now)
    except InputError:
        wrong = words.gettext("This did not work. Load the page again, then retry.")
        return _account_page(visit, 422, {"passkey": wrong})
    with visit.runtime.store.write() as connection:
        is_added = checking.store_new(connection, person.id, new, visit.field("name", 100), now)
        if is_added:
            visit.record(connection, "team.passkey", person.email)
    if not is_added:
        wrong = words.gettext("This passkey is known already, or there are too many.")
        return _account_page(visit, 422, {"passkey": wrong})
    return visit.redirect("account", "passkey")


def remove_passkey(visit: Visit) -> Response:
    """Remove one of the member's passkeys, but never the last way to sign in."""
    words, person, number = visit.words, visit.person, visit.field("number")
    if not (number.isascii() and number.isdigit() and len(number) < 16):
        return visit.not_found()
    with visit.runtime.store.write() as connection:
        known = passkeys.passkeys_of(connection, person.id)
        has_other = person.has_password or visit.newsroom.room.oidc is not None or len(known) > 1
        is_removed = has_other and passkeys.remove_passkey(connection, person.id, int(number))
        if is_removed:
            visit.record(connection, "team.passkey_removed", person.email)
    if not has_other:
        wrong = words.gettext("This is your only way in. Add another passkey first.")
        return _account_page(visit, 422, {"passkey": wrong})
    return visit.redirect("account", "removed" if is_removed else "unchanged")
