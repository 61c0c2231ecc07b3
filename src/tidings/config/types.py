"""What values look like in YAML: each type reads its source text, and says in its error how to write it."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from email.utils import parseaddr
from typing import Annotated, Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfoNotFoundError

from pydantic import BeforeValidator, SecretStr, ValidationInfo

from tidings.model.cadence import load_zone, parse_duration
from tidings.model.text import Localised

_NAME = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_LANGUAGE = re.compile(r"[a-z]{2,3}(?:-[A-Z][a-z]{3})?(?:-[A-Z]{2})?")
_MISTAKEN = {"kz": "kk", "ua": "uk", "cn": "zh", "jp": "ja", "cz": "cs", "gr": "el", "dk": "da", "se": "sv", "uk": "uk"}
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]")


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    raise ValueError("expected one value here, not a list or a map")


def _bool(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if value in ("true", "false"):
        return bool(value == "true")
    raise ValueError(f"{value!r} is neither true nor false; write `true` or `false`")


def _int(value: Any) -> int:
    if isinstance(value, int):
        return value
    if not re.fullmatch(r"-?\d{1,9}", _text(value)):
        raise ValueError(f"{value!r} is no whole number; write it in digits, like 12")
    return int(value)


def _duration(value: Any) -> timedelta:
    return value if isinstance(value, timedelta) else parse_duration(_text(value))


def _line(value: Any) -> str:
    text = _text(value).strip()
    if _CONTROL.search(text):
        raise ValueError("this has a line break or a character that cannot be seen; keep it on one line")
    return text


def _address(value: Any) -> str:
    """`a@b` or `Name <a@b>`; a local part in ASCII, no line breaks (CVE-2026-1299)."""
    text = _line(value)
    name, address = parseaddr(text)
    local, at, domain = address.rpartition("@")
    whole = text == address or (text.endswith(f"<{address}>") and bool(name))
    if not (at and local and domain) or " " in address or not whole or text.count("@") - name.count("@") != 1:
        raise ValueError(f"{text!r} is no address; write it like news@example.org or News desk <news@example.org>")
    return text


def _plain_address(value: Any) -> str:
    text = _address(value)
    if "<" in text:
        raise ValueError(f"only the address stands here; write {parseaddr(text)[1]}")
    return text


def _colour(value: Any) -> str:
    text = _text(value)
    if not re.fullmatch(r"#[0-9a-fA-F]{6}", text):
        raise ValueError(f'{text!r} is no colour; write six digits in quotes, like "#0077b6"')
    return text.lower()


def _url(value: Any) -> str:
    text = _line(value)
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or " " in text:
        raise ValueError(f"{text!r} is no web address; write it like https://news.example.org/")
    return text


def _site_url(value: Any) -> str:
    text = _url(value)
    if "?" in text or "#" in text:
        raise ValueError(f"{text!r} has a query or a fragment; write the address of the site alone")
    return text if text.endswith("/") else text + "/"


def _language(value: Any) -> str:
    text = _text(value)
    if text.lower() in _MISTAKEN and _MISTAKEN[text.lower()] != text:
        raise ValueError(f"{text!r} is a country; the language is written {_MISTAKEN[text.lower()]!r}")
    if not _LANGUAGE.fullmatch(text):
        raise ValueError(f"{text!r} is no language tag; write it like en, ru, kk or kk-Cyrl (BCP 47)")
    return text


def _zone(value: Any) -> str:
    text = _text(value)
    try:
        load_zone(text)
    except ZoneInfoNotFoundError:
        raise ValueError(f"{text!r} is no time zone; write it like Asia/Almaty or Europe/Geneva or UTC") from None
    return text


def _name(value: Any) -> str:
    text = _text(value)
    if not _NAME.fullmatch(text) or len(text) > 60:
        raise ValueError(f"{text!r} is no name; use lower-case letters, digits and single hyphens")
    return text


def _localised(value: Any, info: ValidationInfo) -> Localised:
    """One string, or a map of the site's languages."""
    if isinstance(value, Localised):
        return value
    if isinstance(value, str):
        return Localised(_line(value))
    if not isinstance(value, dict) or not value:
        raise ValueError("write one text, or a map of languages: {en: News, ru: Новости}")
    languages: tuple[str, ...] = (info.context or {}).get("languages", ())
    for language in value:
        if languages and language not in languages:
            raise ValueError(f"{language!r} is not among site.languages ({', '.join(languages)})")
    texts = {language: _line(text) for language, text in value.items()}
    first = next((texts[language] for language in languages if language in texts), next(iter(texts.values())))
    return Localised(first, texts)


def _rate(value: Any) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*/\s*(s|m|h|d)", _text(value)) if not isinstance(value, float) else None
    if isinstance(value, float):
        return value
    if not match or float(match[1]) == 0:
        raise ValueError(f"{value!r} is no rate; write it like 50/s, 3000/m or 10000/h")
    return float(match[1]) / {"s": 1, "m": 60, "h": 3600, "d": 86400}[match[2]]


def _store(value: Any) -> Any:
    """Never repeats the address: it may hold a password."""
    text = value if isinstance(value, SecretStr) else _line(value)
    if isinstance(text, str) and not re.match(
        r"sqlite:///[^/?]|sqlite:////[^/?]|postgres(ql(\+psycopg)?)?://[^/\s]*/\S", text
    ):
        raise ValueError(
            "this is no address of a store (TIDINGS_STORE goes before it); write it like sqlite:///tidings.db or "
            "postgresql://user:password@host/name"
        )
    return text


def one_or_many(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


def _typed(reader: Callable[..., Any]) -> BeforeValidator:
    return BeforeValidator(reader)


Bool = Annotated[bool, _typed(_bool)]
Int = Annotated[int, _typed(_int)]
Duration = Annotated[timedelta, _typed(_duration)]
Line = Annotated[str, _typed(_line)]
Address = Annotated[str, _typed(_address)]
PlainAddress = Annotated[str, _typed(_plain_address)]
Colour = Annotated[str, _typed(_colour)]
Url = Annotated[str, _typed(_url)]
SiteUrl = Annotated[str, _typed(_site_url)]
Language = Annotated[str, _typed(_language)]
Zone = Annotated[str, _typed(_zone)]
Name = Annotated[str, _typed(_name)]
Text = Annotated[Localised, _typed(_localised)]
StoreAddress = Annotated[SecretStr, _typed(_store)]
Rate = Annotated[float, _typed(_rate)]
"""Messages a second."""
Names = Annotated[tuple[Name, ...], BeforeValidator(one_or_many)]
Languages = Annotated[tuple[Language, ...], BeforeValidator(one_or_many)]
