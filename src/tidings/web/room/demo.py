"""The comms room of `tidings demo`: the visitor is signed in as a demo editor, and Today begins with a first look."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from urllib.parse import urlsplit

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from tidings.model.edition import Edition, HoldReason
from tidings.runtime.newsroom import Runtime
from tidings.runtime.team.sign_in import start_session
from tidings.store.people import team
from tidings.store.service.clock import real_now
from tidings.web.requests import text_response
from tidings.web.room.sign_in import is_path_of_room
from tidings.web.room.visit import COOKIE, HEADERS, Visit, room_root

_STORY = "stories/edit?file=content/reading-tent.en.md"
"""The story of the first look whose picture has no description."""


def demo_room_router(runtime: Runtime, email: str) -> APIRouter:
    """Sign in every browser on this machine as `email`. This replaces the sign-in page."""
    router = APIRouter()

    def sign_in(request: Request) -> Response:
        if not (_is_loopback(request.client.host if request.client else "") and _is_here(request)):
            return text_response("The demo is for a browser on this machine.", 403, HEADERS)
        with runtime.store.write() as connection:
            member = team.find_member(connection, email)
            assert member is not None
            browser = request.headers.get("user-agent", "")
            token = start_session(connection, member.id, browser, real_now())
        follow, root = request.query_params.get("next", ""), room_root(runtime.newsroom)
        response = RedirectResponse(f"{root}{follow if is_path_of_room(follow) else ''}", 303, headers=HEADERS)
        response.set_cookie(COOKIE, token, path=root, httponly=True, samesite="lax")
        return response

    router.add_api_route("/room/sign-in", sign_in, methods=["GET"], response_model=None)
    return router


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _is_here(request: Request) -> bool:
    """Whether the Host header names this machine. Another name may point here too (DNS rebinding)."""
    return _is_loopback(urlsplit(f"//{request.headers.get('host', '')}").hostname or "")


def first_look(visit: Visit, held: Sequence[Edition]) -> dict[str, object] | None:
    """Return the steps of the first look with their links, or None outside the demo. A finished step has none."""
    if not visit.runtime.is_demo:
        return None
    reasons = {edition: {hold.reason for hold in edition.holds} for edition in held}
    mend = next((edition for edition in held if HoldReason.GATE in reasons[edition]), None)
    approve = next((edition for edition in held if HoldReason.APPROVAL in reasons[edition]), None)
    return {
        "mend": f"editions/{mend.name}" if mend else "",
        "story": _STORY,
        "approve": f"editions/{approve.name}" if approve else "",
        "is_done": not mend and not approve,
    }
