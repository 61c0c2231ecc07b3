"""What a browser sends and asks for: small forms, the language it wishes, the client's address."""

from __future__ import annotations

import ipaddress
from urllib.parse import parse_qs

from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response

MAX_BODY = 16_384
"""Bytes of a form: every list, topic and choice fits many times."""
_MOST_FIELDS = 500
HEADERS = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "X-Robots-Tag": "noindex"}


async def form_of(request: Request) -> dict[str, list[str]] | Response:
    """The fields of a form (application/x-www-form-urlencoded); a Response where it cannot be taken."""
    body = b""
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BODY:
                return plain("This is more than the form can hold.", 413)
    except ClientDisconnect:
        return plain("The request was not complete.", 400)
    try:
        return parse_qs(body.decode("ascii"), keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    except (ValueError, UnicodeDecodeError):
        return plain("This is no form of ours.", 400)


def wished(request: Request) -> list[str]:
    """The languages that the browser asks for, best first, each without its region too (RFC 9110 §12.5.4)."""
    found: list[tuple[float, str]] = []
    for part in request.headers.get("accept-language", "")[:200].split(","):
        language, _, weight = part.strip().partition(";q=")
        try:
            found.append((-float(weight or 1), language.strip()))
        except ValueError:
            continue
    found.sort(key=lambda one: one[0])
    return [name for _, tag in found for name in (tag, tag.partition("-")[0])]


def client(request: Request) -> str:
    """The network that asks, as far as a limit needs to know: an IPv4 address, or the /64 of an IPv6 one."""
    host = request.client.host if request.client else ""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return ""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, 64), strict=False).network_address)
    return str(address)


def page(body: bytes, language: str, status: int = 200) -> Response:
    """A page of ours that belongs to one reader: nobody keeps it."""
    headers = {**HEADERS, "Content-Language": language}
    return Response(body, status, media_type="text/html; charset=utf-8", headers=headers)


def plain(text: str, status: int) -> Response:
    """A line of text."""
    return PlainTextResponse(text + "\n", status, headers=HEADERS)


def later() -> Response:
    """The store cannot be used: never 'done' before it is, whoever asked will ask again."""
    answer = plain("This cannot be done right now. Please try again in a minute.", 503)
    answer.headers["Retry-After"] = "60"
    return answer
