"""Whose fault is a refusal? One table for SMTP replies, mail APIs, bounces, complaints and providers' events.

Doubt counts in the reader's favour: only words or a code that clearly say "this mailbox does not exist" are `gone`.
Words about rate, time, quota, policy, the sender and DNS are looked for first, because servers send `550 5.1.1` for
these too. An unclear refusal is `unknown`, and removes nobody.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from importlib.resources import files
from itertools import pairwise
from typing import NamedTuple

MAX_TEXT = 2000
"""Most characters to read of a text."""


class Fault(StrEnum):
    """Whose fault a refusal is."""

    MAILBOX = "mailbox"
    SERVER = "server"
    US = "us"
    UNKNOWN = "unknown"


class Effect(StrEnum):
    """What a refusal means for the reader, the worst first."""

    HARD = "hard"
    """No list sends mail to this address again."""
    SOFT = "soft"
    """The refusal counts towards the limit of soft bounces."""
    BLOCKED = "blocked"
    """Nobody is removed; the team gets a notice."""


class RefusalKind(StrEnum):
    """The cause of a refusal."""

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
        """Whether it is about us as a sender. It then affects every reader, and ends when the cause is fixed."""
        return self in _MENDS

    @property
    def is_about_account(self) -> bool:
        """Whether the next message would be refused too, for any recipient."""
        return self in (RefusalKind.LOGIN, RefusalKind.QUOTA)

    @property
    def mend(self) -> str:
        """What a person can do about the refusal; '' if nothing."""
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
    """A refusal: its enhanced code (RFC 3463, may be empty), its text, and its cause."""

    code: str
    text: str
    kind: RefusalKind

    @property
    def effect(self) -> Effect:
        """What it means for the reader."""
        return self.kind.effect

    def at_most_soft(self) -> Refusal:
        """Return the refusal with an effect that removes nobody at once."""
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
"""Causes by the first two digits, for codes that are not in `_CODES`."""
_REPLIES = {
    "530": RefusalKind.LOGIN,
    "534": RefusalKind.LOGIN,
    "535": RefusalKind.LOGIN,
    "538": RefusalKind.LOGIN,
    "552": RefusalKind.FULL,
}
_ABOUT_COMMANDS = {"500", "501", "502", "503", "504"}
"""RFC 5321 §4.2.2: an unknown command, or a command in the wrong order."""
_MORE_THAN_WORDS = {RefusalKind.FULL, RefusalKind.SENDER, RefusalKind.SIZE, RefusalKind.DNS, RefusalKind.LOGIN}
"""With one of these causes by code, words such as 'invalid address' are not about the reader's address."""

_NO_ADDRESS = r"\s<>\"'(),;:\[\]：，；。、（）「」【】《》“”"
_ADDRESS = re.compile(rf"[^{_NO_ADDRESS}]{{1,64}}@(?:(?!\.\.)[^{_NO_ADDRESS}]){{1,255}}")
_CONTACT = re.compile(r"(?:post|host|web)master|abuse|support|help|admin|info|contact|service|security", re.IGNORECASE)
"""Addresses to write to. Another address beside a refusal may be the one that it is about."""
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
    r"|(?<![\d.])[45]\d\d[\s-]{0,2}(?:[a-z_]{2,12} )?['\"(<#]{0,2})([245]\.[0-7]\.\d{1,3})(?!\.?\d)",
    re.IGNORECASE,
)
_REPLY_CODE = re.compile(r"(?<![\d.:])([45][0-7]\d)(?=[\s-]{1,3}['\"#<(\w@]|\s{0,9}$|:)")
_ANY_CODE = re.compile(r"(?<![\w.])(?<![A-Za-z]-)(?:[245]\.[0-7]\.\d{1,3}|[2456]\d\d)(?![\w.]*\d)")
_CJK = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]")
_WORD = re.compile(r"[^\W\d_]+")
_UNDERSCORE = re.compile(r"(?<=[^\W\d_]{2})_(?=[^\W\d_]{2})")
"""As in BAD_RECIPIENT."""
_LETTERS = re.compile(r"[^\W\d_]{3}")
_GONE_AT = {
    "5.4.1": re.compile(r"recipient address rejected: access denied", re.IGNORECASE),
    "5.1.0": re.compile(r"^\W{0,9}address rejected\W{0,9}$", re.IGNORECASE),
}
"""The answers of Exchange Online and of Cisco's gateway for a recipient that their directory does not know."""
_FILTERED = re.compile(r"(?:^|: {1,9}): user unknown$", re.IGNORECASE)
"""KDDI's answer for a mail that the reader's own filter refuses. An unknown user is named before the colon."""
_STAGE = re.compile(
    r"(?:in reply to|after)(?: pipelined| the)? (?:(?P<end>end of)|(?P<rcpt>rcpt to)"
    r"|mail from|[eh][eh]lo|auth|starttls|initial connection)",
    re.IGNORECASE,
)
"""The command that was refused, as Postfix and Exim write it into their reports."""
_BESIDE = re.compile(
    r",? relay=\[?[\w.:-]{0,80}\]?|;? from=<[^>]{0,300}> to=<[^>]{0,300}> proto=\w{1,9} helo=<[^>]{0,255}>"
    r"|\breturn(?:ed|ing)?(?: mail)? to (?:the )?sender\b"
    r"|the following recipients?(?:\(s\))? could not be reached:?"
    r"|\b(?:dear|hello|hi|sehr geehrter?|lieber|cher|chère|estimado|gentile|caro|prezado|уважаемый|beste|kära"
    r"|szanowny) "
    r"(?:sender|customer|user|mailer|friend|absender|expéditeur|remitente|mittente|remetente|отправитель|afzender"
    r"|avsändare|nadawco)\b|尊敬的(?:发件人|用户)"
    r"|this message is in mime format|: message contains \[\d{1,3}\] file attachments",
    re.IGNORECASE,
)
"""What says nothing about the refusal: what Postfix adds for its log, and greetings."""
_IN_REPLY = re.compile(
    r"\(?in reply to [a-z ]{2,20}command\)?|\((?:MAIL|RCPT|DATA|end of message)\)\s{0,9}$", re.IGNORECASE
)
"""Where a report, or our own sender, names that command: not words of the remote server."""


