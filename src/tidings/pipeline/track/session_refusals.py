"""A refusal in the very session (550 to RCPT) says the same as a bounce that comes back an hour later."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime, timedelta

from tidings.pipeline.track.event import Event, SoftBounceLimit
from tidings.pipeline.track.inbound import refused
from tidings.pipeline.track.refusals import Meaning, refusal
from tidings.store.engine import Store
from tidings.store.people import feedback

_REPLY = re.compile(r"5\d\d .*\((?P<step>RCPT|end of message)\)", re.DOTALL)
_BACK = timedelta(days=2)


def look(store: Store, patience: SoftBounceLimit, now: datetime) -> int:
    """Act upon what was refused of late and not looked at yet; returns how many."""
    count = after = 0
    while True:
        with store.read() as connection:
            found = feedback.find_refused(connection, now - _BACK, after)
        if not found:
            return count
        for one in found:
            assert one.recipient.delivery is not None
            after = one.recipient.delivery
            match = _REPLY.fullmatch(one.reason)
            if match is None:
                continue
            meant = refusal("", one.reason)
            if match["step"] != "RCPT" and meant.meaning is Meaning.HARD:
                # After the message it is as likely what stands in it.
                meant = replace(meant, meaning=Meaning.BLOCKED)
            with store.write() as connection:
                event = Event(one.recipient, meant.code, one.reason, "smtp", now)
                count += refused(connection, event, meant, patience).what != "known"
