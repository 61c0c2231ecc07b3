"""Words of commands in a member's language: what the plan, the calendar, an explanation and a history say.

Only pages of the room show these. Lines of notices and reasons of held editions are in `team_notices`.
"""

from __future__ import annotations

from tidings.render.team_notices import REASONS, translate_hold, translate_line, translate_notice


def _(message: str) -> str:
    """Mark a message for the catalogues."""
    return message


_NOTES = (
    _("%(day)s is a holiday: %(name)s"),
    _("%(day)s is in skip_dates"),
    _("%(edition)s contained it, but it does not exist in %(languages)s."),
    _("%(edition)s contained it, but its topics (%(topics)s) are not among those they chose."),
    _("%(edition)s contained it, but they did not get this edition (another list or frequency)."),
    _("%(why)s, moved to %(moment)s"),
    _("%(story)s was never part of a mail to them."),
    _("%(title)s is under embargo until %(moment)s"),
    _("%(what)s is paused. Slots that come due meanwhile become one edition"),
    _("The schedule %(schedule)s is due on %(moment)s and takes it, once %(people)s approve it."),
    _("The schedule %(schedule)s is due on %(moment)s and takes it."),
    _("approved %(code)s"),
    _("cancelled"),
    _("composed"),
    _("edited: %(changes)s"),
    _("held: %(why)s"),
    _("if %(editions)s still waits then, its stories join this edition"),
    _("it counts from %(moment)s"),
    _("it goes on %(moment)s"),
    _("its cadence was changed to %(cadence)s"),
    _("its stories join it"),
    _("its time has passed"),
    _("left over from earlier editions: %(stories)s"),
    _("next: %(moment)s"),
    _("nothing new"),
    _("on request: %(command)s"),
    _("recomposed"),
    _("released"),
    _("sent back"),
    _("superseded by a newer slot"),
    _("waits for approval: %(people)s will be asked on %(moment)s"),
    _("would be skipped: %(why)s"),
)


def translate_words(text: str, language: str) -> str:
    """Return words of a command in a language, as far as they are known: a finding, a reason, a note of the plan."""
    if (whole := translate_line(text, tuple(reason for reason in REASONS if "; " in reason), language)) != text:
        return whole
    parts = "; ".join(_translate_part(part, language) for part in text.split("; "))
    return parts if parts != text else translate_hold(translate_notice(text, language), language)


def _translate_part(part: str, language: str) -> str:
    noted = translate_line(part, _NOTES, language, domain="room", inner={"why": translate_words})
    return noted if noted != part else translate_line(part, REASONS, language)