@lru_cache(maxsize=1024)
def classify(text: str, *, status: str = "", stage: str = "", recipient: str = "") -> Refusal:
    """Classify a refusal by the remote server's words and code.

    `status` is the enhanced code of the reporting server. It is used if the remote server gave no code. `stage` is the
    SMTP command that was refused: MAIL, RCPT, DATA or `end of message`; empty if unknown. `recipient` is the reader's
    address: it may contain any word, so that it is removed, as are all addresses, hosts and versions.
    """
    text = text[:MAX_TEXT]
    named = _URL.sub(" ", _BESIDE.sub(" ", text))
    if recipient:
        named = re.sub(rf"(?<![a-z0-9._+-]){re.escape(recipient)}(?![\w-]|\.\w)", " @ ", named, flags=re.IGNORECASE)
    others = [found[0] for found in _ADDRESS.finditer(named)] if recipient else []
    names_another = "@" not in _ADDRESS.sub("", named) and any(not _CONTACT.match(address) for address in others)
    named = _ADDRESS.sub(" " if recipient else " @ ", named)
    plain = _VERSION.sub(" ", _IP.sub(" § ", named))
    reply = _REPLY_CODE.search(plain)
    if not stage and (refused := _STAGE.search(plain)):
        stage = END_OF_MESSAGE if refused["end"] else "RCPT" if refused["rcpt"] else "MAIL"
    own = _own_code(plain)
    code = own or (status if _ENHANCED_CODE.fullmatch(status) else f"{reply[1][0]}.0.0" if reply else "")
    remote = plain[reply.start() :] if reply else plain
    # Beside another address, a name may be that one's.
    name = recipient if not others else ""
    words = _without_codes(_without_names(_IN_REPLY.sub(" ", remote), recipient, name))
    if reply and not _LETTERS.search(words):
        words = _without_codes(_without_names(plain, recipient, name))
    is_permanent = (own or (reply[1] if reply else code or "5"))[:1] == "5"
    if code in _GONE_AT and _GONE_AT[code].search(words):
        return Refusal(code, text, RefusalKind.GONE)
    if _FILTERED.search(words):
        return Refusal(code, text, RefusalKind.POLICY)
    kind = _kind_by_words(words)
    by_code = _kind_by_code(code, reply[1] if reply else "", is_permanent)
    # After the whole message, only a phrase or the remote server's own code is about the mailbox.
    is_about_recipient = stage != END_OF_MESSAGE or _CODES.get(own) is RefusalKind.GONE
    says_more = code in _CODES and by_code in _MORE_THAN_WORDS
    if kind is RefusalKind.GONE and says_more:
        kind = by_code
    elif kind is RefusalKind.UNKNOWN and is_about_recipient and not says_more:
        # A reporter gives 5.1.1 also for what the remote server says of our domain.
        says_recipient = by_code is RefusalKind.GONE and (own or not reply or code != "5.1.1")
        subjects = _MAILBOX_OR_DOMAIN if says_recipient else _MAILBOX
        kind = _state_of_mailbox(words, subjects, is_certain=bool(says_recipient))
    if kind is RefusalKind.UNKNOWN:
        kind = by_code
        # Other words than the code, or the words of the remote server and a code that the reporter made of them.
        is_doubtful = _has_unknown_word(words) or (reply and not own and _LETTERS.search(words))
        if kind is RefusalKind.GONE and (stage == END_OF_MESSAGE or is_doubtful):
            kind = RefusalKind.UNKNOWN
    if kind is RefusalKind.DISABLED and stage == "MAIL":
        kind = RefusalKind.SENDER
    if kind is RefusalKind.GONE:
        if names_another:
            kind = RefusalKind.UNKNOWN
        elif not is_permanent:
            kind = RefusalKind.BUSY
        elif stage != "RCPT" and reply and reply[1] in _ABOUT_COMMANDS and not code.startswith("5.1."):
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


