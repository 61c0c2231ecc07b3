"""The types of values in YAML. Each parses the source text, and its error explains how to write the value."""

from __future__ import annotations

import base64
import binascii
import re
import unicodedata
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from email.utils import parseaddr
from ipaddress import ip_address, ip_network
from typing import Annotated, Any
from urllib.parse import parse_qs, urlsplit
from zoneinfo import ZoneInfoNotFoundError, available_timezones

import idna
from pydantic import AfterValidator, AwareDatetime, BeforeValidator, SecretStr, ValidationInfo

from tidings.model.cadence import load_zone, parse_duration
from tidings.model.dates import check_year
from tidings.model.delivery import EventType
from tidings.model.errors import nearest
from tidings.model.text import Localised, TopicLabel

_NAME = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_LANGUAGE = re.compile(r"[a-z]{2,3}(?:-[A-Z][a-z]{3})?(?:-[A-Z]{2})?")
_MISTAKEN = {"kz": "kk", "ua": "uk", "cn": "zh", "jp": "ja", "cz": "cs", "gr": "el", "dk": "da", "by": "be", "tj": "tg"}
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]")
_LOCAL_PART = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")


class NestedValueError(ValueError):
    """A wrong value inside a larger one. `path` is the path from the larger value to the wrong one, or to its key."""

    def __init__(self, message: str, *path: str | int, key: bool = False) -> None:
        super().__init__(message)
        self.path = path
        self.key = key


class NotTextError(ValueError):
    """A list or a map in place of a single value."""


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    raise NotTextError("expected one value here, not a list or a map; write it after the colon, in the same line")


