"""Receive feedback (bounces, complaints) in a running service: at an LMTP port, and from a mailbox."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Sequence

from sqlalchemy.exc import SQLAlchemyError

from tidings.config.bounces import BounceMailbox
from tidings.config.settings import Newsroom
from tidings.model.tokens import RETURN_TOKEN_LENGTH
from tidings.pipeline import notices
from tidings.pipeline.track import incoming_mail
from tidings.pipeline.track.events import FeedbackResult
from tidings.pipeline.track.leaving_mail import SHOWN, LeavingAddresses
from tidings.pipeline.track.unread_mail import show_unread
from tidings.runtime.bounces.imap import MailboxError, read_mailbox
from tidings.runtime.bounces.lmtp import LmtpListener
from tidings.runtime.newsroom import Runtime
from tidings.store.engine import describe_fault

log = logging.getLogger("tidings.bounces")
_RECHECK = 10.0
"""Seconds between two checks for a mailbox in the settings, while there is none."""


def receive_message(runtime: Runtime, raw: bytes, recipients: Sequence[str], via: str) -> FeedbackResult:
    """Handle one message to a return path, or to the address for unsubscribing by mail."""
    newsroom = runtime.newsroom
    result = incoming_mail.receive_message(
        runtime.store,
        runtime.keys,
        raw,
        recipients=recipients,
        rules=newsroom.bounces,
        via=via,
        now=runtime.now(),
        present_name=newsroom.current_list_name,
        leaving=_leaving_addresses(newsroom),
    )
    log.info("feedback by %s: %s%s", via, result.kind, f" ({result.reason})" if result.reason else "")
    return result


def _leaving_addresses(newsroom: Newsroom) -> LeavingAddresses:
    lists: dict[str, list[str]] = {}
    for name, settings in newsroom.lists.items():
        if settings.unsubscribe_mailto:
            lists.setdefault(settings.unsubscribe_mailto.casefold(), []).append(name)
    return LeavingAddresses(lists, newsroom.bounces.authority or "")


class FeedbackReceivers:
    """Threads of the service. They call `wake` when a notice may have to be sent."""

    def __init__(self, runtime: Runtime, wake: Callable[[], None]) -> None:
        self._runtime = runtime
        self._wake = wake
        self._stopping = threading.Event()
        self._listener: LmtpListener | None = None
        self._mailbox = threading.Thread(target=self._read_regularly, name="bounces", daemon=True)

    def open_port(self) -> str:
        """Open the LMTP port, if one is configured. Returns its address as text, or ''. Raises RefusedError."""
        address = self._runtime.newsroom.bounces.lmtp_address
        if address is None:
            return ""
        self._listener = LmtpListener(address, self._receiver("lmtp"), self._is_ours)
        self._listener.start()
        return str(self._runtime.newsroom.bounces.lmtp)

    def start(self) -> None:
        """Read the mailbox from now on. Its settings are read again each time."""
        self._mailbox.start()

    def stop(self, seconds: float) -> bool:
        """Stop. Returns whether everything stopped within `seconds`."""
        self._stopping.set()
        if self._listener is not None:
            self._listener.stop()
        if self._mailbox.ident is not None:
            self._mailbox.join(max(seconds, 0.1))
        return not self._mailbox.is_alive()

    def _receiver(self, via: str) -> Callable[[bytes, Sequence[str]], FeedbackResult]:
        def receive(raw: bytes, recipients: Sequence[str]) -> FeedbackResult:
            try:
                result = receive_message(self._runtime, raw, recipients, via)
            except SQLAlchemyError:
                raise  # the store: it comes again
            except Exception:
                # One message must never keep the others from being read.
                log.exception("a message could not be handled")
                now = self._runtime.now()
                result = show_unread(self._runtime.store, raw, None, "it is a fault of Tidings", now)
            if result.kind in ("complaint", "blocked", SHOWN):
                self._wake()
            return result

        return receive

    def _is_ours(self, address: str) -> bool:
        """Return whether an address is a sender's return path, with or without token, or for unsubscribing by mail."""
        newsroom = self._runtime.newsroom
        if address.casefold() in _leaving_addresses(newsroom).lists:
            return True
        local, _, domain = address.rpartition("@")
        before, plus, token = local.rpartition("+")
        bare = f"{before if plus and len(token) == RETURN_TOKEN_LENGTH else local}@{domain}".casefold()
        return bare in {sender.return_path.casefold() for sender in newsroom.mail if sender.return_path}

    def _read_regularly(self) -> None:
        problem = ""
        while not self._stopping.is_set():
            settings = self._runtime.newsroom.bounces.mailbox
            if settings is not None:
                problem = self._read_once(settings, problem)
            self._stopping.wait(_RECHECK if settings is None else settings.every.total_seconds())

    def _read_once(self, settings: BounceMailbox, last_problem: str) -> str:
        try:
            read_mailbox(self._runtime.store, settings, self._receiver("mailbox"), stopping=self._stopping.is_set)
        except (MailboxError, SQLAlchemyError) as error:
            problem = str(error) if isinstance(error, MailboxError) else describe_fault(error)
            if problem != last_problem:
                log.warning("the bounce mailbox cannot be read: %s", problem)
                self._add_notice(problem)
            return problem
        except Exception:
            # The thread continues: the mailbox is read again later.
            log.exception("reading the bounce mailbox failed")
            return "failed"
        if last_problem:
            log.info("the bounce mailbox can be read again")
        return ""

    def _add_notice(self, problem: str) -> None:
        now = self._runtime.now()
        text = f"The bounce mailbox cannot be read, so bounces are not handled: {problem}"
        with contextlib.suppress(SQLAlchemyError), self._runtime.store.write() as connection:
            notices.add(connection, f"bounce-mailbox:{now.date().isoformat()}", "failed", text, now)
        self._wake()