_ROLES = ("who", "domain", "gone word", "removed", "off", "on", "none", "not", "there", "other")
_MAILBOX = frozenset({"who"})
_MAILBOX_OR_DOMAIN = frozenset({"who", "domain"})
"""Without a code for a recipient, 'domain not found' may mean the sender's."""
_GONE_WORDS = frozenset({"gone word", "removed"})
_CLAUSE = re.compile(r"[,;] |，|、|；| [-–—] | (?:and|so|und|daher|et|donc|y|e|i|и|а|та|och|og|en|ve|және|și|és)(?= )")
_SENTENCE = re.compile(r"[.!?][\s)\]]|[。！？\n]|->")
_TOKEN = re.compile(r"\w+|@|\ufffd|\?{3}")
"""Words, the reader, and what was a word before somebody could not decode it."""
_BRACKETS = re.compile(r"\[[^\s\]]{0,80}\]|\((?=[^\s\d()]{0,40}\d)[^\s()]{1,80}\)")
_IS_ID = re.compile(r"[\d_]")


def _state_of_mailbox(text: str, subjects: frozenset[str], *, is_certain: bool) -> RefusalKind:
    """Return what a sentence without an unknown word says of one of the subjects: `gone`, `disabled` or `unknown`.

    With a code for a mailbox that does not exist (`is_certain`), a sentence may have unknown words if two clauses say
    it together: "the customer ended the contract, and the mailbox was deleted".
    """
    table = _table()
    may_be_clauses = is_certain and not table.turning.search(table.place.sub(" ", text))
    is_off = False
    for sentence in _SENTENCE.split(text):
        words = _roles(sentence)
        roles = frozenset[str]().union(*words)
        if "" not in roles and subjects & roles:
            if roles & _GONE_WORDS:
                return RefusalKind.GONE
            if any("none" in word and subjects & following for word, following in pairwise(words)):
                return RefusalKind.GONE
            if "off" in roles or {"not", "on"} <= roles:
                is_off = True
            elif {"not", "there"} <= roles:
                return RefusalKind.GONE
        elif may_be_clauses and roles & _GONE_WORDS:
            for comma in list(_CLAUSE.finditer(sentence))[-3:]:
                before = frozenset[str]().union(*_roles(sentence[: comma.start()]))
                after = frozenset[str]().union(*_roles(sentence[comma.end() :]))
                if "who" in before & after and before & _GONE_WORDS and "removed" in after and "" not in after:
                    return RefusalKind.GONE
    return RefusalKind.DISABLED if is_off else RefusalKind.UNKNOWN


def _has_unknown_word(text: str) -> bool:
    return frozenset({""}) in _roles(text)


def _roles(sentence: str) -> list[frozenset[str]]:
    """Return what each word of a sentence can mean; "" for an unknown word."""
    table = _table()
    plain = _BRACKETS.sub(" ", sentence.casefold().replace("’", "'"))
    for phrase, word in table.phrases:
        plain = phrase.sub(f" {word} ", plain)
    plain = table.signs.sub(r" \g<0> ", table.place.sub(" ", plain))
    roles = []
    for word in _TOKEN.findall(plain):
        if (len(word) > 1 or _CJK.match(word) or word in "@n\ufffd") and not _IS_ID.search(word):
            stems = [table.roles.get(f"{word[:length]}*", frozenset()) for length in range(1, min(len(word), 20) + 1)]
            roles.append(table.roles.get(word, frozenset()).union(*stems) or frozenset({""}))
    return roles


_PERSON = re.compile(
    r"\b(?:Mrs?|Ms|Miss|Mme|Mlle|Herr|Frau|Sra?|Sig(?:ra)?|Dr|Prof|г-(?:н|жа))\.? (?!Web\b)[^\W\d_a-zа-я][\w'’-]{1,30}"
    r"(?: [^\W\d_a-zа-я][\w'’-]{1,30})?(?! ?@)"
)
"""A person's name, after a title."""


_BEFORE_NAMES = {"called", "named", "name", "part", "by", "find", "no", "запись", "жазба"}


