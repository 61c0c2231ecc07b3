"""Whose fault is a refusal? One table for SMTP replies, mail APIs, bounces, complaints and providers' events.

Doubt counts in the reader's favour: only words or a code that clearly say "this mailbox does not exist" are `gone`.
Words about rate, time, quota, policy, the sender and DNS are looked for first, because servers send `550 5.1.1` for
these too. What nobody knows is `unknown`, and then nobody leaves.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from importlib.resources import files
from typing import NamedTuple

MAX_TEXT = 2000
"""Characters of a text that are read."""


class Fault(StrEnum):
    """Whose fault a refusal is."""

    MAILBOX = "mailbox"
    SERVER = "server"
    US = "us"
    UNKNOWN = "unknown"


class Effect(StrEnum):
    """What a refusal means for the reader, the worst first."""

    HARD = "hard"
    """No list writes to this address again."""
    SOFT = "soft"
    """It counts towards the limit of soft bounces."""
    BLOCKED = "blocked"
    """Nobody leaves; the newsroom is told."""


class RefusalKind(StrEnum):
    """What a refusal is about."""

    GONE = "gone"
    FULL = "full"
    DISABLED = "disabled"
    AWAY = "away"
    BUSY = "busy"
    LOGIN = "login"
    QUOTA = "quota"
    HELO = "helo"
    SENDER = "sender"
    DNS = "dns"
    REPUTATION = "reputation"
    RELAY = "relay"
    RATE = "rate"
    POLICY = "policy"
    CONTENT = "content"
    SIZE = "size"
    UNKNOWN = "unknown"

    @property
    def fault(self) -> Fault:
        """Whose fault it is."""
        if self in (RefusalKind.GONE, RefusalKind.FULL, RefusalKind.DISABLED):
            return Fault.MAILBOX
        if self in (RefusalKind.AWAY, RefusalKind.BUSY):
            return Fault.SERVER
        return Fault.UNKNOWN if self is RefusalKind.UNKNOWN else Fault.US

    @property
    def effect(self) -> Effect:
        """What it means for the reader."""
        if self is RefusalKind.GONE:
            return Effect.HARD
        return Effect.SOFT if self.fault in (Fault.MAILBOX, Fault.SERVER) else Effect.BLOCKED

    @property
    def waits(self) -> bool:
        """Whether it is about us as a sender: it meets every reader alike and passes once the cause is mended."""
        return self in _MENDS

    @property
    def is_about_account(self) -> bool:
        """Whether the very next message would be refused too, whoever it is for."""
        return self in (RefusalKind.LOGIN, RefusalKind.QUOTA)

    @property
    def mend(self) -> str:
        """What a person does about it; empty if there is nothing to do."""
        return _MENDS.get(self, "")


_MENDS = {
    RefusalKind.LOGIN: "check `security`, `username` and `password` of the sender under `mail:`",
    RefusalKind.QUOTA: "wait until the limit of the account is over, or raise it at the provider",
    RefusalKind.HELO: "give the mail host a full name that the DNS knows (its HELO name)",
    RefusalKind.SENDER: "verify the sender's address or domain at the mail host, and check `from` and `return_path`",
    RefusalKind.DNS: "correct the DNS of the sender: MX, SPF, DKIM, DMARC, and the name of its IP address",
    RefusalKind.REPUTATION: "ask the named blocklist or provider to remove the mail host's IP address or domain",
    RefusalKind.RELAY: "let the mail host relay for this machine: its login, or its list of permitted addresses",
    RefusalKind.RATE: "write `rate:` or `domain_rates:` under `mail:`; it is tried again by itself",
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """A refusal: its enhanced code (RFC 3463, may be empty), the text that came with it, and what it is about."""

    code: str
    text: str
    kind: RefusalKind

    @property
    def effect(self) -> Effect:
        """What it means for the reader."""
        return self.kind.effect

    def at_most_soft(self) -> Refusal:
        """Return it without the power to take anybody off at once."""
        return Refusal(self.code, self.text, RefusalKind.BUSY) if self.effect is Effect.HARD else self


_CODES = {
    "5.1.1": RefusalKind.GONE,
    "5.1.2": RefusalKind.GONE,
    "5.1.3": RefusalKind.GONE,
    "5.1.6": RefusalKind.GONE,
    "5.1.10": RefusalKind.GONE,
    "5.4.4": RefusalKind.GONE,
    "5.4.310": RefusalKind.GONE,
    "5.7.17": RefusalKind.GONE,
    "5.7.18": RefusalKind.GONE,
    "5.2.1": RefusalKind.DISABLED,
    "5.7.13": RefusalKind.DISABLED,
    "5.2.2": RefusalKind.FULL,
    "5.3.1": RefusalKind.FULL,
    "5.1.7": RefusalKind.SENDER,
    "5.1.8": RefusalKind.SENDER,
    "5.7.27": RefusalKind.SENDER,
    "5.2.3": RefusalKind.SIZE,
    "5.3.3": RefusalKind.POLICY,
    "5.3.4": RefusalKind.SIZE,
    "5.2.4": RefusalKind.POLICY,
    "5.7.0": RefusalKind.POLICY,
    "5.7.8": RefusalKind.LOGIN,
    "5.7.9": RefusalKind.POLICY,
    "5.7.20": RefusalKind.DNS,
    "5.7.21": RefusalKind.DNS,
    "5.7.22": RefusalKind.DNS,
    "5.7.23": RefusalKind.DNS,
    "5.7.24": RefusalKind.DNS,
    "5.7.25": RefusalKind.DNS,
    "5.7.26": RefusalKind.DNS,
    "5.7.515": RefusalKind.DNS,
    "5.7.708": RefusalKind.REPUTATION,
}
"""5.1.10: null MX or, at Microsoft, no such recipient. 5.4.310 and 5.7.5xx: Microsoft. 5.7.17, 5.7.18: RFC 7293."""
_SUBJECTS = {
    "4.2": RefusalKind.BUSY,
    "4.7": RefusalKind.RATE,
    "5.3": RefusalKind.AWAY,
    "5.4": RefusalKind.AWAY,
    "5.6": RefusalKind.CONTENT,
    "5.7": RefusalKind.POLICY,
}
"""For codes that `_CODES` does not have."""
_REPLIES = {
    "530": RefusalKind.LOGIN,
    "534": RefusalKind.LOGIN,
    "535": RefusalKind.LOGIN,
    "538": RefusalKind.LOGIN,
    "552": RefusalKind.FULL,
}
_ABOUT_COMMANDS = {"500", "501", "502", "503", "504"}
"""RFC 5321 §4.2.2: a command that is not understood, or not in its turn."""
_MORE_THAN_WORDS = {RefusalKind.FULL, RefusalKind.SENDER, RefusalKind.SIZE, RefusalKind.DNS, RefusalKind.LOGIN}
"""If the code says one of these, words such as 'invalid address' do not mean the reader's."""

