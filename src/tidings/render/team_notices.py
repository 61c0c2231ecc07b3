"""Translate notices to the team into the first language of the newsroom.

Notices are stored in English, as commands print them. Before one is sent, each known line is translated. The values in
it stay unchanged: names, commands, replies of a mail host. An unknown line stays English.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

from tidings.render.i18n import load_catalogue


def _(message: str) -> str:
    """Mark a message for the catalogues."""
    return message


_LINES = (
    _(
        "%(count)s of %(present)s items of the source %(source)s vanished at once (%(examples)s, ...). Its items stay unchanged. If they were removed on purpose: %(command)s"  # noqa: E501
    ),
    _("%(who)s about edition %(edition)s: %(text)s"),
    _("%(who)s sent edition %(edition)s back: %(text)s"),
    _("A mail server refuses our mail because of its sender or content (%(kind)s): %(text)s"),
    _("A mail server refuses our mail for a reason that is not clear (%(kind)s): %(text)s"),
    _(
        "A message about delivery %(delivery)s came back, and Tidings cannot read it (%(reason)s). Nobody was removed. Please look at it."  # noqa: E501
    ),
    _("A message came back, and Tidings cannot read it (%(reason)s). Nobody was removed. Please look at it."),
    _(
        "A subscriber of the list %(list)s complained (%(kind)s) and gets no more mail from it. To see the mail: %(command)s."  # noqa: E501
    ),
    _("An item was refused until it is corrected. All other items were taken."),
    _("Deliveries failed: %(counts)s. To see them: %(command)s"),
    _("Edition %(edition)s is held: %(reasons)s."),
    _("If only this post is at fault: %(command)s, and the others go on."),
    _("Its posts wait. They go out after the mend."),
    _("Mail cannot be sent: %(reason)s"),
    _("More than three complaints in a thousand mails make providers move all of your mail to spam."),
    _("No subscriber was removed. The ledger shows these mails as returned: soft."),
    _("Pages and feeds are not up to date: %(cause)s"),
    _("The changed configuration has errors. The last good one stays in use. Correct this:"),
    _("The channel %(channel)s cannot post: %(reason)s."),
    _(
        "The newsroom's clock is ahead, at %(moment)s. Nothing is published or sent until then. If this machine's clock is right: %(command)s"  # noqa: E501
    ),
    _("The service had an error and continues: %(error)s"),
    _("The source %(source)s cannot be read (%(reason)s). Its items stay unchanged."),
    _("The source %(source)s cannot be read since %(moment)s: %(reason)s"),
    _("The source %(source)s has had nothing new since %(moment)s, much longer than usual."),
    _("The source %(source)s is no longer fetched: %(reason)s. Set another `url`, or delete the source."),
    _("To go on without believing this: %(command)s"),
    _("To take these readers off: %(command)s"),
    _("What to do: %(mend)s. No subscriber was removed. The ledger shows these mails as returned: soft."),
    _(
        "%(address)s may want to leave %(lists)s: a mail came to the address for leaving. Its sender is not proved, so nobody was removed. To remove them: %(command)s"  # noqa: E501
    ),
    _(
        "A mail from %(sender)s came to the address for leaving %(lists)s. No subscriber has this address; they may be on the list under another one. Please look at it and answer it."  # noqa: E501
    ),
    _(
        "A reader wants to leave the list %(list)s, but no list has this name, and they stay on others. If it was renamed, write %(line)s at the list. Subscriber number: %(number)s."  # noqa: E501
    ),
    _("Edition %(edition)s: 1 item was shortened to 'read more' to keep the mail under 102 KB."),
    _("Edition %(edition)s: %(count)s items were shortened to 'read more' to keep the mail under 102 KB."),
    _("From: %(sender)s"),
    _("Remove these people with %(command)s."),
    _("Send each with %(command)s, or drop it with %(other)s."),
    _("Send each with %(command)s. If it already went out, run %(other)s."),
    _("Subject: %(subject)s"),
    _("The bounce mailbox cannot be read, so bounces are not handled: %(reason)s"),
    _("Mails that the new server has forgotten may go out twice."),
    _("Most readers may have it."),
    _("The database failed over to another server, and %(names)s did not report what was sent."),
    _("The database failed over to a server that has forgotten what %(owner)s had sent (messages: %(count)s)."),
    _(
        "The database failed over to a server that may have forgotten what %(owner)s had sent (messages: at most %(count)s)."  # noqa: E501
    ),
    _("These may go out twice."),
    _("To prevent this: synchronous replication."),
    _("The hub %(hub)s does not accept pings about changed feeds: %(reason)s"),
    _("The newsroom was restored from a backup of %(moment)s. Nothing is sent a second time."),
    _("The newsroom's clock was at %(before)s. It is set back to %(after)s (%(zone)s)."),
    _("The next edition of each of these schedules is held: %(schedules)s."),
    _(
        "The story %(story)s was corrected (%(text)s). Its post in %(channel)s is unchanged: correct it there by hand if it has the mistake."  # noqa: E501
    ),
    _("The story %(story)s was withdrawn. Its post in %(channel)s is still online: delete it there by hand."),
    _("These editions are held, because they may already have gone out: %(editions)s."),
    _("These editions are held: %(editions)s."),
    _("Tidings does not know who unsubscribed after the backup."),
)
"""Whole lines of notices."""

REASONS = (
    _("%(count)s of %(needed)s approved it; waits for %(people)s"),
    _(
        "%(failed)s of %(tried)s mails at %(domain)s were refused or returned by %(sender)s, so nobody was removed: %(words)s"  # noqa: E501
    ),
    _("%(failed)s of %(tried)s mails were refused or returned by %(sender)s, so nobody was removed: %(words)s"),
    _("%(failed)s of %(tried)s mails were refused or returned, so nobody was removed: %(words)s"),
    _("%(story)s was withdrawn: %(text)s"),
    _("%(where)s contains %(words)s, which looks like a part of a draft"),
    _("%(who)s changed it; look at it, then release it"),
    _("%(who)s sent it back: %(text)s"),
    _("add alt to the item's images"),
    _("it cannot be rendered: %(reason)s"),
    _("its slot was %(hours)s hours ago, more than max_late allows"),
    _("replace it with the real text"),
    _(
        "the database failed over %(moment)s and has forgotten an edition of this schedule that was going out: some readers have it already"  # noqa: E501
    ),
    _("the link %(url)s in %(where)s is dead: %(reason)s"),
    _("the picture %(picture)s has no alt text"),
    _("waits for %(needed)s of %(people)s"),
    _("waits for %(people)s"),
    _("SpamAssassin gives %(points)s points, and %(most)s are too many: %(rules)s"),
    _("change its colours in the template"),
    _("change what these rules say"),
    _("choose a darker or lighter %(setting)s"),
    _("it was composed before that"),
    _("the newsroom was restored from a backup of %(moment)s, and it may have been sent since"),
    _(
        "the newsroom was restored from a backup of %(moment)s, and this schedule was due since then: the edition may have been sent already"  # noqa: E501
    ),
    _("the newsroom's clock was ahead, at %(moment)s, and %(who)s set it back"),
    _("the text %(text)s is %(first)s on %(second)s: the contrast is %(ratio)s of %(least)s"),
)
"""Reasons of a held edition."""

_COUNTS = (_("%(count)s in doubt"), _("%(count)s quarantined"), _("%(count)s rejected"))

_NAME = re.compile(r"%\((\w+)\)s")


def translate_notice(text: str, language: str) -> str:
    """Return the text of a notice, with known lines translated."""
    return "\n".join(translate_line(line, _LINES, language) for line in text.split("\n"))


def translate_hold(detail: str, language: str) -> str:
    """Translate the reason of a held edition. A prefix such as `digest (en): ` stays."""
    whole = translate_line(detail, REASONS, language)
    if whole != detail:
        return whole
    outlet, found, rest = detail.partition("): ")
    before = f"{outlet}{found}" if found and " (" in outlet else ""
    parts = (rest if before else detail).split("; ")
    return before + "; ".join(translate_line(part, REASONS, language) for part in parts)


def translate_line(
    line: str,
    messages: tuple[str, ...],
    language: str,
    *,
    domain: str = "tidings",
    inner: Mapping[str, Callable[[str, str], str]] | None = None,
) -> str:
    """Translate a line if it is one of these messages of a catalogue, else return it unchanged.

    `inner` names the values that are translated too, also in a line that stays English.
    """
    catalogue = load_catalogue(language, domain)
    translators = _INNER if inner is None else inner
    for message in messages:
        values = _find_values(message, line)
        if values is not None and ((translated := catalogue.gettext(message)) != message or language == "en"):
            known = {name: translators[name](value, language) for name, value in values.items() if name in translators}
            return translated % {**values, **known}
    return line


def _translate_counts(text: str, language: str) -> str:
    return ", ".join(translate_line(part, _COUNTS, language) for part in text.split(", "))


_INNER: Mapping[str, Callable[[str, str], str]] = {"counts": _translate_counts, "reasons": translate_hold}
"""Values that are translated too."""


def _find_values(message: str, line: str) -> dict[str, str] | None:
    """Return the values of a line for each `%(name)s` of a message, or None if the line does not match.

    A value ends at the first occurrence of the text after it. The search never backtracks, so that hostile values
    cannot slow it down.
    """
    literals = _split(message)
    name, before = "", 0
    values: dict[str, str] = {}
    for literal, following in literals:
        if not name:
            if not line.startswith(literal):
                return None
            begin = 0
        elif not following:
            begin = len(line) - len(literal)
            if begin < before or not line.endswith(literal):
                return None
        else:
            begin = line.find(literal, before)
            if begin < 0:
                return None
        if name:
            values[name] = line[before:begin]
        before, name = begin + len(literal), following
    return values if before == len(line) else None


def _split(message: str) -> Iterator[tuple[str, str]]:
    """Yield each piece of text with the name of the value after it. The last piece has none."""
    pieces = _NAME.split(message)
    yield from zip(pieces[::2], [*pieces[1::2], ""], strict=True)
