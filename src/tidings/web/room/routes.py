"""The permission table of the comms room: every route, the lowest role that may use it, and its function.

All requests to the room go through `_answer`: it finds the session, checks the role and the form's token, and only then
calls the function. A path that is not in `ROUTES` gets a 404.
"""

from __future__ import annotations

import hmac
import logging
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from urllib.parse import quote

from fastapi import APIRouter
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from tidings.model.errors import TidingsError
from tidings.render.room.room_pages import SCRIPT, STYLESHEET, RoomPages, RoomWords
from tidings.runtime.newsroom import Runtime
from tidings.runtime.team import story_pictures
from tidings.runtime.team.sign_in import hash_token
from tidings.store.engine import describe_fault
from tidings.store.people import team
from tidings.store.people.team import Role
from tidings.store.service.clock import real_now
from tidings.web.requests import (
    MAX_FORM,
    Fields,
    UploadedFile,
    client_network,
    preferred_languages,
    read_form,
    read_upload_form,
    unavailable,
)
from tidings.web.room import (
    account,
    api_screen,
    calendar,
    channel_screens,
    edition_screen,
    openid_screens,
    people_file_screens,
    preview_screens,
    schedule_screens,
    settings_screens,
    sign_in,
    story_screens,
    subscriber_screens,
    team_screens,
    today,
)
from tidings.web.room.visit import (
    COOKIE,
    HEADERS,
    VISIT_COOKIE,
    LongTextError,
    PreviewStash,
    Visit,
    choose_language,
    csrf_token,
    room_root,
)

log = logging.getLogger("tidings.web")
_NEVER_KEPT = ("csrf", "password", "new", "code", "passkey", "secret")
"""Fields that are not shown again after a form was refused."""
_MOST_KEPT = 100_000
"""Largest form with a file, in bytes, from a person who is not signed in."""
Screen = Callable[[Visit], Response]


@dataclass(frozen=True, slots=True)
class RoomForm:
    """The fields and files of a posted form."""

    fields: Fields = field(default_factory=dict)
    files: Mapping[str, UploadedFile] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RoomRoute:
    """A route of the room. `least` is None if no sign-in is needed."""

    method: str
    path: str
    least: Role | None
    screen: Screen
    largest: int = MAX_FORM
    """Largest form, in bytes."""
    largest_upload: int = 0
    """Largest form with a file (multipart), in bytes; 0 if the form takes no file."""


def _stylesheet(visit: Visit) -> Response:
    headers = {"Cache-Control": "public, max-age=86400"}
    return Response(visit.pages.stylesheet(visit.site()), media_type="text/css; charset=utf-8", headers=headers)


def _script(visit: Visit) -> Response:
    headers = {"Cache-Control": "public, max-age=86400"}
    return Response(visit.pages.script(visit.path), media_type="text/javascript; charset=utf-8", headers=headers)


