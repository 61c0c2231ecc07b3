"""Translate texts of commands into a member's language: plans, the calendar, explanations and histories.

Only pages of the room use these. Lines of notices and reasons of held editions are in `team_notices`.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

from babel.dates import get_day_names

from tidings.model.cadence.monthly import DAY_NAMES
from tidings.render.i18n import find_locale, format_date, format_moment, load_catalogue
from tidings.render.room.setting_words import EITHER, EXPLANATIONS, LINES, REFUSALS, SETTINGS
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
    _("a person dropped it"),
    _("approved %(code)s"),
    _("cancelled"),
    _("cancelled (%(who)s)"),
    _("changed by a person"),
    _("composed"),
    _("dropped %(story)s"),
    _("edited: %(changes)s"),
    _("every delivery has ended"),
    _("held: %(why)s"),
    _("if %(editions)s still waits then, its stories join this edition"),
    _("it counts from %(moment)s"),
    _("it goes on %(moment)s"),
    _("its cadence was changed to %(cadence)s"),
    _("its stories join it"),
    _("its stories join it (%(who)s)"),
    _("its time has passed"),
    _("lead %(story)s"),
    _("left out by a person"),
    _("left over from earlier editions: %(stories)s"),
    _("moved to %(moment)s"),
    _("next: %(moment)s"),
    _("note in %(language)s: %(text)s"),
    _("nothing new"),
    _("on request: %(command)s"),
    _("order %(stories)s"),
    _("outside %(window)s and %(why)s"),
    _("outside %(window)s"),
    _("recomposed"),
    _("released"),
    _("sent back"),
    _("subject in %(language)s: %(text)s"),
    _("superseded by a newer slot"),
    _("taken back"),
    _("waits for approval: %(people)s will be asked on %(moment)s"),
    _("would be skipped: %(why)s"),
)

_RULES = (
    _("every day at %(times)s"),
    _("every other %(days)s at %(times)s, from %(moment)s"),
    _("every month on %(days)s at %(times)s"),
    _("every week on the first working day at %(times)s"),
    _("every week on the last working day at %(times)s"),
    _("every %(days)s at %(times)s"),
    _("once, at %(moment)s"),
)
"""Rules of a cadence, as `plan` describes them. Settings follow after a comma, and the time zone in brackets."""

_CHECKS = (
    _("%(key)s: %(value)s is not a date"),
    _("%(key)s: %(value)s does not exist (%(why)s)"),
    _("%(key)s must be text"),
    _("%(key)s must be a text, not %(value)s"),
    _("%(key)s must be true or false, not %(value)s"),
    _("%(key)s must be a list of names"),
    _("%(value)s in %(key)s is not a plain name"),
    _("%(value)s is not a valid kind"),
    _("%(value)s is not a web address"),
    _("%(value)s is not an e-mail address"),
    _("%(value)s is not a phone number"),
    _("%(value)s is not one of the site's languages"),
    _("an entry of %(key)s has no %(part)s"),
    _("it ends before it starts"),
    _("the address %(address)s is left out"),
    _("the file does not begin with ---"),
    _("the front matter is not closed: there is no second ---"),
    _("the key %(key)s is here twice, first in line %(line)s"),
    _("the key %(key)s is not known, but it looks as if it keeps the story back or takes it down"),
    _("the text is written in %(script)s letters, but its language is %(language)s"),
    _("there is no file %(value)s in the content folder"),
    _("there is no file %(value)s in the content folder; the link leads to %(url)s"),
    _("there is no key %(key)s"),
    _("there is no title"),
    _("two versions of the text were merged and both are still here"),
    _("add alt: %(text)s that describes the picture"),
    _("begin with a line ---, then title: ..., then a line ---"),
    _("change starts or ends"),
    _("did you mean %(key)s? A key of your own must differ from it by more than two letters"),
    _("keep one of them"),
    _("name its language in the file's name (NAME.LANG.md) or in `language:`, if it is not %(language)s"),
    _("put a line --- after the last key; or the file is still being written"),
    _("put the file beside the item, or correct the name (capital letters count)"),
    _("put the file beside the item, or write the whole address"),
    _("use an http, https, mailto or tel address"),
    _("write %(key)s, or give a key of your own another name"),
    _("write %(line)s, or delete the line"),
    _("write %(line)s on one line"),
    _("write it as %(day)s or %(moment)s"),
    _("write one of %(languages)s, or add it to site.languages"),
    _("write the reason for readers: %(line)s"),
    _("write the whole address, as %(url)s"),
    _("write title: ... between the two ---"),
    _("%(value)s is not a monthly rule"),
    _("%(value)s lacks a day or a time"),
    _("%(value)s lacks a weekday or a time"),
    _("write it like `first mon 09:00`, `[1, 15] 09:00`, `last 09:00` or `last working day 09:00`"),
    _("write it like `first mon 09:00` or `[1, 15] 09:00`"),
    _("write it like fri 09:00 or [mon, thu] 09:00"),
)
"""Messages of the check of a story or a cadence, each with its remedy. More general messages come later."""
_BESIDE_LINE = re.compile(r"\b(?:a|an|and|as|for|if|in|instead|it|of|the|to|with)\b")
"""English words beside a line of a file. Such advice stays English as a whole, if it is not known."""
_NO_WORDS = re.compile(r"`[^`]*`|^write it like ")
_KEY = re.compile(r"([a-z_]+): (.+)", re.DOTALL)
"""A message with the key of the setting before it."""
_MOMENT = re.compile(r"(?:[A-Z][a-z]{2} )?(20\d\d-\d\d-\d\d)(?: (\d\d:\d\d))?")
_REFUSALS = (
    _("%(file)s is not a readable picture (%(error)s)"),
    _("%(value)s is not an e-mail address: %(reason)s"),
    _("Did you mean %(name)s?"),
    _("Known here: %(names)s"),
    _(
        "The next edition of this schedule is built on %(moment)s (%(zone)s) and takes these stories. Choose an earlier time, or cancel this one."  # noqa: E501
    ),
    _("The picture cannot be used: %(why)s."),
    _("The picture has %(size)s MB. Save it with at most 20 MB."),
    _("This schedule sends only at %(window)s."),
    _("This time has passed. Choose a later one."),
    _("did not confirm again in time. Only they can do that: a file does not confirm them"),
    _("has left this list and is not added again"),
    _("is in line %(line)s already"),
    _("is on the list already"),
    _("it has too many pixels"),
    _("it is an animation; save one still picture, or link a video"),
    _("save it again as JPEG or PNG"),
    _("left there, but agreed here later. Nothing is changed"),
    _("must not be mailed"),
    _("no schedule serves the frequency %(value)s. %(known)s"),
    _("the name contains an invisible character"),
    _("unknown language %(value)s. %(known)s"),
    _("unknown topic %(value)s. %(known)s"),
)
"""Reasons why a value of a form or table is refused."""
_ADDRESSES = (
    _("An email address must have an @-sign."),
    _("The email address contains invalid characters before the @-sign: %(characters)s."),
    _("The part after the @-sign contains invalid characters: %(characters)s."),
    _("The part after the @-sign is not valid. It should have a period."),
    _("There must be something after the @-sign."),
    _("There must be something before the @-sign."),
)
"""Messages of email-validator."""


def translate_check(text: str, language: str) -> str:
    """Translate the message of a check or a refusal, as far as it is known."""
    is_line = _BESIDE_LINE.search(_NO_WORDS.sub("", text)) is None
    inner = {"why": translate_check, "known": translate_check, "moment": _tell_moment, "reason": _tell_address}
    inner |= {"line": _tell_either, "expected": _tell_either}
    keyed = _KEY.fullmatch(text)
    for messages in (_CHECKS, _REFUSALS, REFUSALS, EXPLANATIONS, SETTINGS, *([LINES] if is_line else [])):
        # The key of a setting stays as it is. Elsewhere it may be a part of the message.
        key, rest = (f"{keyed[1]}: ", keyed[2]) if keyed is not None and messages is SETTINGS else ("", text)
        for before, part in dict.fromkeys([(key, rest), ("", text)]):
            found = translate_line(part, messages, language, domain="room", inner=inner)
            if found != part:
                return before + found
    return "; ".join(translate_words(part, language) for part in text.split("; "))


def translate_words(text: str, language: str) -> str:
    """Translate a text of a command, as far as it is known: a finding, a reason, a note of the plan."""
    if (whole := translate_line(text, tuple(reason for reason in REASONS if "; " in reason), language)) != text:
        return whole
    parts = "; ".join(_translate_part(part, language) for part in text.split("; "))
    return parts if parts != text else translate_hold(translate_notice(text, language), language)


def _translate_part(part: str, language: str) -> str:
    inner = {
        "why": translate_words,
        "moment": _tell_moment,
        "day": _tell_moment,
        "cadence": _tell_rule,
        "changes": _translate_part,
    }
    noted = translate_line(part, _NOTES, language, domain="room", inner=inner)
    return noted if noted != part else translate_line(part, REASONS, language)


def _tell_either(text: str, language: str) -> str:
    """Translate the last `or` of a text: 09:00 or 17:30."""
    first, either, second = text.rpartition(" or ")
    words = {"first": first.removesuffix(","), "second": second}
    return load_catalogue(language, "room").gettext(EITHER) % words if either else text


def _tell_address(text: str, language: str) -> str:
    """Translate what email-validator finds wrong with an address."""
    return translate_line(text, _ADDRESSES, language, domain="room")


def _tell_rule(text: str, language: str) -> str:
    """Translate a rule of a cadence, with the names of its days."""
    inner = {"days": _tell_days, "times": _tell_days, "moment": _tell_moment}
    return translate_line(text, _RULES, language, domain="room", inner=inner)


def _tell_days(text: str, language: str) -> str:
    """Translate the names of weekdays in a text: Monday, Wednesday and Friday."""
    if language == "en":
        return text
    names = get_day_names("wide", locale=find_locale(language))
    for number, name in enumerate(DAY_NAMES):
        text = text.replace(name, names[number])
    return text.replace(" and ", ", ").replace(" to ", "–")


def _tell_moment(text: str, language: str) -> str:
    """Format a local day or moment of a command as the room does: Fri 2026-12-04 09:00. Other texts stay."""
    found = _MOMENT.fullmatch(text)
    if found is None:
        return text
    moment = datetime.fromisoformat(f"{found[1]}T{found[2] or '00:00'}").replace(tzinfo=UTC)
    return format_moment(moment, language, "UTC") if found[2] else format_date(moment, language, "UTC")
