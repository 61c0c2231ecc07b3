"""Words, dates and sizes; no catalogue misses a message."""

from __future__ import annotations

import ast
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from babel.messages.pofile import read_po

from tidings.render import i18n

ROOT = Path(__file__).parents[2]
LANGUAGES = ("ru", "kk", "ar")
OTHERS = ("fr", "es", "zh")
"""Languages of reader pages only: the comms room does not have them."""
NEW_YEAR_IN_ALMATY = datetime(2026, 12, 31, 20, 30, tzinfo=UTC)


CATALOGUES = [(language, domain) for language in LANGUAGES for domain in ("tidings", "room")]
CATALOGUES += [(language, "tidings") for language in OTHERS]


def _translations(language: str, domain: str) -> dict[str, list[str]]:
    """Return the translations of each message, in the order of the file; one for each plural form."""
    with (i18n.LOCALES / language / "LC_MESSAGES" / f"{domain}.po").open("rb") as file:
        messages = [message for message in read_po(file) if message.id]
    return {
        m.id if isinstance(m.id, str) else m.id[0]: [m.string] if isinstance(m.string, str) else [*m.string]
        for m in messages
    }


def _used(domain: str) -> set[str]:
    """Return every message of the templates and the code. The messages of the comms room have their own catalogue."""
    code = [*ROOT.glob("src/tidings/**/*.py"), *ROOT.glob("src/tidings/**/*.j2")]
    room = {path for path in code if "room" in path.relative_to(ROOT).parts}
    messages = {word for pair in i18n.KINDS.values() for word in pair} if domain == "tidings" else set()
    call = re.compile(r"""\b(?:_|gettext|ngettext)\(\s*("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')""")
    for path in room if domain == "room" else [*ROOT.glob("templates/**/*.j2"), *(set(code) - room)]:
        messages |= {ast.literal_eval(text) for text in call.findall(path.read_text("utf-8"))}
    file = "room/command_messages.txt" if domain == "room" else "notice_messages.txt"
    tables = i18n.read_messages(ROOT / "src/tidings/render" / file)
    return messages.union(*tables.values()) - {""}


@pytest.mark.parametrize(("language", "domain"), CATALOGUES)
def test_every_message_that_is_used_is_translated(language: str, domain: str) -> None:
    translations = _translations(language, domain)
    missing = {message for message in _used(domain) if not any(translations.get(message, ()))}
    assert not missing


@pytest.mark.parametrize(("language", "domain"), CATALOGUES)
def test_placeholders_survive_translation_and_blocks_are_sorted(language: str, domain: str) -> None:
    names = re.compile(r"%\(\w+\)[sd]")
    translations = _translations(language, domain)
    for message, forms in translations.items():
        assert all(set(names.findall(form)) <= set(names.findall(message)) for form in forms), message
        assert len(forms) > 1 or sorted(names.findall(message)) == sorted(names.findall(forms[0])), message
        assert all(forms), message
    assert list(translations) == sorted(translations)


@pytest.mark.parametrize(
    ("language", "count", "text"),
    [("en", 1, "picture"), ("en", 2, "pictures"),
     ("ru", 1, "фотография"), ("ru", 3, "фотографии"), ("ru", 11, "фотографий"),
     ("ru", 21, "фотография"), ("kk", 5, "сурет"), ("ar", 3, "صور"), ("ar", 11, "صورة"), ("ru-KZ", 22, "фотографии"),
     ("fr", 0, "image"), ("fr-CA", 2, "images"), ("es", 1, "imagen"), ("es", 0, "imágenes")],
)  # fmt: skip
def test_plurals_follow_the_language(language: str, count: int, text: str) -> None:
    form = i18n.load_catalogue(language).ngettext("%(count)s picture", "%(count)s pictures", count)
    assert form % {"count": count} == f"{count} {text}"