_ADDRESS = re.compile(r"[^\s<>\"'(),;:\[\]]{1,64}@[^\s<>\"'(),;:\[\]]{1,255}")
_URL = re.compile(r"(?:https?://|www\.)[^\s<>\"]{1,300}", re.IGNORECASE)
_HOST = re.compile(
    r"(?<![\w.-])(?:[A-Za-z0-9_-]{1,63}\.){1,8}"
    r"(?:com|net|org|info|biz|edu|gov|int|example|test|invalid|local|lan|cloud|online|[a-z]{2})(?![\w-])"
)
_VERSION = re.compile(
    r"\b(?:exim|postfix|sendmail|haraka|zimbra|exchange|qmail|mdaemon|opensmtpd|dovecot|cyrus|mailenable|communigate"
    r"|kerio|merak|icewarp|smtpd?|server|agent|version|ver|build|release|v)[\s/:.v]{0,3}\d{1,4}(?:\.\d{1,5}){1,4}",
    re.IGNORECASE,
)
_IP = re.compile(r"(?<![\d.])\d{1,3}(?:\.\d{1,3}){3}(?![\d.])")
_ENHANCED_CODE = re.compile(
    r"(?:(?:^|[(#;:'\"<\[=,>{|/-]|\b(?:status|code|error|dsn|said|returned|reply|response|failed|smtp))\s{0,2}#?"
    r"|(?<![\d.])[45]\d\d[\s-]{0,2}['\"(<#]{0,2})([245]\.[0-7]\.\d{1,3})(?!\.?\d)",
    re.IGNORECASE,
)
_REPLY_CODE = re.compile(r"(?<![\d.:])([45][0-7]\d)(?=[\s-]{1,2}['\"#<(\w]|$|:)")
_ANY_CODE = re.compile(r"(?<![\w.])(?:[245]\.[0-7]\.\d{1,3}|[2456]\d\d)(?![\w.]*\d)")
_CJK = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]")
_WORD = re.compile(r"[^\W\d_]+")
_LETTERS = re.compile(r"[^\W\d_]{3}")
_GONE_AT = {
    "5.4.1": re.compile(r"recipient address rejected: access denied", re.IGNORECASE),
    "5.1.0": re.compile(r"^\W{0,9}address rejected\W{0,9}$", re.IGNORECASE),
}
"""The answers of Exchange Online and of Cisco's gateway for a recipient that their directory does not know."""
_STAGE = re.compile(
    r"(?:in reply to|after)(?: pipelined| the)? (?:(?P<end>end of)|(?P<rcpt>rcpt to)"
    r"|mail from|[eh][eh]lo|auth|starttls|initial connection)",
    re.IGNORECASE,
)
"""The command that was refused, as Postfix and Exim write it into their reports."""
_IN_REPLY = re.compile(r"\(?in reply to [a-z ]{2,20}command\)?", re.IGNORECASE)
_VAGUE = re.compile(r"mailbox(?: is)? (?:unavailable|not available)", re.IGNORECASE)
"""The text that RFC 5321 §4.2.3 gives for 550. After the message it may be about the content."""