ROUTES = (
    RoomRoute("GET", STYLESHEET, None, _stylesheet),
    RoomRoute("GET", account.PASSKEY_SCRIPT, None, _script),
    RoomRoute("GET", SCRIPT, None, _script),
    RoomRoute("GET", "sign-in", None, sign_in.show_sign_in),
    RoomRoute("POST", "sign-in", None, sign_in.submit_sign_in),
    RoomRoute("POST", "sign-in/passkey", None, sign_in.submit_passkey, 2 * account.LONGEST_ANSWER),
    RoomRoute("GET", "sign-in/openid", None, openid_screens.begin),
    RoomRoute("GET", "sign-in/openid/back", None, openid_screens.come_back),
    RoomRoute("GET", "join/{token}", None, sign_in.show_join),
    RoomRoute("POST", "join/{token}", None, sign_in.submit_join, 2 * account.LONGEST_ANSWER),
    RoomRoute("GET", "", Role.VIEWER, today.show),
    RoomRoute("POST", "pause", Role.EDITOR, today.pause),
    RoomRoute("POST", "resume", Role.EDITOR, today.resume),
    RoomRoute("GET", "editions/{schedule}/{number}", Role.VIEWER, edition_screen.show),
    RoomRoute("GET", "editions/{schedule}/{number}/mails/{frame}", Role.VIEWER, edition_screen.mail),
    RoomRoute("GET", "editions/{schedule}/{number}/progress", Role.VIEWER, edition_screen.progress),
    RoomRoute("POST", "editions/{schedule}/{number}", Role.EDITOR, edition_screen.decide),
    RoomRoute("POST", "editions/{schedule}/{number}/approve", Role.VIEWER, edition_screen.approve),
    RoomRoute("POST", "editions/{schedule}/{number}/change", Role.EDITOR, edition_screen.change, 200_000),
    RoomRoute("POST", "editions/{schedule}/{number}/comment", Role.WRITER, edition_screen.comment),
    RoomRoute("POST", "editions/{schedule}/{number}/test", Role.WRITER, edition_screen.send_test),
    RoomRoute("GET", "coming/{schedule}", Role.VIEWER, preview_screens.show_coming),
    RoomRoute("POST", "coming/{schedule}", Role.EDITOR, preview_screens.change_coming, 200_000),
    RoomRoute("POST", "coming/{schedule}/test", Role.WRITER, preview_screens.test_coming),
    RoomRoute("GET", "stories", Role.VIEWER, story_screens.show_list),
    RoomRoute("GET", "stories/new", Role.WRITER, story_screens.show_new),
    RoomRoute("POST", "stories/new", Role.WRITER, story_screens.submit_new),
    RoomRoute("GET", "stories/edit", Role.WRITER, story_screens.show_editor),
    RoomRoute(
        "POST",
        "stories/edit",
        Role.WRITER,
        story_screens.submit_editor,
        story_screens.LARGEST_STORY,
        story_screens.LARGEST_STORY + story_pictures.LARGEST_PICTURE,
    ),
    RoomRoute("GET", "stories/thumbnail", Role.WRITER, story_screens.show_thumbnail),
    RoomRoute("POST", "stories/paste", Role.WRITER, story_screens.paste, story_screens.LARGEST_STORY),
    RoomRoute("GET", "stories/previews/{preview}/{frame}", Role.VIEWER, preview_screens.show_frame),
    RoomRoute("GET", "stories/version", Role.WRITER, story_screens.show_version),
    RoomRoute("POST", "stories/restore", Role.EDITOR, story_screens.restore_version),
    RoomRoute("GET", "stories/{story}", Role.VIEWER, story_screens.show_story),
    RoomRoute("GET", "calendar", Role.VIEWER, calendar.show),
    RoomRoute("GET", "calendar/move", Role.EDITOR, calendar.show_move),
    RoomRoute("POST", "calendar/move", Role.EDITOR, calendar.submit_move),
    RoomRoute("GET", "subscribers", Role.EDITOR, subscriber_screens.show_list),
    RoomRoute("POST", "subscribers/add", Role.EDITOR, subscriber_screens.add),
    RoomRoute("GET", "subscribers/import", Role.EDITOR, people_file_screens.show_import),
    RoomRoute(
        "POST",
        "subscribers/import",
        Role.EDITOR,
        people_file_screens.submit_import,
        people_file_screens.LARGEST_IMPORT,
        people_file_screens.LARGEST_IMPORT,
    ),
    RoomRoute("POST", "subscribers/export", Role.EDITOR, people_file_screens.export),
    RoomRoute("GET", "subscribers/{number}", Role.EDITOR, subscriber_screens.show_person),
    RoomRoute("POST", "subscribers/{number}", Role.EDITOR, subscriber_screens.change),
    RoomRoute("GET", "channels", Role.VIEWER, channel_screens.show_channels),
    RoomRoute("GET", "channels/posts/{delivery}", Role.EDITOR, channel_screens.show_post),
    RoomRoute("POST", "channels/change", Role.EDITOR, channel_screens.change, channel_screens.LARGEST_POST),
    RoomRoute("POST", "channels/resolve", Role.EDITOR, channel_screens.resolve),
    RoomRoute("GET", "results", Role.VIEWER, channel_screens.show_results),
    RoomRoute("GET", "settings", Role.ADMIN, settings_screens.show_list),
    RoomRoute("GET", "settings/edit", Role.ADMIN, settings_screens.show_editor),
    RoomRoute("POST", "settings/edit", Role.ADMIN, settings_screens.submit_editor, settings_screens.LARGEST_FILE),
    RoomRoute("GET", "settings/schedule", Role.ADMIN, schedule_screens.show_schedule),
    RoomRoute("POST", "settings/schedule", Role.ADMIN, schedule_screens.submit_schedule),
    RoomRoute("GET", "settings/version", Role.ADMIN, settings_screens.show_version),
    RoomRoute("POST", "settings/restore", Role.ADMIN, settings_screens.restore_version),
    RoomRoute("GET", "account", Role.VIEWER, account.show_account),
    RoomRoute("POST", "account/password", Role.VIEWER, account.change_password),
    RoomRoute("POST", "account/passkeys", Role.VIEWER, account.add_passkey, 2 * account.LONGEST_ANSWER),
    RoomRoute("POST", "account/passkeys/remove", Role.VIEWER, account.remove_passkey),
    RoomRoute("POST", "account/sign-out", Role.VIEWER, account.sign_out),
    RoomRoute("POST", "account/sign-out-others", Role.VIEWER, account.sign_out_others),
    RoomRoute("POST", "language", Role.VIEWER, account.choose_room_language),
    RoomRoute("GET", "team", Role.VIEWER, team_screens.show_team),
    RoomRoute("POST", "team/add", Role.ADMIN, team_screens.add_member),
    RoomRoute("GET", "team/{number}", Role.ADMIN, team_screens.show_member),
    RoomRoute("POST", "team/{number}", Role.ADMIN, team_screens.change_member),
    RoomRoute("GET", "log", Role.EDITOR, team_screens.show_log),
    RoomRoute("GET", "api", Role.ADMIN, api_screen.show),
    RoomRoute("POST", "api/keys/add", Role.ADMIN, api_screen.add_key),
    RoomRoute("POST", "api/keys/remove", Role.ADMIN, api_screen.remove_key),
    RoomRoute("POST", "api/test", Role.ADMIN, api_screen.send_test),
)
"""The permission table. A test requests each route with each role, and with none."""


