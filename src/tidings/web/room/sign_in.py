"""Sign-in by password and code or by passkey, and the page of a one-time link."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from starlette.responses import Response

from tidings.model.errors import InputError, RefusedError
from tidings.runtime.team import passkeys as checking
from tidings.runtime.team import sign_in as signing
from tidings.store.people import team
from tidings.store.service.clock import real_now
from tidings.web.room.account import (
    LONGEST_ANSWER,
    PASSKEY_SCRIPT,
    creation_options,
    describe_password,
    passkey_challenges,
    passkey_site,
)
from tidings.web.room.visit import Visit

_PATH = re.compile(r"(?:[A-Za-z0-9][A-Za-z0-9/_.-]{0,200})?(?:\?[A-Za-z0-9/_.~=&%+-]{0,500})?")
_SECRET = re.compile(r"[A-Z2-7]{32}")


def show_sign_in(visit: Visit) -> Response:
    """Show the form: address, password, code."""
    if visit.member is not None:
        return visit.redirect("")
    return sign_in_page(visit)


def sign_in_page(visit: Visit, wrong: str = "", status: int = 200, email: str = "") -> Response:
    """Return the sign-in form with an error."""
    site = passkey_site(visit)
    with visit.runtime.store.read() as connection:
        has_team = bool(team.list_members(connection))
    return visit.page(
        "sign_in.html.j2",
        visit.words.gettext("Sign in"),
        status,
        wrong=wrong,
        script=PASSKEY_SCRIPT if site is not None else "",
        email=email,
        follow=wanted_path(visit),
        has_team=has_team,
        passkey=""
        if site is None
        else checking.request_options(site, passkey_challenges(visit).make("sign-in", real_now())),
        openid=_provider_name(visit),
    )


def _provider_name(visit: Visit) -> str:
    oidc = visit.newsroom.room.oidc
    if oidc is None:
        return ""
    name = oidc.name.get(visit.language) if oidc.name else ""
    return name or urlsplit(oidc.issuer).hostname or ""


def wanted_path(visit: Visit, follow: str = "") -> str:
    """Return the screen that was requested before the sign-in: a path of the room, or ''."""
    follow = follow or visit.field("next") or visit.query.get("next", "")
    return follow if is_path_of_room(follow) else ""


def is_path_of_room(path: str) -> bool:
    """Whether this is a path below the room's root, without a host or scheme."""
    return _PATH.fullmatch(path) is not None and ".." not in path


def submit_sign_in(visit: Visit) -> Response:
    """Check address, password and code, and start a session."""
    words, email = visit.words, visit.field("email")
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
        return sign_in_page(visit, text, 429, email)
    if not result.token:
        text = words.gettext("The address, the password or the code is not right. A code works only once.")
        return sign_in_page(visit, text, 403, email)
    return visit.set_session(visit.redirect(wanted_path(visit)), result.token)


def submit_passkey(visit: Visit) -> Response:
    """Check the answer of a passkey, and start a session."""
    words, site = visit.words, passkey_site(visit)
    if site is None:
        return visit.not_found()
    result = checking.sign_in(
        visit.runtime.store,
        site,
        passkey_challenges(visit),
        visit.field("passkey", LONGEST_ANSWER),
        network=visit.network,
        browser=visit.browser,
        now=real_now(),
    )
    if result.is_limited:
        return sign_in_page(visit, words.gettext("Too many tries. Wait ten minutes, then try again."), 429)
    if not result.token:
        text = words.gettext("This passkey does not fit, or the page was too old. Try again.")
        return sign_in_page(visit, text, 403)
    return visit.set_session(visit.redirect(wanted_path(visit)), result.token)


def show_join(visit: Visit) -> Response:
    """Show the page of a one-time link. This does not use up the link."""
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
    options = creation_options(visit, 0 if is_first else invited.id, email)  # type: ignore[union-attr]
    return visit.page(
        "join.html.j2",
        words.gettext("Join the team"),
        status,
        script=PASSKEY_SCRIPT if options else "",
        options=options,
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
    """Use up the link and sign in, with a passkey or with a password and a code generator."""
    words, now, token = visit.words, real_now(), visit.params["token"]
    secret, email, site = visit.field("secret"), visit.field("email"), passkey_site(visit)
    password, answer = visit.fields.get("password", [""])[0], visit.field("passkey", LONGEST_ANSWER)
    if not _SECRET.fullmatch(secret):
        return _join_page(visit, signing.make_totp_secret(), 400)
    with visit.runtime.store.read() as connection:
        invited = signing.find_invited(connection, token, now)
    if invited is None:
        return _join_page(visit, secret)
    errors: dict[str, str] = {}
    new, step = None, None
    if not isinstance(invited, bool):
        email = invited.email
    if answer and site is not None:
        try:
            new, password, secret, step = checking.check_new(site, passkey_challenges(visit), answer, now), "", "", 0
        except InputError:
            errors["passkey"] = words.gettext("This did not work. Load the page again, then retry.")
    else:
        if problem := signing.check_password(password, email):
            errors["password"] = describe_password(visit, problem)
        step = signing.find_step(secret, visit.field("code"), now)
        if step is None:
            errors["code"] = words.gettext(
                "This is not the present code. Check the clock of your phone, then type the new one."
            )
    if not errors and step is not None:
        hashed = signing.hash_password(password) if password else ""
        try:
            with visit.runtime.store.write() as connection:
                member = signing.accept_link(
                    connection, token, email=email, password=hashed, secret=secret, step=step, now=now
                )
                if new is not None and not checking.store_new(connection, member.id, new, "", now):
                    raise RefusedError("this passkey is known already")
                team.record_action(connection, "team.joined", member.email, who=member.email, via="room", now=now)
                session = signing.start_session(connection, member.id, visit.browser, now)
            return visit.set_session(visit.redirect("", "welcome"), session)
        except InputError:
            errors["email"] = words.gettext("This is not an e-mail address.")
        except RefusedError:
            return _join_page(visit, visit.field("secret"))
    return _join_page(visit, visit.field("secret"), 422, errors)
