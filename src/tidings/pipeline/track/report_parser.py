"""Parse one message that arrived at a return path: a bounce, a complaint, or neither.

Anybody can send us anything, so the parser reads only a part of a message, limits its nesting and never raises. The
result is only a claim: `incoming_mail` checks whether it is about our mail.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from email import message_from_bytes
from email.message import Message
from email.parser import BytesHeaderParser
from email.policy import Compat32
from html import unescape
from itertools import chain, takewhile
from typing import Any

from flufl.bounce import all_failures

from tidings.model.refusal import Effect, Refusal, RefusalKind, classify
from tidings.pipeline.track.report_fields import (
    PARSER_ERRORS,
    address_in,
    blocks,
    decoded,
    is_same_mailbox,
    mailboxes,
    raw_of,
    words,
)

MAX_BYTES = 1 << 20
"""Number of bytes to read. The report comes before the returned mail."""
_MAX_BOUNDARIES = 40
_MAX_PARTS = 200
_MAX_HEADER = 4_000
"""Most characters to read of a header field."""
_MAX_TEXT = 64 * 1024
_MAX_REASONS = 2_000
"""Most characters to read line by line."""
_MAX_LINES = 20_000
"""Mailman tries fifty patterns on each line. 1 MB of base64 has fewer lines."""
_NESTED = re.compile(rb"boundary\s*=|message/(?:rfc822|global)", re.IGNORECASE)
_COMPLAINTS = {"abuse", "fraud", "virus", "other", "opt-out", "opt-out-list", "miscategorized", ""}
"""Feedback-Type (RFC 5965 §7.3, RFC 6430 and the IANA registry): `not-spam` and `auth-failure` are not complaints."""

_SYSTEM_SENDERS = re.compile(
    r"mailer-?daemon|mail-?daemon|postmaster|daemon|mdaemon|mail[.-]?delivery(?:[.-]?\w+)?|microsoftexchange\w*|root"
    r"|bounces?|ndr",
    re.IGNORECASE,
)
_AUTO_REPLY_SUBJECTS = re.compile(
    r"\bout of (?:the )?office|\bautomatic(?:ally)? (?:generated )?repl|\bauto-?(?:matic )?(?:repl|respon|answer)"
    r"|\bon (?:vacation|leave|holiday)\b|\bvacation (?:reply|message)|\baway from (?:the|my) (?:office|desk)"
    r"|автоответ|автоматическ\w{1,5} ответ|вне офиса|нахожусь в отпуске|\bв отпуске\b|отсутств\w{1,5} на рабочем месте"
    r"|автожауап|автоматты жауап|демалыста"
    r"|رد تلقائي|خارج المكتب|الرد التلقائي|في إجازة"
    r"|réponse automatique|absence du bureau|abwesenheit|automatische antwort|respuesta automática|fuera de la oficina"
    r"|risposta automatica|fuori sede|resposta automática|ausência temporária|automatisch antwoord|afwezigheid"
    r"|automatyczna odpowiedź|autoodpowiedź|otomatik (?:yanıt|cevap)|automatická odpověď|automatikus válasz"
    r"|\bautosvar\b|automatisk[at]? svar|frånvaromeddelande|automaattinen vastaus|αυτόματη απάντηση|răspuns automat"
    r"|автоматична відповідь|автовідповідь"
    r"|自动(?:答复|回复)|自動(?:回覆|応答|返信)|不在通知|자동 ?(?:회신|응답)|부재중",
    re.IGNORECASE,
)
_COPY = re.compile(
    r"^-{2,} ?(?:(?:Below (?:this|the next) line is|This is|Included is|Attachment is) a copy|Original message"
    r"|Forwarded message|The header of the|Undelivered message|Message headers? follow)"
    r"|^[ \t]{0,8}(?:Message headers? follow|(?:Below|Here|Included) is a copy of|Original message headers?:"
    r"|(?:The )?original message follows|A copy of the original message"
    r"|(?:Received|Return-Path|DKIM-Signature|Message-ID|MIME-Version|List-[A-Z][A-Za-z-]{1,20}): )",
    re.IGNORECASE | re.MULTILINE,
)
"""Lines that begin the copy of the returned mail."""
_FOOTER = re.compile(r"(?<=\w)[^\w\n]{0,40}\n\s{0,40}[_*]{20,}[ \t]{0,8}$", re.MULTILINE)
"""The line above a footer, such as a virus scanner's."""
_OUR_HEAD = re.compile(
    r"^[^\S\n]{0,8}(?:Subj(?:ect)?|(?:mail )?from|Content-[a-z-]{2,30})[ \t]{0,8}:.*$", re.IGNORECASE | re.MULTILINE
)
"""The subject and sender of our own mail, and the head of a part, say nothing about the refusal."""
_TAG = re.compile(r"<(?:style|script|title)\b[^<>]{0,500}>[^<]{0,9000}|<[^<>]{0,1000}>", re.IGNORECASE)
_BREAK = re.compile(r"<(?:br|/?p|/?div|/?tr|/?li|/?h\d)\b[^<>]{0,1000}>", re.IGNORECASE)
_FORWARDED = re.compile(
    r"\((?:ultimately )?(?:generated|expanded|forwarded) from:?\s{1,4}<?([^\s<>()]{3,320})", re.IGNORECASE
)
"""The address whose mail goes to the address before the bracket, as Exim, Postfix and Sendmail write it."""
_UNCLEAR = {
    RefusalKind.UNKNOWN, RefusalKind.POLICY, RefusalKind.CONTENT, RefusalKind.SIZE, RefusalKind.SENDER,
    RefusalKind.REPUTATION,
}  # fmt: skip
"""Causes that words around the reason itself, such as a greeting, can feign."""
_PERMANENT_REPLY = re.compile(r"(?<![\d.])5\d\d[ -]{1,2}['\"<(#]?5\.[0-7]\.\d{1,3}(?![\d.])")
_PERMANENT_CODE = re.compile(r"(?<![\w.])#?(?:5\.[0-7]\.\d{1,3}(?!\.?\d)|5[0-7]\d[ -][^\d\s])")
_QUOTED_CODE = re.compile(r"(?:^|[:;>\"'(\[#])[ \t]{0,8}5[0-7]\d[ -][^\d\s]", re.MULTILINE)
"""A status code at the beginning of a line or after a sign, where a person would rarely write one."""
_REPLY_LINE = re.compile(r"^(?:>>>|<<<|Received >>>|)[ \t]{0,8}(5[0-7]\d[ -].{3,500})", re.MULTILINE)
"""The reply of the other server on a line of its own."""
_STATUS = re.compile(r"[245]\.\d{1,3}\.\d{1,3}")
_NAME = re.compile(r"[a-z-]{1,40}")
_DELAYED = "a delay: the mail server is still trying"

