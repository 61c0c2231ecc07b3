"""Translate texts of commands into a member's language: plans, the calendar, explanations and histories.

Only pages of the room use these. Lines of notices and reasons of held editions are in `team_notices`.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

from babel.dates import get_day_names

from tidings.model.cadence.monthly import DAY_NAMES
from tidings.render.i18n import find_locale, format_date, format_moment, load_catalogue, read_messages
from tidings.render.team_notices import REASONS, translate_hold, translate_line, translate_notice

_MESSAGES = read_messages(Path(__file__).with_name("command_messages.txt"))
_BESIDE_LINE = re.compile(r"\b(?:a|an|and|as|for|if|in|instead|it|of|the|to|with)\b")
"""English words beside a line of a file. Such advice stays English as a whole, if it is not known."""
_NO_WORDS = re.compile(r"`[^`]*`|^write it like ")
_KEY = re.compile(r"([a-z_]+): (.+)", re.DOTALL)
"""A message with the key of the setting before it."""
_MOMENT = re.compile(r"(?:[A-Z][a-z]{2} )?(20\d\d-\d\d-\d\d)(?: (\d\d:\d\d))?")

_ANSWERS = (
    re.compile(
        r"5\.1\.[0-36]\b|(?:user|recipient|mailbox|address) (?:unknown|not found)|(?:no such|unknown) (?:user|mailbox)",
        re.IGNORECASE,
    ),
    re.compile(r"[45]\.2\.2\b|mailbox (?:is )?full|over quota", re.IGNORECASE),
    re.compile(r"\bHTTP 413\b|\b552\b|5\.3\.4\b|too (?:large|big)\b", re.IGNORECASE),
    re.compile(r"\bHTTP 429\b|rate.?limit|too many requests|throttl|\bquota\b", re.IGNORECASE),
    re.compile(
        r"\bHTTP 401\b|\b53[45]\b|unauthori[sz]ed|authentication fail"
        r"|(?:token|password|key|login)\b.{0,40}(?:expired|revoked|invalid|wrong)",
        re.IGNORECASE,
    ),
    re.compile(r"5\.7\.\d|\bspam|block(?:ed|list)|blacklist|reputation|\bdmarc\b", re.IGNORECASE),
    re.compile(r"\bHTTP 403\b|forbidden|permission|not allowed", re.IGNORECASE),
    re.compile(r"\bHTTP (?:404|410)\b|no longer (?:there|exists)|there is no room", re.IGNORECASE),
    re.compile(r"duplicate|identical", re.IGNORECASE),
    re.compile(r"too long|max(?:imum)? (?:length|characters)", re.IGNORECASE),
    re.compile(r"read back|came since to find ours|whether the post was|\bHTTP 2\d\d without ", re.IGNORECASE),
    re.compile(r"certificate|\b(?:TLS|SSL)\b", re.IGNORECASE),
    re.compile(r"timed? ?out|no answer|(?:did|does) not answer", re.IGNORECASE),
    re.compile(r"connection|\bconnect\b|unreachable|resolve|getaddrinfo|no address", re.IGNORECASE),
    re.compile(r"\bHTTP 5\d\d\b|unavailable|still busy|internal (?:server )?error", re.IGNORECASE),
    re.compile(r"\b4\.\d\.\d\b|(?<!HTTP )\b4[25][0-2]\b|greylist|try (?:again )?later", re.IGNORECASE),
    re.compile(r"\bHTTP 4\d\d\b|\b5[05]\d\b", re.IGNORECASE),
)
"""Patterns of what networks and mail hosts say in their own words, in the order of the messages `answers`."""


def explain_answer(text: str, language: str) -> str:
    """Say in a sentence what the answer of a network or a mail host means, or '' if its kind is not known."""
    kinds = zip(_MESSAGES["answers"], _ANSWERS, strict=True)
    found = next((message for message, pattern in kinds if pattern.search(text[:2_000])), "")
    return load_catalogue(language, "room").gettext(found) if found else ""


def translate_check(text: str, language: str) -> str:
    """Translate the message of a check or a refusal, as far as it is known."""
    is_line = _BESIDE_LINE.search(_NO_WORDS.sub("", text)) is None
    inner = {"why": translate_check, "known": translate_check, "moment": _tell_moment, "reason": _tell_address}
    inner |= {"line": _tell_either, "expected": _tell_either}
    keyed = _KEY.fullmatch(text)
    for name in ("checks", "values", "refusals", "explanations", "settings", *(["lines"] if is_line else [])):
        # The key of a setting stays as it is. Elsewhere it may be a part of the message.
        key, rest = (f"{keyed[1]}: ", keyed[2]) if keyed is not None and name == "settings" else ("", text)
        for before, part in dict.fromkeys([(key, rest), ("", text)]):
            found = translate_line(part, _MESSAGES[name], language, domain="room", inner=inner)
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
    noted = translate_line(part, _MESSAGES["notes"], language, domain="room", inner=inner)
    return noted if noted != part else translate_line(part, REASONS, language)


def _tell_either(text: str, language: str) -> str:
    """Translate the last `or` of a text: 09:00 or 17:30."""
    first, either, second = text.rpartition(" or ")
    words = {"first": first.removesuffix(","), "second": second}
    return load_catalogue(language, "room").gettext(_MESSAGES["either"][0]) % words if either else text


def _tell_address(text: str, language: str) -> str:
    """Translate what email-validator finds wrong with an address."""
    return translate_line(text, _MESSAGES["addresses"], language, domain="room")


def _tell_rule(text: str, language: str) -> str:
    """Translate a rule of a cadence, with the names of its days."""
    inner = {"days": _tell_days, "times": _tell_days, "moment": _tell_moment}
    return translate_line(text, _MESSAGES["rules"], language, domain="room", inner=inner)


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