@lru_cache(maxsize=1024)
def classify(text: str, *, status: str = "", stage: str = "", recipient: str = "") -> Refusal:
    """Classify a refusal by the remote server's words and code.

    `status` is the enhanced code of whoever reports it. It counts where the remote server gave no code of its own.
    `stage` is the SMTP command that was refused: MAIL, RCPT, DATA or `end of message`; empty if unknown. `recipient` is
    the reader's address: it may contain any word, so that it is removed, as are all addresses, hosts and versions.
    """
    text = text[:MAX_TEXT]
    plain = _VERSION.sub(" ", _IP.sub(" § ", _ADDRESS.sub(" ", _URL.sub(" ", text))))
    reply = _REPLY_CODE.search(plain)
    if not stage and (refused := _STAGE.search(plain)):
        stage = END_OF_MESSAGE if refused["end"] else "RCPT" if refused["rcpt"] else "MAIL"
    own = _own_code(plain)
    code = own or (status if _ENHANCED_CODE.fullmatch(status) else f"{reply[1][0]}.0.0" if reply else "")
    remote = plain[reply.start() :] if reply else plain
    words = _without_codes(_without_names(remote, recipient))
    if reply and not _LETTERS.search(words):
        words = _without_codes(_without_names(plain, recipient))
    is_permanent = (code or (reply[1] if reply else "5"))[:1] == "5"
    if code in _GONE_AT and _GONE_AT[code].search(words):
        return Refusal(code, text, RefusalKind.GONE)
    kind = _kind_by_words(words)
    by_code = _kind_by_code(code, reply[1] if reply else "", is_permanent)
    if kind is RefusalKind.GONE and code in _CODES and by_code in _MORE_THAN_WORDS:
        kind = by_code
    elif kind is RefusalKind.UNKNOWN:
        kind = by_code
        if kind is RefusalKind.GONE and reply and not own and _LETTERS.search(words):
            # The remote server gave other words, and the code is only what the reporter made of them.
            kind = RefusalKind.UNKNOWN
        if kind is RefusalKind.GONE and (stage == END_OF_MESSAGE or _says_more(words)):
            kind = RefusalKind.UNKNOWN
    if kind is RefusalKind.GONE:
        if not is_permanent:
            kind = RefusalKind.BUSY
        elif (stage == END_OF_MESSAGE and _VAGUE.search(words)) or (
            stage != "RCPT" and reply and reply[1] in _ABOUT_COMMANDS and not code.startswith("5.1.")
        ):
            kind = RefusalKind.UNKNOWN
        elif stage == "MAIL":
            kind = RefusalKind.SENDER
    return Refusal(code, text, kind)