# This library logs a traceback for a message that it cannot parse.
logging.getLogger("flufl.bounce").disabled = True


@dataclass(frozen=True, slots=True)
class ParsedReport:
    """The parsed message. `reason` explains a message that is neither a bounce nor a complaint."""

    refusal: Refusal | None = None
    complaint: str = ""
    """Feedback-Type of a complaint."""
    recipient: str = ""
    """The address in the report. May be empty or masked."""
    reason: str = ""
    is_unread: bool = False
    """Whether a person must read it: it may be a bounce in an unknown format."""

    @property
    def is_feedback(self) -> bool:
        """Whether it is a bounce or a complaint."""
        return self.refusal is not None or bool(self.complaint)


class _ShortHeaders(Compat32):
    """Cuts header fields, because the library needs quadratic time for many parameters or addresses."""

    def header_source_parse(self, sourcelines: list[str]) -> tuple[str, Any]:
        """Return the name, and the value cut to the limit."""
        lines: list[str] = []
        left = _MAX_HEADER
        for line in sourcelines:
            lines.append(line[:left])
            left -= len(line)
            if left <= 0:
                break
        return super().header_source_parse(lines)


SHORT_HEADERS = _ShortHeaders()
"""The policy for untrusted messages."""


def parse_report(raw: bytes, reader: str = "", *, is_signed: bool = False) -> ParsedReport:
    """Parse a message. Never raises for its content.

    `reader` is the address that it must be about, if known. `is_signed`: it arrived at a signed return path, so a
    permanent code counts in any format.
    """
    raw = raw[:MAX_BYTES]
    if len(_NESTED.findall(raw)) > _MAX_BOUNDARIES:
        return ParsedReport(reason="nested too deeply to be a report", is_unread=True)
    try:
        return _parse(message_from_bytes(raw, policy=SHORT_HEADERS), reader, is_signed)
    except PARSER_ERRORS:
        return ParsedReport(reason="the message is damaged", is_unread=True)


