"""Guess the language of a text from its file name, and check whether its script fits that language."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from functools import cache

from babel import Locale, UnknownLocaleError

_SCRIPTS: dict[str, set[str]] = {}
for _script, _languages in {
    "CYRILLIC": "ru uk be bg mk ky tg mn tt ba cv os ce av kv udm sah tyv ab kk sr uz az tk bs",
    "LATIN": "en fr de es pt it nl sv da no nb nn fi is et lv lt pl cs sk sl hr bs sr hu ro sq mt ga cy gd eu ca "
    "gl oc lb tr az tk uz kk id ms jv su tl fil vi sw so om ha yo ig zu xh st tn rw rn mg ht eo af fo la "
    "mi sm to ku",
    "ARABIC": "ar fa ur ps ug sd ckb ku kk pa az ky",
    "HEBREW": "he yi",
    "GREEK": "el",
    "ARMENIAN": "hy",
    "GEORGIAN": "ka",
    "DEVANAGARI": "hi mr ne sa bho",
    "BENGALI": "bn as",
    "CJK": "zh ja ko yue",
    "HIRAGANA": "ja",
    "KATAKANA": "ja",
    "BOPOMOFO": "zh",
    "HANGUL": "ko",
    "THAI": "th",
    "LAO": "lo",
    "KHMER": "km",
    "MYANMAR": "my",
    "ETHIOPIC": "am ti",
    "TAMIL": "ta",
    "TELUGU": "te",
    "GUJARATI": "gu",
    "GURMUKHI": "pa",
    "SINHALA": "si",
    "TIBETAN": "bo dz",
    "MONGOLIAN": "mn",
}.items():
    for _language in _languages.split():
        _SCRIPTS.setdefault(_language, set()).add(_script)
_NAMED = {"Cyrl": "CYRILLIC", "Latn": "LATIN", "Arab": "ARABIC", "Mong": "MONGOLIAN", "Deva": "DEVANAGARI"}
_LEAST = 12
"""Least letters to judge a text: a title such as `COVID-19` is not enough."""
_SHORT_FORMS = {"kz": "kk", "kaz": "kk", "каз": "kk", "қаз": "kk", "ua": "uk", "укр": "uk", "eng": "en", "анг": "en"}


def find_foreign_script(language: str, title: str, body: str) -> str:
    """Return the script of a text, such as 'Cyrillic', if it cannot be of its language, else ''. `body` is HTML."""
    parts = re.split("[-_]", language)
    expected = {_NAMED[part.title()] for part in parts[1:] if part.title() in _NAMED} or _SCRIPTS.get(parts[0].lower())
    if not expected:
        return ""
    text = re.sub(r"<[^<>]*>|&\w+;|https?://\S+", " ", body[:20_000])
    for part, most in ((title, 0.0), (text[:4_000], 0.2)):
        counts = Counter(_script_of(letter) for letter in part if letter.isalpha())
        total = sum(counts.values())
        if total >= _LEAST and sum(counts[name] for name in expected) <= most * total:
            return counts.most_common(1)[0][0].capitalize()
    return ""


@cache
def _script_of(letter: str) -> str:
    return unicodedata.name(letter, "?").partition(" ")[0]


def is_language(code: str) -> bool:
    return code.lower() in _SCRIPTS


def guess_language(ending: str, known: tuple[str, ...]) -> str | None:
    """Return the site's language that a file's ending probably means: `ру`, `рус`, ` ru`, `Russian`, else None."""
    word = unicodedata.normalize("NFC", ending).strip(" _-()[].").casefold()
    languages = {language.casefold(): language for language in known}
    if word in languages or word in _SHORT_FORMS:
        return languages.get(_SHORT_FORMS.get(word, word))
    if len(word) < 2 or not word.isalpha():
        return None
    for language in known:
        if any(name.startswith(word) for name in _names_of(language)) and (len(word) > 2 or not word.isascii()):
            return language
    return None


@cache
def _names_of(language: str) -> frozenset[str]:
    """Return the names of a language in English, in Russian and in itself, in lower case."""
    try:
        locale = Locale.parse(language.replace("-", "_"))
        names = [locale.get_display_name(other) for other in ("en", "ru", "fr", "es", locale)]
    except (UnknownLocaleError, ValueError):
        return frozenset()
    return frozenset(name.casefold() for name in names if name)