END_OF_MESSAGE = "end of message"
"""The stage of a refusal after the whole message: it may be about the content."""


def _own_code(text: str) -> str:
    """Return the remote server's enhanced code, the most specific one; empty without."""
    codes = [match[1] for match in _ENHANCED_CODE.finditer(text)]
    specific = [code for code in codes if not code.endswith(".0")] or codes
    return specific[-1] if specific and specific[0].endswith(".0") else specific[0] if specific else ""


def _says_more(words: str) -> bool:
    """Whether the words say more than that this recipient is refused: they may mean something else than the code."""
    said = [word for word in _WORD.findall(_IN_REPLY.sub(" ", words).casefold()) if len(word) > 2]
    return (len(said) > 1 or _CJK.search(words) is not None) and not _table().plain.issuperset(said)


def _without_names(text: str, recipient: str) -> str:
    local, _, domain = recipient.rpartition("@")
    if local:
        name = re.escape(local)
        for pattern in (rf"[\"'<(\[]{name}[\"'>)\]]", rf"\b{name}\.\.\.", re.escape(domain)):
            text = re.sub(pattern, " ", text, flags=re.IGNORECASE)
    return _HOST.sub(" ", text)


def _without_codes(text: str) -> str:
    return " ".join(_ANY_CODE.sub(" ", text).split())


def _kind_by_words(text: str) -> RefusalKind:
    return next((kind for kind, pattern in _table().kinds if pattern.search(text)), RefusalKind.UNKNOWN)


def _kind_by_code(code: str, reply: str, is_permanent: bool) -> RefusalKind:
    if code in _CODES:
        return _CODES[code]
    if is_permanent and code[:2] not in ("5.", ""):
        return RefusalKind.UNKNOWN
    found = _SUBJECTS.get(code[:3]) or (_REPLIES.get(reply) if not code or code.endswith(".0.0") else None)
    return found or (RefusalKind.UNKNOWN if is_permanent else RefusalKind.BUSY)


class _Table(NamedTuple):
    """The compiled words, in the order in which they are searched."""

    kinds: tuple[tuple[RefusalKind, re.Pattern[str]], ...]
    plain: frozenset[str]
    """Words that say no more than the code beside them."""


@lru_cache
def _table() -> _Table:
    """Compile the table. Every gap is bounded, so that a pattern is linear in the text."""
    sections: list[tuple[str, list[str]]] = []
    for line in files("tidings.model").joinpath("refusal_words.txt").read_text("utf-8").splitlines():
        if line.startswith("["):
            sections.append((line.strip("[]"), []))
        elif line and not line.startswith("#"):
            sections[-1][1].append(line)
    names = dict(line.split(" = ", 1) for line in sections.pop()[1])
    plain = frozenset(" ".join(sections.pop()[1]).split())
    kinds = tuple(
        (RefusalKind(kind), re.compile("|".join(_pattern(wording, names) for wording in wordings), re.IGNORECASE))
        for kind, wordings in sections
    )
    return _Table(kinds, plain)


def _pattern(wording: str, names: Mapping[str, str]) -> str:
    for name, pattern in names.items():
        wording = wording.replace(name, pattern)
    wording = wording.replace(r"\w*", r"\w{0,20}").replace(" … ", r".{0,50}?(?<![^\W\d_])").replace("~", r"\b")
    return wording if _CJK.search(wording) else rf"(?<![^\W\d_]){wording}"