def parse_head(raw: bytes) -> Message[Any, Any]:
    """Parse the header of a message. Never raises for its content."""
    try:
        return BytesHeaderParser(policy=SHORT_HEADERS).parsebytes(raw[:MAX_BYTES])
    except PARSER_ERRORS:
        return Message()


def is_automatic(head: Message[Any, Any]) -> bool:
    """Whether a program wrote the message: a report, a bounce or an automatic reply."""
    return head.get_content_type() == "multipart/report" or _is_from_mail_system(head) or _is_auto_reply(head)


def decoded_parts(raw: bytes) -> bytes:
    """Return the text of encoded parts (base64, quoted-printable), because they may contain a token (RFC 6522)."""
    raw = raw[:MAX_BYTES]
    if b"ontent-transfer-encoding" not in raw.lower() or len(_NESTED.findall(raw)) > _MAX_BOUNDARIES:
        return b""
    found: list[bytes] = []
    try:
        for number, part in enumerate(message_from_bytes(raw, policy=SHORT_HEADERS).walk()):
            encoding = str(part.get("Content-Transfer-Encoding", "")).strip().casefold()
            if encoding in ("base64", "quoted-printable") and part.get_content_maintype() in ("text", "message"):
                found.append(raw_of(part))
            if number > _MAX_PARTS:
                break
    except PARSER_ERRORS:
        pass
    return b"\n".join(found)[:MAX_BYTES]


def _parse(message: Message[Any, Any], reader: str, is_signed: bool) -> ParsedReport:
    parts = []
    for part in message.walk():
        parts.append(part)
        if len(parts) > _MAX_PARTS:
            return ParsedReport(reason="too many parts to be a report", is_unread=True)
    statuses = []
    for number, part in enumerate(parts):
        match part.get_content_type():
            case "message/feedback-report":
                return _parse_complaint(part, parts)
            case "message/delivery-status" | "message/global-delivery-status":
                statuses.append(part)
            case "text/plain" if number > 1 and raw_of(part)[:200].lstrip().lower().startswith(b"reporting-mta:"):
                # Some gateways convert the part to an attachment.
                statuses.append(part)
            case "message/disposition-notification" | "message/global-disposition-notification":
                return ParsedReport(reason="a read receipt")
    if (report := _parse_delivery_status(statuses, parts, reader)) is not None:
        return report
    if (report := _parse_microsoft_complaint(message, parts)) is not None:
        return report
    text = _first_text(parts)
    if _is_auto_reply(message) and not (is_signed and _PERMANENT_REPLY.search(text)):
        return ParsedReport(reason="an automatic reply")
    return _parse_other_bounce(message, parts, text, reader, is_signed)


def _parse_delivery_status(
    statuses: list[Message[Any, Any]], parts: list[Message[Any, Any]], reader: str
) -> ParsedReport | None:
    """Parse a bounce (RFC 3464; RFC 6533 for non-ASCII addresses).

    The worst status about the reader counts. A status about another address, such as one that they forward mail to, is
    at most soft.
    """
    failures: list[tuple[bool, Refusal, str]] = []
    is_delayed = is_success = False
    for fields in chain.from_iterable(blocks(raw_of(status)) for status in statuses):
        action = _first_name(fields.get("action", ""))
        if not action and "status" not in fields:
            continue
        is_delayed |= action == "delayed"
        is_success |= action in ("delivered", "relayed", "expanded")
        if action not in ("failed", ""):
            continue
        diagnostic = fields.get("diagnostic-code", "").partition(";")
        text = (diagnostic[2] or diagnostic[0]).strip() or _first_text(parts)
        # RFC 3464 §2.3.4: a comment may follow the code.
        status = _STATUS.search(fields.get("status", "")[:100])
        code = status[0] if status else ""
        if code.startswith("2."):
            continue
        original, final = (address_in(fields.get(name, "")) for name in ("original-recipient", "final-recipient"))
        named = final or original
        is_other = bool(reader and named) and not is_same_mailbox(named, reader)
        refusal = classify(text, status=code, recipient=named)
        if refusal.kind is RefusalKind.UNKNOWN and not diagnostic[0]:
            # Only the status code is meant for programs.
            refusal = replace(refusal, kind=classify("", status=code).kind)
        failures.append((is_other, refusal.at_most_soft() if is_other else refusal, original or final))
    if failures:
        order = list(Effect)
        _, refusal, recipient = min(failures, key=lambda failure: (failure[0], order.index(failure[1].effect)))
        return ParsedReport(refusal, recipient=recipient)
    if is_delayed:
        return ParsedReport(reason=_DELAYED)
    return ParsedReport(reason="a report of success") if is_success else None


