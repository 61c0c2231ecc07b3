"""Read parts of a request within limits (body, form, languages, the client's network), and make private answers."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import parse_qs

from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response

MAX_FORM = 16_384
"""Largest form in bytes. All lists, topics and choices need much less."""
_MAX_FIELDS = 500
_MAX_BOUNDARY = 70
"""RFC 2046 §5.1.1."""
NO_STORE = {"Cache-Control": "no-store"}
PRIVATE = {**NO_STORE, "Referrer-Policy": "no-referrer", "X-Robots-Tag": "noindex"}
"""Headers for a page that is for one reader only."""
Fields = dict[str, list[str]]


async def read_body(
    request: Request,
    limit: int,
    consume: Callable[[bytes], None] | None = None,
    headers: dict[str, str] = PRIVATE,
) -> bytes | Response:
    """Return the body, or the response if it is larger than `limit` bytes or incomplete.

    With `consume`, each chunk is passed to it, and nothing is collected.
    """
    body, size = bytearray(), 0
    try:
        async for chunk in request.stream():
            size += len(chunk)
            if size > limit:
                return text_response("The request is too large.", 413, headers)
            if consume is None:
                body += chunk
            else:
                consume(chunk)
    except ClientDisconnect:
        return text_response("The request is not complete.", 400, headers)
    return bytes(body)


async def read_form(request: Request, limit: int = MAX_FORM, headers: dict[str, str] = PRIVATE) -> Fields | Response:
    """Return the fields of a form (application/x-www-form-urlencoded), or the response if it is not valid."""
    body = await read_body(request, limit, headers=headers)
    if isinstance(body, Response):
        return body
    try:
        return parse_qs(body.decode("ascii"), keep_blank_values=True, max_num_fields=_MAX_FIELDS)
    except (ValueError, UnicodeDecodeError):
        return text_response("This is not a valid form.", 400, headers)


@dataclass(frozen=True, slots=True)
class UploadedFile:
    """An uploaded file. `name` comes from the browser: show it, but never use it as a path."""

    name: str
    data: bytes


async def read_upload_form(
    request: Request, limit: int, headers: dict[str, str] = PRIVATE
) -> tuple[Fields, dict[str, UploadedFile]] | Response:
    """Return the fields and the files of a multipart form (RFC 7578), or the response if it is not valid.

    A file field without a name is left out: nobody chose a file.
    """
    body = await read_body(request, limit, headers=headers)
    if isinstance(body, Response):
        return body
    fields: Fields = {}
    files: dict[str, UploadedFile] = {}
    boundary = _parse_header(request.headers.get("content-type", ""), "boundary").encode("latin-1", "replace")
    parts = (b"\r\n" + body).split(b"\r\n--" + boundary) if 0 < len(boundary) <= _MAX_BOUNDARY else []
    if len(parts) < 2 or len(parts) > _MAX_FIELDS or not parts[-1].startswith(b"--"):
        return text_response("This is not a valid form.", 400, headers)
    for part in parts[1:-1]:
        head, _, content = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        # Browsers write names in UTF-8, with %22 for a quote (HTML, "multipart/form-data encoding algorithm").
        lines = head.decode("utf-8", "replace").split("\r\n")
        disposition = next((line for line in lines if line.lower().startswith("content-disposition:")), "")
        name = _parse_header(disposition, "name")
        if "filename=" not in disposition:
            fields.setdefault(name, []).append(content.decode("utf-8", "replace"))
        elif file_name := _parse_header(disposition, "filename"):
            files[name] = UploadedFile(file_name, content)
    return fields, files


def _parse_header(header: str, parameter: str) -> str:
    """Return a parameter of a header, without quotes."""
    for part in header.split(";")[1:]:
        name, _, value = part.strip().partition("=")
        if name.lower() == parameter:
            return value.strip('"').replace("%22", '"')
    return ""


def preferred_languages(request: Request) -> list[str]:
    """Return the browser's languages, best first, each also without its region (RFC 9110 §12.5.4)."""
    weighted: list[tuple[float, str]] = []
    for part in request.headers.get("accept-language", "")[:200].split(","):
        language, _, weight = part.strip().partition(";q=")
        try:
            weighted.append((-float(weight or 1), language.strip()))
        except ValueError:
            continue
    weighted.sort(key=lambda pair: pair[0])
    return [name for _, tag in weighted for name in (tag, tag.partition("-")[0])]


def client_network(request: Request) -> str:
    """Return the client's network for rate limits: an IPv4 address, or the /64 of an IPv6 one."""
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


def site_of(network: str) -> str:
    """Return the /48 of an IPv6 network, which one site may get (RFC 6177 §2). An IPv4 address is its own site."""
    try:
        address = ipaddress.ip_address(network)
    except ValueError:
        return network
    if isinstance(address, ipaddress.IPv4Address):
        return network
    return str(ipaddress.ip_network((address, 48), strict=False).network_address)


def page_response(body: bytes, language: str, status: int = 200, headers: dict[str, str] = PRIVATE) -> Response:
    """Return a page that no cache keeps."""
    headers = {**headers, "Content-Language": language}
    return Response(body, status, media_type="text/html; charset=utf-8", headers=headers)


def text_response(text: str, status: int, headers: dict[str, str] = PRIVATE) -> Response:
    """Return a line of plain text."""
    return PlainTextResponse(text + "\n", status, headers=headers)


def unavailable(headers: dict[str, str] = PRIVATE) -> Response:
    """Answer that the store cannot be used now, so that the reader does not think that the action is done."""
    text = "This cannot be done right now. Please try again in a minute."
    return text_response(text, 503, headers | {"Retry-After": "60"})