def _without_names(text: str, recipient: str, name: str) -> str:
    """Replace the names of the reader, and remove those of companies and products.

    `name` is the address of the only person whom the text can be about, or empty. Then the bare local part is that
    person's name too, where a name can be.
    """
    local, _, domain = recipient.rpartition("@")
    if local:
        pattern = re.escape(local)
        for form in (
            rf"[\"'<(\[]{pattern}[\"'>)\]]",
            rf"\b{pattern}\.\.\.",
            rf"\b{pattern}(?: in)?(?=[\s(<]{{1,4}}@)",
            re.escape(domain),
        ):
            text = re.sub(form, " @ ", text, flags=re.IGNORECASE)
        # A name that is a word of refusals, such as 'policy', steers nothing.
        if name and local.casefold() not in _table().vocabulary:
            text = re.sub(
                rf"(?P<before>^|[.,;:!(]\W{{0,3}}|\s-\s|[^\W_]{{1,40}}\s{{1,3}})(?<![\w.+-]){pattern}(?![\w+-]|\.\w)",
                lambda found: f"{found['before']} @ " if _can_precede_name(found["before"], local) else found[0],
                text,
                flags=re.IGNORECASE,
            )
    return _HOST.sub(" ", _PERSON.sub(" @ ", text))


def _can_precede_name(before: str, name: str) -> bool:
    """Whether the reader's name can follow: at a beginning, after 'user', or anywhere if it cannot be a word."""
    word = before.strip().casefold()
    if not name.isalpha() or not word.isalpha() or word in _BEFORE_NAMES:
        return True
    return any("who" in roles for roles in _roles(word))


def _without_codes(text: str) -> str:
    return " ".join(_UNDERSCORE.sub(" ", _ANY_CODE.sub(" ", text)).split())


def _kind_by_words(text: str) -> RefusalKind:
    text = " ".join(text.replace("@", " ").split())
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
    phrases: tuple[tuple[re.Pattern[str], str], ...]
    """Wordings, and the plain words that they mean."""
    place: re.Pattern[str]
    """Words for the place of a mailbox. They are removed before a sentence is read."""
    turning: re.Pattern[str]
    """Words that can turn the meaning of another clause."""
    roles: Mapping[str, frozenset[str]]
    """The possible meanings of a word, or of a prefix with `*`, in a sentence that says that a mailbox is gone."""
    signs: re.Pattern[str]
    """The words of languages without spaces."""
    vocabulary: frozenset[str]
    """Every word of the table. A reader's name that is one of them steers nothing."""


@lru_cache
def _table() -> _Table:
    """Compile the table. Every gap is bounded, so that a pattern is linear in the text."""
    sections: list[tuple[str, list[str]]] = []
    source = files("tidings.model").joinpath("refusal_words.txt").read_text("utf-8")
    for line in source.splitlines():
        if line.startswith("["):
            sections.append((line.strip("[]"), []))
        elif line and not line.startswith("#"):
            sections[-1][1].append(line)
    roles: dict[str, set[str]] = {}
    for role in reversed(_ROLES):
        name, lines = sections.pop()
        assert name == role
        for word in " ".join(lines).casefold().split():
            for spelling in _spellings(word):
                roles.setdefault(spelling, set()).add(role)
    _, places = sections.pop()
    _, phrases = sections.pop()
    _, turning = sections.pop()
    signs = sorted((word for word in roles if _CJK.search(word)), key=len, reverse=True)
    return _Table(
        tuple((RefusalKind(kind), _compiled(wordings)) for kind, wordings in sections),
        tuple((_compiled([wording]), word) for wording, word in (line.split(" = ") for line in phrases)),
        _compiled(places),
        _compiled(word for line in turning for word in line.split()),
        {word: frozenset(meanings) for word, meanings in roles.items()},
        re.compile("|".join(signs)),
        frozenset(_WORD.findall(source.casefold())),
    )


def _spellings(word: str) -> set[str]:
    """Return a word as servers write it: also in ASCII, without accents or with the German ae, oe and ue.

    Short words keep their accents: without them they are often words of another language.
    """
    plain = "".join(sign for sign in unicodedata.normalize("NFKD", word) if not unicodedata.combining(sign))
    german = word.replace("ä", "ae").replace("ö", "oe").replace("ü", "ue")
    return {word} | {spelling for spelling in (plain, german) if len(word) > 4 and spelling.isascii()}


def _compiled(wordings: Iterable[str]) -> re.Pattern[str]:
    return re.compile("|".join(map(_pattern, wordings)), re.IGNORECASE)


def _pattern(wording: str) -> str:
    wording = wording.replace(r"\w*", r"\w{0,20}").replace(" … ", r".{0,50}?(?<![^\W\d_])").replace("~", r"\b")
    return wording if _CJK.search(wording) else rf"(?<![^\W\d_]){wording}"
