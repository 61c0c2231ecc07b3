"""Sign-in through the organisation's OpenID Connect provider: redirect to its page, and handle the return."""

from __future__ import annotations

import logging
import secrets
from urllib.parse import quote, unquote

from starlette.responses import RedirectResponse, Response

from tidings.model.errors import InputError
from tidings.runtime.team import openid
from tidings.runtime.team import sign_in as signing
from tidings.runtime.team.openid import OpenIdError, OpenIdFailure, OpenIdRequest
from tidings.store.people import team
from tidings.store.service.clock import real_now
from tidings.web.room.sign_in import sign_in_page, wanted_path
from tidings.web.room.visit import HEADERS, Visit

log = logging.getLogger("tidings.web")
COOKIE_OF_OPENID = "tidings_openid"
"""The cookie with the secret of a sign-in in progress and the requested screen. The provider never sees it."""
_LENGTH = 600
"""Most seconds for the sign-in at the provider."""


def _back_url(visit: Visit) -> str:
    """Return the redirect URI to register at the provider."""
    return f"{visit.newsroom.site.url}room/sign-in/openid/back"


def begin(visit: Visit) -> Response:
    """Send the browser to the provider's sign-in page."""
    settings = visit.newsroom.room.oidc
    if settings is None:
        return visit.not_found()
    if signing.is_network_limited(visit.runtime.store, visit.network, real_now()):
        return sign_in_page(visit, visit.words.gettext("Too many tries. Wait ten minutes, then try again."), 429)
    secret = secrets.token_urlsafe(32)
    try:
        url = openid.authorization_url(settings, OpenIdRequest.from_secret(secret), _back_url(visit))
    except OpenIdError as error:
        return _failed(visit, error)
    response = RedirectResponse(url, 303, headers=HEADERS)
    # Lax, because the provider redirects back here, which is a request from another site.
    response.set_cookie(
        COOKIE_OF_OPENID,
        f"{secret}.{quote(wanted_path(visit), safe='')}",
        max_age=_LENGTH,
        path=visit.root,
        secure=visit.is_secure,
        httponly=True,
        samesite="lax",
    )
    return response


def come_back(visit: Visit) -> Response:
    """Check the provider's answer, and start a session if the person is a member of the team."""
    settings, now = visit.newsroom.room.oidc, real_now()
    if settings is None:
        return visit.not_found()
    secret, _, follow = visit.cookies.get(COOKIE_OF_OPENID, "")[:1000].partition(".")
    if signing.is_network_limited(visit.runtime.store, visit.network, now):
        return sign_in_page(visit, visit.words.gettext("Too many tries. Wait ten minutes, then try again."), 429)
    try:
        if not secret:
            raise OpenIdError(OpenIdFailure.STALE, "the browser has no cookie of a sign-in")
        request = OpenIdRequest.from_secret(secret)
        email = openid.find_address(settings, request, visit.query, _back_url(visit), now)
    except OpenIdError as error:
        return _forget(visit, _failed(visit, error))
    try:
        with visit.runtime.store.write() as connection:
            member = team.find_member(connection, email)
            if member is not None:
                if not member.has_joined:
                    team.drop_link(connection, member.id)
                    team.record_action(connection, "team.joined", member.email, who=member.email, via="room", now=now)
                token = signing.start_session(connection, member.id, visit.browser, now)
    except InputError:
        member = None
    if member is None:
        log.warning("somebody whom %s knows is not in the team and was refused", settings.issuer)
        text = visit.words.gettext(
            "Nobody in the team has the address %(email)s. An admin of the team can add you.", email=email
        )
        return _forget(visit, sign_in_page(visit, text, 403))
    return _forget(visit, visit.set_session(visit.redirect(wanted_path(visit, unquote(follow))), token))


def _failed(visit: Visit, error: OpenIdError) -> Response:
    """Show the sign-in page with an error. The log has the details."""
    log.warning("a sign-in through the OpenID Connect provider did not succeed: %s", error)
    words = visit.words
    texts = {
        OpenIdFailure.CANCELLED: words.gettext("The sign-in was cancelled."),
        OpenIdFailure.UNREACHABLE: words.gettext("The sign-in service does not answer. Try again in a minute."),
        OpenIdFailure.INVALID: words.gettext("The sign-in service gave a wrong answer. The service's log says more."),
        OpenIdFailure.STALE: words.gettext("This sign-in is too old, or another browser began it. Start again here."),
        OpenIdFailure.UNVERIFIED: words.gettext("The sign-in service has no verified e-mail address of yours."),
    }
    status = 502 if error.failure in (OpenIdFailure.UNREACHABLE, OpenIdFailure.INVALID) else 403
    return sign_in_page(visit, texts[error.failure], status)


def _forget(visit: Visit, response: Response) -> Response:
    """Delete the cookie with the secret, which is for one sign-in only."""
    response.delete_cookie(COOKIE_OF_OPENID, path=visit.root)
    return response
