"""Read bounces regularly from a mailbox by IMAP (RFC 3501).

The store remembers the last message that was read, because a person may open the mailbox too. Reports about our mails
are marked as read there; other messages stay unread for a person.
"""

from __future__ import annotations

import contextlib
import imaplib
import logging
import ssl
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from tidings.config.bounces import BounceMailbox
from tidings.pipeline.track.events import FeedbackResult
from tidings.pipeline.track.report_parser import MAX_BYTES
from tidings.store.engine import Store
from tidings.store.key_values import find_value, set_value

TIMEOUT = 20.0
"""Seconds for the connection and each command."""
log = logging.getLogger("tidings.bounces")

Receive = Callable[[bytes, Sequence[str]], FeedbackResult]


class MailboxError(Exception):
    """The mailbox cannot be read. The text says why, for people."""


def read_mailbox(
    store: Store,
    settings: BounceMailbox,
    receive: Receive,
    *,
    context: ssl.SSLContext | None = None,
    stopping: Callable[[], bool] = lambda: False,
) -> int:
    """Read the new messages. Returns their number. Raises MailboxError."""
    try:
        with _logged_in(settings, context or ssl.create_default_context()) as session:
            return _read(store, session, settings, receive, stopping)
    except ssl.SSLCertVerificationError as error:
        raise MailboxError(f"the certificate of {settings.host} is not valid: {error.verify_message}") from None
    except (imaplib.IMAP4.error, OSError, UnicodeError) as error:
        reason = str(error).removeprefix("b'").removesuffix("'") or "the connection broke off"
        raise MailboxError(f"{settings.host}: {reason[:200]}") from None


@contextlib.contextmanager
def _logged_in(settings: BounceMailbox, context: ssl.SSLContext) -> Iterator[imaplib.IMAP4]:
    if settings.security == "tls":
        session: imaplib.IMAP4 = imaplib.IMAP4_SSL(settings.host, settings.port, ssl_context=context, timeout=TIMEOUT)
    else:
        session = imaplib.IMAP4(settings.host, settings.port, timeout=TIMEOUT)
    try:
        if settings.security == "starttls":
            session.starttls(context)
        session.login(settings.username, settings.password.get_secret_value())
        yield session
    finally:
        with contextlib.suppress(imaplib.IMAP4.error, OSError):
            session.logout()


def _read(
    store: Store, session: imaplib.IMAP4, settings: BounceMailbox, receive: Receive, stopping: Callable[[], bool]
) -> int:
    folder = '"' + settings.folder.replace("\\", "\\\\").replace('"', '\\"') + '"'
    _check_answer(session.select(folder), f"the folder {settings.folder} cannot be opened")
    [validity] = session.response("UIDVALIDITY")[1]
    name = f"bounce_mailbox:{settings.username}@{settings.host}:{settings.port}/{settings.folder}"
    last = _find_last_read(store, name, int(validity or 0))
    numbers_found = _check_answer(session.uid("SEARCH", f"UID {last + 1}:*"), "the folder cannot be searched")
    # RFC 3501 §6.4.8: `n:*` includes the last message even if its number is below n.
    numbers = sorted(int(number) for number in (numbers_found[0] or b"").split() if int(number) > last)
    done = 0
    for number in numbers:
        if stopping():
            break
        raw = _fetch_message(session, number)
        if raw:
            result = receive(raw, ())
            done += 1
            if result.is_feedback:
                session.uid("STORE", str(number), "+FLAGS.SILENT", r"(\Seen)")
            else:
                log.info(
                    "a message in the bounce mailbox is not a bounce and stays unread for a person: %s", result.reason
                )
        _save_last_read(store, name, int(validity or 0), number)
    return done


def _fetch_message(session: imaplib.IMAP4, number: int) -> bytes:
    """Return the beginning of a message: the report comes before the returned mail. Empty if it was deleted."""
    answer = _check_answer(
        session.uid("FETCH", str(number), f"(BODY.PEEK[]<0.{MAX_BYTES}>)"), "a message cannot be fetched"
    )
    return next((bytes(part[1]) for part in answer if isinstance(part, tuple)), b"")


def _check_answer(answer: tuple[str, list[Any]], otherwise: str) -> list[Any]:
    status, data = answer
    if status != "OK":
        raise MailboxError(otherwise)
    return data


def _find_last_read(store: Store, name: str, validity: int) -> int:
    """Return the number of the last message read, or 0 if the mailbox was renumbered (RFC 3501 §2.3.1.1)."""
    with store.read() as connection:
        value = find_value(connection, name)
    known, _, number = (value or "0:0").partition(":")
    return int(number) if int(known) == validity else 0


def _save_last_read(store: Store, name: str, validity: int, number: int) -> None:
    with store.write() as connection:
        set_value(connection, name, f"{validity}:{number}")