def _first_name(field: str) -> str:
    """Return the keyword of a field, without a comment or parameters."""
    name = _NAME.match(field.strip().casefold())
    return name[0] if name else ""


def _parse_complaint(part: Message[Any, Any], parts: list[Message[Any, Any]]) -> ParsedReport:
    """Parse a complaint in ARF (RFC 5965), which CFBL (RFC 9477) uses too."""
    fields: dict[str, str] = {}
    for block in blocks(raw_of(part)):
        fields = {**block, **fields}
    kind = _first_name(fields.get("feedback-type", ""))
    if kind not in _COMPLAINTS:
        return ParsedReport(reason=f"a report that is not a complaint ({kind[:40]})")
    recipient = address_in(fields.get("original-rcpt-to", ""))
    if not recipient:
        returned = next((part for part in parts if part.get_content_type() == "message/rfc822"), None)
        inner = returned.get_payload() if returned is not None else None
        if isinstance(inner, list) and inner and isinstance(inner[0], Message):
            recipient = address_in(str(inner[0].get("To", "")))
    return ParsedReport(complaint=kind or "abuse", recipient=recipient)


def _parse_microsoft_complaint(message: Message[Any, Any], parts: list[Message[Any, Any]]) -> ParsedReport | None:
    """Parse a complaint from Microsoft's Junk Mail Reporting Program, which attaches the mail in its own format."""
    if address_in(str(message.get("From", ""))).casefold() != "staff@hotmail.com":
        return None
    for part in parts[1:]:
        if part.get("X-HmXmrOriginalRecipient"):
            return ParsedReport(complaint="abuse", recipient=address_in(str(part["X-HmXmrOriginalRecipient"])))
    return None


def _parse_other_bounce(
    message: Message[Any, Any], parts: list[Message[Any, Any]], text: str, reader: str, is_signed: bool
) -> ParsedReport:
    """Parse a bounce without a standard format (qmail, old Exchange, Exim, ...), by Mailman's rules.

    At a signed return path, a permanent code is enough.
    """
    line_count = sum(payload.count("\n") for part in parts if isinstance(payload := part.get_payload(), str))
    is_long = line_count > _MAX_LINES or sum(len(text) for text in _texts(parts)) > _MAX_TEXT
    temporary: set[bytes] = set()
    permanent: set[bytes] = set()
    if not is_long and _sender(message):
        temporary, permanent = map(set, all_failures(message))
    named = [decoded(address) for address in sorted(permanent or temporary)]
    if message.get("X-Failed-Recipients") and _is_from_mail_system(message):
        named.append(address_in(str(message["X-Failed-Recipients"])))
    recipient = reader or (named[0] if named else "")
    refusal = classify(text, recipient=recipient)
    whole = next(_texts(parts), "")
    if refusal.kind in _UNCLEAR and _is_gone_by_a_part(whole, recipient, refusal.kind):
        refusal = replace(refusal, kind=RefusalKind.GONE)
    if temporary and not permanent:
        # 'Could not be delivered for 4 hours.'
        return ParsedReport(reason=_DELAYED)
    is_system, names_reader = _is_from_mail_system(message), bool(reader) and reader.casefold() in text.casefold()
    is_quoted = is_system or _QUOTED_CODE.search(whole)
    has_code = bool(_PERMANENT_REPLY.search(text) or (is_quoted and _PERMANENT_CODE.search(text)))
    is_refusal = has_code or (names_reader and (is_system or any(_is_returned(part) for part in parts)))
    if not named and not (is_signed and refusal.kind is not RefusalKind.UNKNOWN and is_refusal):
        reason = "too long to be a bounce without a standard format" if is_long else "neither a bounce nor a complaint"
        return ParsedReport(reason=reason, is_unread=True)
    is_about_reader = not reader or not named or names_reader
    is_other = not is_about_reader and not any(is_same_mailbox(address, reader) for address in named)
    if is_other or _is_forwarded(text, reader):
        refusal = refusal.at_most_soft()
    return ParsedReport(refusal, recipient=named[0] if named else reader)