def navigation(words: RoomWords, role: Role) -> list[tuple[str, str]]:
    """Return path and label of each screen that a role may open."""
    screens = [
        ("", words.gettext("Today")),
        ("calendar", words.gettext("Calendar")),
        ("stories", words.gettext("Stories")),
        ("subscribers", words.gettext("Subscribers")),
        ("channels", words.gettext("Channels")),
        ("results", words.gettext("Results")),
        ("settings", words.gettext("Settings")),
        ("team", words.gettext("Team")),
        ("log", words.gettext("Log")),
        ("api", words.gettext("API")),
    ]
    least = {route.path: route.least for route in ROUTES if route.method == "GET"}
    return [(path, label) for path, label in screens if (needed := least[path]) is not None and role.includes(needed)]


def room_router(runtime: Runtime) -> APIRouter:
    """Make the router for `/room/` and everything below it."""
    router, pages, previews = APIRouter(), RoomPages(), PreviewStash()

    def go_in() -> Response:
        return RedirectResponse(room_root(runtime.newsroom), 308, headers=HEADERS)

    router.add_api_route("/room", go_in, methods=["GET", "HEAD"], response_model=None)
    for route in ROUTES:
        methods = ["GET", "HEAD"] if route.method == "GET" else [route.method]
        endpoint = partial(_answer, runtime, pages, previews, route)
        router.add_route(f"/room/{route.path}", endpoint, methods=methods, name=f"{route.method} {route.path}")
    return router


async def _answer(
    runtime: Runtime, pages: RoomPages, previews: PreviewStash, route: RoomRoute, request: Request
) -> Response:
    form = RoomForm()
    if route.method == "POST":
        is_upload = route.largest_upload and request.headers.get("content-type", "").startswith("multipart/form-data")
        if is_upload and COOKIE in request.cookies:
            upload = await read_upload_form(request, route.largest_upload, HEADERS)
            if isinstance(upload, Response):
                return upload
            form = RoomForm(*upload)
        elif is_upload:
            # A person who is not signed in cannot make us read a large file, but the text of the form is kept.
            words = await read_upload_form(request, _MOST_KEPT, HEADERS)
            if isinstance(words, Response):
                return words
            form = RoomForm(words[0])
        else:
            read = await read_form(request, route.largest, HEADERS)
            if isinstance(read, Response):
                return read
            form = RoomForm(read)
    return await run_in_threadpool(_check_and_answer, runtime, pages, previews, route, request, form)


def _check_and_answer(
    runtime: Runtime, pages: RoomPages, previews: PreviewStash, route: RoomRoute, request: Request, form: RoomForm
) -> Response:
    try:
        visit = _make_visit(runtime, pages, request, form, needs_member=route.least is not None)
        visit = replace(visit, previews=previews)
        refused = _refuse(visit, route, request)
        response = refused if refused is not None else _run(visit, route, request)
        if visit.member is None and visit.cookie and request.cookies.get(VISIT_COOKIE) != visit.cookie:
            has_session = any(
                name == b"set-cookie" and COOKIE.encode() in value for name, value in response.raw_headers
            )
            if not has_session and route.path not in (STYLESHEET, SCRIPT, account.PASSKEY_SCRIPT):
                response.set_cookie(
                    VISIT_COOKIE,
                    visit.cookie,
                    path=visit.root,
                    secure=visit.is_secure,
                    httponly=True,
                    samesite="strict",
                )
        return response
    except SQLAlchemyError as error:
        log.error("a screen of the room failed because the store cannot be used: %s", describe_fault(error))
        return unavailable(HEADERS)