def test_dates_are_in_the_zone() -> None:
    assert i18n.format_date(NEW_YEAR_IN_ALMATY, "en", "Asia/Almaty") == "1 January 2027"
    assert i18n.format_date(NEW_YEAR_IN_ALMATY, "en-US", "UTC") == "December 31, 2026"
    assert i18n.format_date(NEW_YEAR_IN_ALMATY, "ru", "UTC") == "31 декабря 2026\u00a0г."
    assert "2027" in i18n.format_date(NEW_YEAR_IN_ALMATY, "kk", "Asia/Almaty")
    assert "қаңтар" in i18n.format_date(NEW_YEAR_IN_ALMATY, "kk", "Asia/Almaty")
    # Almaty is +05 since March 2024.
    assert i18n.format_datetime(NEW_YEAR_IN_ALMATY, "en", "Asia/Almaty") == "1 January 2027, 01:30"


def test_sizes_are_in_the_readers_words() -> None:
    assert i18n.format_size(1_234_567, "en") == "1.2 MB"
    assert i18n.format_size(999_600, "en") == "1 MB"
    assert i18n.format_size(45_300, "ru") == "45 кБ"
    assert i18n.format_size(12, "en") == "12 byte"


@pytest.mark.parametrize(
    ("language", "texts"),
    [
        ("en", ("en", "EN", "en_GB", "English", " ENGLISH ", "английский", "الإنجليزية")),
        ("ru", ("ru-RU", "Русский", "Russian", "орыс тілі", "russe")),
        ("kk", ("қазақ тілі", "казахский", "Kazakh")),
        ("pt-BR", ("pt_br",)),
        ("", ("xx", "German", "de", "", "pt", "Portuguese")),
    ],
)
def test_a_language_is_found_by_its_tag_or_a_name(language: str, texts: tuple[str, ...]) -> None:
    languages = ("en", "ru", "kk", "pt-BR", "pt-PT")
    assert {text: i18n.find_language(text, languages) for text in texts} == dict.fromkeys(texts, language)


def test_an_unknown_language_or_kind_is_no_error() -> None:
    assert i18n.load_catalogue("xx").gettext("Latest") == "Latest"
    assert i18n.text_direction("xx") == "ltr"
    assert i18n.text_direction("ar") == i18n.text_direction("ar-EG") == "rtl"
    assert i18n.text_direction("kk-Cyrl") == "ltr"
    assert i18n.kind_label("site-visit", "ru") == "Site visit"
    assert i18n.kind_label("press-release", "ru") == "Пресс-релизы"
    assert i18n.kind_label("press-release", "kk", 1) == "Баспасөз хабарламасы"
    assert i18n.language_name("kk") == "Қазақ тілі"
    assert i18n.language_name("xx") == "xx"


def test_missing_words_are_counted() -> None:
    used = len(_used("tidings"))
    for language in ("en", "en-GB", *LANGUAGES, *OTHERS, "ru-KZ", "zh-Hans", "fr-CH"):
        assert i18n.count_missing_words(language)[0] == 0, language
    missing, known = i18n.count_missing_words("de")
    assert missing == known and known >= used - 5


@pytest.mark.parametrize(
    ("topic", "shown"), [("sdg-4", "SDG 4"), ("clean-water", "Clean water"), ("youth", "The young"), ("вода", "Вода")]
)
def test_a_topic_without_a_label_is_written_out(topic: str, shown: str) -> None:
    assert i18n.topic_label(topic, {"youth": "The young"}) == shown


def test_french_signs_stand_after_a_space_that_does_not_break() -> None:
    for message, forms in _translations("fr", "tidings").items():
        for form in forms:
            assert not re.search(r" [:;!?»]|« ", form), message
            assert not re.search(r"[^\W\d][:;!?](?:\s|$)", form), message
    assert i18n.load_catalogue("fr").gettext(":") == "\u00a0:"


def test_french_punctuation_stays_beside_its_word() -> None:
    text = "Climat : « agir » dès maintenant !"
    assert i18n.keep_together(text, "fr") == "Climat\u00a0: «\u00a0agir\u00a0» dès maintenant\u00a0!"
    assert i18n.keep_together(text, "fr-CH") != text
    assert i18n.keep_together(text, "en") == text