def _reason(text: str, address: str) -> str:
    """Return what follows the address at a line's beginning, up to an empty line: the form of qmail and Exim."""
    lines = text.splitlines()
    for number, line in enumerate(lines):
        begin = line.lstrip(' \t<"')
        if address and begin.casefold().startswith(address.casefold()):
            reason = takewhile(str.strip, [begin[len(address) :].lstrip('>": \t') or ":", *lines[number + 1 :]])
            return " ".join(" ".join(reason).split())[:_MAX_REASONS]
    return ""


def _is_forwarded(text: str, reader: str) -> bool:
    """Whether the refused address is another one, to which the reader's mail goes."""
    for found in _FORWARDED.finditer(text):
        goal = (text[max(0, found.start() - 400) : found.start()].split() or [""])[-1].strip("<>:")
        if is_same_mailbox(found[1], reader) and not is_same_mailbox(goal, reader):
            return True
    return False


def _is_gone_by_a_part(text: str, address: str, kind: RefusalKind) -> bool:
    """Whether the address's own reason, or the other server's reply, clearly says so where the whole text does not."""
    if classify(_reason(text, address), recipient=address).kind is RefusalKind.GONE:
        return True
    kinds = {classify(reply, recipient=address).kind for reply in _REPLY_LINE.findall(text[:_MAX_REASONS])}
    if RefusalKind.GONE in kinds and kinds <= {RefusalKind.GONE, RefusalKind.UNKNOWN}:
        return True
    lines = text[:_MAX_REASONS].splitlines() if kind is RefusalKind.UNKNOWN else []
    return any(classify(line, recipient=address).kind is RefusalKind.GONE for line in lines)


def _is_returned(part: Message[Any, Any]) -> bool:
    """Whether a part is our mail, or its header."""
    return part.get_content_type() in ("message/rfc822", "message/global", "text/rfc822-headers")


def _sender(message: Message[Any, Any]) -> str:
    return next(iter(mailboxes([message.get("From", "")])), "")


def _is_from_mail_system(message: Message[Any, Any]) -> bool:
    sender = _sender(message)
    return not sender or bool(_SYSTEM_SENDERS.fullmatch(sender.rpartition("@")[0] or sender))


def _is_auto_reply(message: Message[Any, Any]) -> bool:
    """Whether this is an out-of-office or similar reply (RFC 3834 §5 and other headers): the mail arrived.

    Mail systems mark their bounces as automatic replies too.
    """
    if _is_from_mail_system(message) or message.get("X-Failed-Recipients"):
        return False
    if str(message.get("Auto-Submitted", "no")).partition(";")[0].strip().casefold() not in ("no", ""):
        return True
    if any(message.get(name) for name in ("X-Autoreply", "X-Autorespond", "X-Auto-Reply-From", "X-Autogenerated")):
        return True
    if str(message.get("Precedence", "")).strip().casefold() in ("auto_reply", "bulk", "junk", "list"):
        return True
    return bool(_AUTO_REPLY_SUBJECTS.search(words(str(message.get("Subject", ""))[:1000])))


def _first_text(parts: list[Message[Any, Any]]) -> str:
    """Return the text for people, without the returned mail."""
    return " ".join(next(_texts(parts), "").split())[:2000]


def _texts(parts: list[Message[Any, Any]]) -> Iterator[str]:
    for part in parts:
        # A multipart without parts is damaged. Its text may still be read.
        if part.get_content_maintype() in ("text", "multipart") and not part.is_multipart():
            text = decoded(raw_of(part), part.get_content_charset()).replace("\r\n", "\n")
            if part.get_content_subtype() == "html":
                text = unescape(_TAG.sub(" ", _BREAK.sub("\n", text[:_MAX_TEXT])))
            copy = _COPY.search(text)
            text = text[: copy.start()] if copy else text
            footer = _FOOTER.search(text)
            yield _OUR_HEAD.sub("", text[: footer.start()] if footer else text)
        if part.get_content_maintype() == "message":
            return