def _bool(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if value in ("true", "false"):
        return bool(value == "true")
    raise ValueError(f"{value!r} is neither true nor false; write `true` or `false`")


def _int(value: Any) -> int:
    if isinstance(value, int):
        return value
    if not re.fullmatch(r"-?[0-9]{1,9}", _text(value)):
        raise ValueError(f"{value!r} is not a whole number; write it in digits, like 12")
    return int(value)


def read_score(value: Any) -> float:
    if isinstance(value, float):
        return value
    if not re.fullmatch(r"[0-9]{1,3}(?:\.[0-9]{1,3})?", _text(value)):
        raise ValueError(f"{value!r} is not a score; write it like 5 or 4.5")
    return float(value)


def _duration(value: Any) -> timedelta:
    return value if isinstance(value, timedelta) else parse_duration(_text(value))


def _line(value: Any) -> str:
    text = _text(value).strip()
    if _CONTROL.search(text):
        raise ValueError("this has a line break or an invisible character; keep it on one line")
    return text


def _address(value: Any) -> str:
    """`a@b` or `Name <a@b>`; a local part in ASCII, no line breaks (CVE-2026-1299)."""
    text = _line(value)
    name, address = parseaddr(text)
    local, at, domain = address.rpartition("@")
    whole = text == address or (text.endswith(f"<{address}>") and bool(name))
    if "," in text and '"' not in text and text.endswith(">") and text.count("@") == 1:
        before, _, behind = text.partition("<")
        raise ValueError(f"a name with a comma needs quotes; write '\"{before.strip()}\" <{behind}'")
    parts = re.split(r"[\s,;]+", text)
    if len(parts) > 1 and all("@" in part for part in parts):
        raise ValueError(f"these are {len(parts)} addresses, and one is expected here; a list is [{', '.join(parts)}]")
    if (bare := re.fullmatch(r"([^<>@]*[^<>@\s])\s+([^<>@\s]+@[^<>@\s]+)", text)) is not None:
        raise ValueError(f"an address after a name needs < and >; write {bare[1]} <{bare[2]}>")
    if not (at and whole) or "\t" in text or text.count("@") - name.count("@") != 1 or not _is_domain(domain):
        raise ValueError(f"{text!r} is not an address; write it like news@example.org or News desk <news@example.org>")
    if not _LOCAL_PART.fullmatch(local) or len(local) > 64:
        fault = "; every server accepts only Latin letters, digits and . _ + - before the @"
        raise ValueError(f"{text!r} is not an address that everyone can write to{fault}")
    return text


def _is_domain(text: str) -> bool:
    """A host name, also with letters of other scripts (RFC 5890)."""
    try:
        encoded = idna.encode(text, uts46=True).decode()
    except (idna.IDNAError, UnicodeError):
        return False
    return all(re.fullmatch(r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?", label) for label in encoded.split("."))


def _plain_address(value: Any) -> str:
    text = _address(value)
    if "<" in text:
        raise ValueError(f"this takes an address without a name; write {parseaddr(text)[1]}")
    return text


def _colour(value: Any) -> str:
    text = _text(value)
    if not re.fullmatch(r"#[0-9a-fA-F]{6}", text):
        fault = "a # begins a comment, so the value is empty" if not text else f"{text!r} is not a colour"
        raise ValueError(f'{fault}; write six digits in quotes, like "#0077b6"')
    return text.lower()


def _url(value: Any) -> str:
    text = _line(value)
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        parts, host = urlsplit(""), ""
    right = parts.scheme in ("http", "https") and "@" not in parts.netloc and not re.search(r"\s", text)
    if not right or not (_is_domain(host) or _is_network(host)):
        raise ValueError(f"{text!r} is not a web address; write it like https://news.example.org/")
    return text


def _is_network(text: str) -> bool:
    try:
        ip_network(text, strict=False)
    except ValueError:
        return False
    return True


def _secret_url(value: SecretStr) -> SecretStr:
    """Check the address. Errors never show it, because anybody with the address can post."""
    try:
        _url(value.get_secret_value())
    except ValueError:
        raise ValueError("this is not a web address; write it like https://hooks.example.org/...") from None
    return value


def signing_key(secret: str) -> bytes:
    """Decode the secret of a Standard Webhook: `whsec_` and base64 of 24 to 64 bytes. Raises ValueError."""
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not 24 <= len(key) <= 64:
        raise ValueError(
            'this is not a signing secret; make one: python3 -c "import base64,os;'
            "print('whsec_'+base64.b64encode(os.urandom(32)).decode())\""
        )
    return key


def _signing_secret(value: SecretStr) -> SecretStr:
    signing_key(value.get_secret_value())
    return value


def _event_type(value: Any) -> EventType:
    text = _line(value)
    if text not in list(EventType):
        raise ValueError(f"{text!r} is not an event. {nearest(text, map(str, EventType))}")
    return EventType(text)


def _proxy(value: Any) -> str:
    text = _line(value)
    if not _is_network(text):
        raise ValueError(f"{text!r} is not an IP address; write it like 127.0.0.1 or 10.0.0.0/8")
    return text


def _ip_address(value: Any) -> str:
    text = _line(value)
    try:
        return str(ip_address(text.strip("[]")))
    except ValueError:
        raise ValueError(f"{text!r} is not an IP address; write it like 192.0.2.10") from None


def _listen_address(value: Any) -> str:
    """Read `127.0.0.1:9464` or `[::1]:9464`. Host names are refused: they would need a DNS lookup."""
    text = _line(value)
    host, colon, port = text.rpartition(":")
    mend = "write an IP address and a port, like 127.0.0.1:9464 or [::1]:9464"
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    try:
        version = ip_address(bare).version
    except ValueError:
        raise ValueError(f"{text!r} is not an address to listen on; {mend}") from None
    if not colon or (version == 6) != (bare != host):
        raise ValueError(f"{text!r} is not an address to listen on; {mend}")
    if not re.fullmatch(r"[0-9]{1,5}", port) or not 1 <= int(port) <= 65535:
        raise ValueError(f"{port!r} is not a port; {mend}")
    return text


def _store(value: SecretStr) -> SecretStr:
    """Check an address for SQLAlchemy. Errors never show it, because it may contain a password."""
    text = value.get_secret_value()
    mend = "write sqlite:///tidings.db or postgresql://host/database"
    if text.startswith("sqlite:"):
        if not re.fullmatch(r"sqlite:///[^?#\x00-\x1f]+", text) or text.endswith(("/", ":memory:")):
            raise ValueError("this names no file for SQLite; write sqlite:///tidings.db, with three slashes")
        return value
    try:
        parts = urlsplit(text)
        direct = parse_qs(parts.query, keep_blank_values=True).get("direct", [])
        for hosts in (parts.netloc.rpartition("@")[2], *direct):
            for host in hosts.split(","):  # a PostgreSQL address may name several hosts
                _ = urlsplit(f"//{host}").port
    except ValueError:
        raise ValueError(f"this is not the address of a database; {mend}") from None
    if parts.scheme == "postgres":
        raise ValueError("postgres:// is not accepted; write postgresql://")
    if parts.scheme not in ("postgresql", "postgresql+psycopg"):
        raise ValueError(f"this kind of database is not supported; {mend}")
    if len(parts.path) < 2:
        raise ValueError("the address names no database; write postgresql://host/database")
    if len(direct) > 1 or not all(direct) or any("/" in hosts or "@" in hosts for hosts in direct):
        raise ValueError("`direct` names only the hosts of PostgreSQL; write ?direct=db1:5432,db2:5432")
    return value


def _broker(value: SecretStr) -> SecretStr:
    """Check the address of a broker. Errors never show it, because it may contain a password."""
    try:
        parts = urlsplit(value.get_secret_value())
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host or parts.scheme not in ("amqp", "amqps", "redis", "rediss"):
        raise ValueError("this is not the address of a broker; write amqp://user@host/vhost (or redis://host/0)")
    return value


def _site_url(value: Any) -> str:
    text = _url(value)
    if "?" in text or "#" in text:
        raise ValueError(f"{text!r} has a query or a fragment; write only the address of the site")
    return text if text.endswith("/") else text + "/"


def _language(value: Any) -> str:
    text = _text(value)
    if text.lower() in _MISTAKEN and _MISTAKEN[text.lower()] != text:
        raise ValueError(f"{text!r} is a country; the language is written {_MISTAKEN[text.lower()]!r}")
    if not _LANGUAGE.fullmatch(text):
        meant = [_find_language(part) for part in re.split(r"[\s,;|/]+", text)]
        mend = ", ".join(filter(None, meant))
        mend = f"write {mend if len(meant) == 1 else f'[{mend}]'}" if all(meant) else _LANGUAGE_MEND
        raise ValueError(f"{text!r} is not a language tag; {mend}")
    return text


_LANGUAGE_MEND = "write it like en, ru, kk or kk-Cyrl (BCP 47)"


def _find_language(word: str) -> str:
    """Return the language tag that a word such as `EN`, `pt_BR`, `English` or `русский` most likely means, or ''."""
    from babel import Locale, UnknownLocaleError

    parts = word.replace("_", "-").lower().split("-")
    tag = "-".join([parts[0], *(part.title() if len(part) == 4 else part.upper() for part in parts[1:])])
    if _LANGUAGE.fullmatch(tag):
        try:
            Locale.parse(tag, sep="-")
        except (UnknownLocaleError, ValueError):
            return ""
        return tag
    for code in ("en", "ru", "kk", "ar", "fr", "es", "zh"):
        for other, name in {**Locale("en").languages, code: Locale(code).languages.get(code, "")}.items():
            if name.casefold() == word.casefold() and _LANGUAGE.fullmatch(other):
                return str(other)
    return ""


def is_language(text: str) -> bool:
    """Whether a text has the form of a language tag."""
    return _LANGUAGE.fullmatch(text) is not None


def is_name(text: str) -> bool:
    """Whether a text has the form of a name."""
    return _NAME.fullmatch(text) is not None


def _all_different(values: tuple[str, ...]) -> tuple[str, ...]:
    for number, value in enumerate(values):
        if value in values[:number]:
            raise NestedValueError(f"{value!r} is here twice; keep one", number)
    return values


def _zone(value: Any) -> str:
    text = _text(value)
    try:
        load_zone(text)
    except ZoneInfoNotFoundError:
        zones = find_likely_zones(text)
        mend = f"did you mean {' or '.join(zones)}?" if zones else "write continent and city, like Asia/Almaty"
        raise ValueError(f"{text!r} is not a time zone; {mend}") from None
    return text


_CITIES = {
    "astana": "Asia/Almaty",
    "beijing": "Asia/Shanghai",
    "北京": "Asia/Shanghai",
    "北京市": "Asia/Shanghai",
    "geneva": "Europe/Zurich",
    "delhi": "Asia/Kolkata",
    "new delhi": "Asia/Kolkata",
    "mumbai": "Asia/Kolkata",
    "islamabad": "Asia/Karachi",
    "ankara": "Europe/Istanbul",
    "hanoi": "Asia/Ho_Chi_Minh",
    "abuja": "Africa/Lagos",
    "rabat": "Africa/Casablanca",
    "brasilia": "America/Sao_Paulo",
    "washington": "America/New_York",
    "ottawa": "America/Toronto",
    "canberra": "Australia/Sydney",
}
"""Capitals and large cities without a time zone of their name."""


def find_likely_zones(text: str) -> list[str]:
    """Return up to three time zones of a city or country, named in English or in a language of the pages."""
    from babel import Locale
    from babel.core import get_global

    word = _fold(text.rpartition("/")[2])
    if re.fullmatch(r"(?:utc|gmt)? ?[+-][0-9:]+", word):
        return []
    if re.fullmatch("[A-Z]{3,5}", text):
        return _zones_by_abbreviation(text)
    places = {city: [zone] for city, zone in _CITIES.items()}
    for zone in sorted(available_timezones()):
        if "/" in zone and not zone.startswith("Etc/"):
            places.setdefault(_fold(zone.rpartition("/")[2]), []).append(zone)
    territory_zones = get_global("territory_zones")
    for language in ("en", "ru", "kk", "ar", "fr", "es", "zh"):
        locale = Locale(language)
        for zone, names in locale.time_zones.items():
            if "/" in zone and "city" in names:
                places.setdefault(_fold(names["city"]), []).append(zone)
        for territory, name in locale.territories.items():
            if territory in territory_zones:
                places.setdefault(_fold(name), []).extend(territory_zones[territory])
    if word not in places:
        close = get_close_matches(word, places, n=1, cutoff=0.8)
        word = close[0] if close else ""
    zones = dict.fromkeys(places.get(word, ()))
    return [zone for zone in zones if zone in available_timezones()][:3]


def _zones_by_abbreviation(letters: str) -> list[str]:
    """Return the largest zones by abbreviation, such as `MSK` or `CEST`, in one half of the year."""
    moments = [datetime(2026, month, 1, tzinfo=UTC) for month in (1, 7)]
    zones = []
    for name in sorted(available_timezones()):
        if "/" in name and not name.startswith(("Etc/", "SystemV/", "US/")):
            zone = load_zone(name)
            if any(moment.astimezone(zone).tzname() == letters for moment in moments):
                zones.append(name)
    # Zones with a well-known city come first.
    return sorted(zones, key=lambda zone: zone not in _KNOWN_ZONES)[:3]


_KNOWN_ZONES = (
    "America/Chicago",
    "America/Los_Angeles",
    "America/New_York",
    "Asia/Kolkata",
    "Asia/Shanghai",
    "Europe/Athens",
    "Europe/Berlin",
    "Europe/London",
    "Europe/Madrid",
    "Europe/Moscow",
    "Europe/Paris",
)


def _fold(name: str) -> str:
    """Return the name of a place without accents, capitals and underscores, for comparison."""
    letters = unicodedata.normalize("NFKD", name.replace("_", " ").replace("-", " ").casefold())
    return "".join(letter for letter in letters if not unicodedata.combining(letter)).strip()


def _name(value: Any) -> str:
    text = _text(value)
    if not _NAME.fullmatch(text) or len(text) > 60:
        rule = "use lower-case letters, digits and single hyphens"
        parts = [re.sub(r"[^a-z0-9]+", "-", _fold(part)).strip("-") for part in re.split("[,;،，、]", text)]
        is_clear = all(_NAME.fullmatch(part) and len(part) <= 60 for part in parts)
        meant = f"[{', '.join(parts)}]" if len(parts) > 1 else parts[0]
        raise ValueError(f"{text!r} is not a name; {f'write {meant}: ' if is_clear else ''}{rule}")
    return text


def _localised(value: Any, info: ValidationInfo) -> Localised:
    """Read one string, or a map of the site's languages."""
    if isinstance(value, Localised):
        return value
    if isinstance(value, str):
        return Localised(_line(value))
    if not isinstance(value, dict) or not value:
        raise ValueError("write one text, or a map of languages: {en: News, ru: Новости}")
    languages: tuple[str, ...] = (info.context or {}).get("languages", ())
    texts = {}
    for language, text in value.items():
        if languages and language not in languages and isinstance(text, dict):
            fault = f"{language!r} is not a language, and its value is not a text"
            raise NestedValueError(f"{fault}; write {{en: News, ru: Новости}}", language, key=True)
        if languages and language not in languages:
            fault = f"{language!r} is not among site.languages ({', '.join(languages)})"
            raise NestedValueError(f"{fault}; add it there, or take this text out", language, key=True)
        try:
            texts[language] = _line(text)
        except ValueError as error:
            raise NestedValueError("the text is missing; write it" if text is None else str(error), language) from None
    first = next((texts[language] for language in languages if language in texts), next(iter(texts.values())))
    return Localised(first, texts)


def _hashtag(value: Any) -> str:
    text = _line(value).removeprefix("#")
    is_plain = all(letter == "_" or unicodedata.category(letter)[0] in "LMN" for letter in text)
    if not is_plain or not re.search(r"[^\W\d_]", text):
        mend = "write letters and digits without spaces, like CleanWater"
        if re.fullmatch(r"[\d_]+", text):
            mend = "a network takes no tag without a letter, so add one"
        raise ValueError(f"{text!r} is not a hashtag; {mend}")
    return text


def _topic(value: Any, info: ValidationInfo) -> TopicLabel:
    """Read the name of a topic, or `{label: ..., hashtag: ...}`."""
    if isinstance(value, TopicLabel):
        return value
    if not isinstance(value, dict) or not {"label", "hashtag"} & value.keys():
        label = _localised(value, info)
        return TopicLabel(label.default, label.by_language)
    for key in value:
        if key not in ("label", "hashtag"):
            raise NestedValueError(f"unknown key {key!r}; write `label` and `hashtag`", key, key=True)
    if value.get("label") is None:
        raise ValueError("a topic needs a label; write {label: {en: Clean water}, hashtag: {en: CleanWater}}")
    label = _inside("label", value["label"], info)
    hashtag = _inside("hashtag", value["hashtag"], info) if value.get("hashtag") is not None else None
    if hashtag is not None:
        tags = {}
        for language, text in hashtag.by_language.items():
            try:
                tags[language] = _hashtag(text)
            except ValueError as error:
                raise NestedValueError(str(error), "hashtag", language) from None
        try:
            hashtag = Localised(_hashtag(hashtag.default), tags)
        except ValueError as error:
            raise NestedValueError(str(error), "hashtag") from None
    return TopicLabel(label.default, label.by_language, hashtag)


def _inside(key: str, value: Any, info: ValidationInfo) -> Localised:
    try:
        return _localised(value, info)
    except NestedValueError as error:
        raise NestedValueError(str(error), key, *error.path, key=error.key) from None
    except ValueError as error:
        raise NestedValueError(str(error), key) from None


def _hashtags(value: Any) -> Any:
    """Read `topics`, `none`, or the tags themselves."""
    if value in ("topics", "none"):
        return value
    if isinstance(value, (list, tuple)):
        tags = []
        for number, text in enumerate(value):
            try:
                tags.append(_hashtag(text))
            except ValueError as error:
                raise NestedValueError(str(error), number) from None
        return tuple(tags)
    shown = f"{value!r} is not known" if isinstance(value, str) else "a map is not allowed here"
    raise ValueError(f"{shown}; write `topics`, `none`, or a list: [CleanWater, UN]")


def _rate(value: Any) -> float:
    """Read messages a second."""
    if isinstance(value, float):
        return value
    match = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)\s*/\s*(s|m|h|d)", _text(value))
    if not match or float(match[1]) == 0:
        raise ValueError(f"{value!r} is not a rate; write it like 50/s, 3000/m or 10000/h")
    return float(match[1]) / {"s": 1, "m": 60, "h": 3600, "d": 86400}[match[2]]


def _domain(value: Any) -> str:
    """Return the domain in lower case, as in DNS (RFC 5890)."""
    text = _line(value).lower()
    if "." not in text or not _is_domain(text):
        raise ValueError(f"{text!r} is not a domain of addresses; write it like gmail.com")
    return idna.encode(text, uts46=True).decode()


def _sender_name(value: Any) -> str:
    text = _text(value)
    if not re.fullmatch(r"[a-z0-9]+(?:[.-][a-z0-9]+)*", text) or len(text) > 60:
        raise ValueError(f"{text!r} is not a name; use lower-case letters, digits and single hyphens or dots")
    return text


def _feedback_id(value: Any) -> str:
    text = _text(value)
    if not re.fullmatch(r"[A-Za-z0-9_-]{5,15}", text):
        raise ValueError(f"{text!r} is not a Feedback-ID; write 5 to 15 letters, digits, - or _")
    return text


def one_or_many(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


def _typed(reader: Callable[..., Any], written: Any = str) -> BeforeValidator:
    """Make a validated type. `written` is the type of the value in YAML, for the JSON Schema."""
    return BeforeValidator(reader, json_schema_input_type=written)


ONE_OR_MANY = BeforeValidator(one_or_many, json_schema_input_type=str | list[str])


Bool = Annotated[bool, _typed(_bool, bool)]
Int = Annotated[int, _typed(_int, int)]
Score = Annotated[float, _typed(read_score, float)]
Duration = Annotated[timedelta, _typed(_duration)]
Moment = Annotated[AwareDatetime, AfterValidator(check_year)]
"""Of JSON, not of YAML."""
Line = Annotated[str, _typed(_line, str | float)]
Address = Annotated[str, _typed(_address)]
PlainAddress = Annotated[str, _typed(_plain_address)]
Colour = Annotated[str, _typed(_colour)]
Url = Annotated[str, _typed(_url)]
SiteUrl = Annotated[str, _typed(_site_url)]
Language = Annotated[str, _typed(_language)]
Zone = Annotated[str, _typed(_zone)]
Name = Annotated[str, _typed(_name)]
Text = Annotated[Localised, _typed(_localised, str | float | dict[str, str | float])]
TopicText = Annotated[TopicLabel, _typed(_topic, str | float | dict[str, str | float | dict[str, str | float]])]
Hashtags = Annotated[str | tuple[str, ...], _typed(_hashtags, str | list[str])]
"""`topics`, `none`, or tags without #."""
StoreAddress = Annotated[SecretStr, AfterValidator(_store)]
BrokerAddress = Annotated[SecretStr, AfterValidator(_broker)]
Rate = Annotated[float, _typed(_rate)]
"""Messages a second."""
Domain = Annotated[str, _typed(_domain)]
"""As A-labels, in lower case."""
SenderName = Annotated[str, _typed(_sender_name)]
ListenAddress = Annotated[str, _typed(_listen_address)]
"""IP address and port, IPv6 in brackets."""
Names = Annotated[tuple[Name, ...], ONE_OR_MANY]
Languages = Annotated[tuple[Language, ...], ONE_OR_MANY, AfterValidator(_all_different)]
SenderNames = Annotated[tuple[Line, ...], ONE_OR_MANY, AfterValidator(_all_different)]
Proxies = Annotated[tuple[Annotated[str, _typed(_proxy)], ...], ONE_OR_MANY]
IpAddresses = Annotated[tuple[Annotated[str, _typed(_ip_address)], ...], ONE_OR_MANY]
FeedbackId = Annotated[str, _typed(_feedback_id)]
SigningSecret = Annotated[SecretStr, AfterValidator(_signing_secret)]
EventTypes = Annotated[tuple[Annotated[EventType, _typed(_event_type)], ...], ONE_OR_MANY]
SecretUrl = Annotated[SecretStr, AfterValidator(_secret_url)]