def _run(visit: Visit, route: RoomRoute, request: Request) -> Response:
    """Call the screen. An error that it does not show itself becomes an error page."""
    try:
        return route.screen(visit)
    except TidingsError as error:
        if isinstance(error, LongTextError) and visit.member is not None:
            return _keep_words(visit, request, visit.words.gettext("Please try again"), str(error), status=422)
        return visit.message(visit.words.gettext("This cannot be done now"), str(error), status=409)


def _make_visit(runtime: Runtime, pages: RoomPages, request: Request, form: RoomForm, *, needs_member: bool) -> Visit:
    cookie, now = request.cookies.get(COOKIE, "")[:100], real_now()
    member = None
    if cookie:
        with runtime.store.read() as connection:
            found = team.find_session(connection, hash_token(cookie), now)
        if found is not None:
            member, seen = found
            if team.is_stale(seen, now):
                with runtime.store.write() as connection:
                    team.touch_session(connection, hash_token(cookie), now)
    if member is None:
        known = request.cookies.get(VISIT_COOKIE, "")
        cookie = known if re.fullmatch(r"[\w-]{43}", known) else secrets.token_urlsafe(32)
    language = choose_language(member, preferred_languages(request))
    words = RoomWords(language, runtime.newsroom.site.timezone)
    return Visit(
        runtime=runtime,
        pages=pages,
        path=request.url.path.partition("/room/")[2],
        params=request.path_params,
        query=request.query_params,
        cookies=request.cookies,
        fields=form.fields,
        files=form.files,
        member=member,
        cookie=cookie,
        language=language,
        network=client_network(request),
        browser=request.headers.get("user-agent", "")[:200],
        is_secure=request.url.scheme == "https",
        navigation=navigation(words, member.role) if member else (),
    )


def _refuse(visit: Visit, route: RoomRoute, request: Request) -> Response | None:
    """Return the refusal of a request, or None if it is allowed."""
    words = visit.words
    if route.least is not None and visit.member is None:
        if route.method == "GET":
            query = f"?{request.url.query}" if request.url.query else ""
            follow = quote(f"{visit.path}{query}", safe="/")
            return visit.redirect(f"sign-in?next={follow}" if follow else "sign-in")
        text = words.gettext("You are no longer signed in. Nothing was saved yet.")
        return _keep_words(visit, request, words.gettext("Please sign in"), text, status=401)
    if route.least is not None and not visit.may(route.least):
        text = words.gettext("This needs the role of %(role)s.", role=team_screens.role_name(words, route.least))
        return visit.message(words.gettext("Not allowed"), text, status=403)
    if route.method == "POST":
        sent = visit.fields.get("csrf", [""])[0].encode()
        site = request.headers.get("sec-fetch-site", "")
        is_ours = site in ("", "same-origin", "none")
        # A form from before the sign-in in another tab. Only our own page makes a browser say same-origin.
        earlier = [request.cookies.get(VISIT_COOKIE, "")] if site == "same-origin" else []
        tokens = [csrf_token(cookie).encode() for cookie in (visit.cookie, *filter(None, earlier))]
        if not is_ours or not any(hmac.compare_digest(sent, token) for token in tokens):
            if is_ours and visit.member is not None:
                text = words.gettext("You signed in again after you opened this page. Nothing was saved yet.")
            else:
                text = words.gettext(
                    "The form is too old, or it came from another site. Go back, load the page again, and retry."
                )
            if route.least is None:
                return visit.message(words.gettext("Please try again"), text, status=403)
            return _keep_words(visit, request, words.gettext("Please try again"), text, status=403)
    return None


def _keep_words(visit: Visit, request: Request, title: str, text: str, status: int) -> Response:
    """Show why a form was refused, with the written text in a new form that sends it again.

    This is done only if the browser says that our own page sent the form. Otherwise another site could make a member
    send text of that site.
    """
    kept: list[tuple[str, str]] = []
    if request.headers.get("sec-fetch-site") == "same-origin":
        kept = [(name, value) for name, values in visit.fields.items() for value in values if name not in _NEVER_KEPT]
    return visit.page("message.html.j2", title, status, texts=[text], kept=kept, again=f"{visit.root}{visit.path}")
