"""Notices to the team. Each is sent once, by mail and to a channel, as `notify` is set."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from tidings.model.edition import Edition, HoldReason
from tidings.model.plurals import count_noun
from tidings.render.i18n import load_catalogue
from tidings.render.team_notices import translate_hold, translate_notice
from tidings.store.delivery import ledger
from tidings.store.delivery.notices import Notice, add_notice, mark_sent, unsent_notices
from tidings.store.engine import Store


def add(connection: Connection, key: str, kind: str, text: str, now: datetime) -> bool:
    """Add a notice. Returns False if a notice with this key was added before."""
    return add_notice(connection, Notice(key, kind, text, now))


def add_held(connection: Connection, edition: Edition, now: datetime, language: str = "en") -> None:
    """Add a notice that an edition waits for a person. `language` is the newsroom's first language."""
    reasons = "; ".join(hold.detail for hold in edition.holds)
    if any(hold.reason is HoldReason.BREAKER for hold in edition.holds):
        text = (
            f"Edition {edition.name} is held: {reasons}.\n"
            f"To go on without believing this: tidings release {edition.name}\n"
            f"To take these readers off: tidings resolve {edition.name} --believe"
        )
        add(connection, f"held:{edition.id}:{now.isoformat()}", "held", text, now)
        return
    words = load_catalogue(language)
    name = edition.name
    reasons = "; ".join(translate_hold(hold.detail, language) for hold in edition.holds)
    lines = (
        words.gettext("Edition %(edition)s is held and was not sent: %(reasons)s.")
        % {"edition": name, "reasons": reasons},
        words.gettext("To see it: %(command)s") % {"command": f"tidings preview {name}"},
        words.gettext("Then run one of: %(commands)s")
        % {"commands": f"tidings release {name}, tidings recompose {name}, tidings cancel {name}"},
    )
    text = "\n".join(lines)
    add(connection, f"held:{edition.id}:{now.isoformat()}", "held", text, now)


def add_shortened(connection: Connection, edition: Edition, count: int, now: datetime) -> None:
    """Add a notice that items were shortened to 'read more', because mail programs clip longer mails."""
    items = f"{count_noun(count, 'item')} {'was' if count == 1 else 'were'}"
    text = f"Edition {edition.name}: {items} shortened to 'read more' to keep the mail under 102 KB."
    add(connection, f"shortened:{edition.id}", "shortened", text, now)


def send_notices(
    store: Store, now: datetime, *, to: Sequence[str], channel: str | None, title: str, language: str = "en"
) -> int:
    """Put all unsent notices into one mailing to `notify`. Returns the number of notices.

    A notice that cannot be delivered adds no further notice: otherwise a dead relay would fill the store.
    """
    with store.write() as connection:
        notices = unsent_notices(connection)
        if not notices:
            return 0
        mark_sent(connection, [notice.key for notice in notices], now)
        if not to and not channel:
            return 0
        texts = [translate_notice(notice.text, language) for notice in notices]
        first = texts[0].splitlines()[0]
        several = load_catalogue(language).ngettext(
            "%(count)s notice needs your attention", "%(count)s notices need your attention", len(notices)
        )
        subject = f"[{title}] {first if len(notices) == 1 else several % {'count': len(notices)}}"
        message = {"subject": subject, "text": "\n\n".join(texts)}
        key = f"notice:{notices[0].key}:{now.isoformat()}"
        common = {
            "mailing": ledger.get_or_create_mailing(connection, key, "notice", now=now, open=True),
            "purpose": "notice",
            "at": now,
        }
        rows: list[dict[str, Any]] = [
            {**common, "target": f"notify:{number}", "details": {"address": address, **message}}
            for number, address in enumerate(to, 1)
        ]
        if channel:
            rows.append({**common, "target": f"channel:{channel}", "channel": channel, "details": message})
        ledger.add_deliveries(connection, rows)
        return len(notices)
