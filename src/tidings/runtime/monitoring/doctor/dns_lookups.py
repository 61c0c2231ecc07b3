"""DNS look-ups that tell "there is none" from "it could not be looked up". dnspython is used in this module alone."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from functools import partial
from typing import Any

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.nameserver
import dns.rdatatype
import dns.resolver
import dns.reversename
import idna

from tidings.model.errors import RefusedError

TIMEOUT = 5.0
"""Seconds for one try. A look-up as a whole takes twice as long at the most."""
_LONGEST_CHAIN = 8
"""How many CNAME records are followed. Common resolvers follow about as many."""
_MOST_UNANSWERED = 3
"""After so many look-ups without any answer, the name server is not asked again."""
_PAYLOAD = 1232
"""Bytes of a UDP answer (the DNS flag day of 2020). Longer ones come by TCP."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the DNS says about a name. With a `failure` nothing is known."""

    records: tuple[Any, ...] = ()
    """Texts for TXT, addresses for A and AAAA, names for PTR and CNAME, (preference, name) for MX."""
    exists: bool = True
    """False if the name does not exist at all (NXDOMAIN)."""
    failure: str = ""
    """Why it could not be looked up."""
    is_alias: bool = False
    """Whether the name is a CNAME."""

    @property
    def is_void(self) -> bool:
        """Whether there is no such record (RFC 7208 §4.6.4)."""
        return not self.records and not self.failure


class DnsLookups:
    """Look-ups with a cache. Nothing in it raises for what the DNS answers."""

    def __init__(self, server: str = "", *, timeout: float = TIMEOUT) -> None:
        """`server` is `HOST` or `HOST:PORT`; default: the name servers of this machine. Raises RefusedError."""
        self._cache: dict[tuple[str, str], Answer] = {}
        self._has_answered = False
        self._unanswered = 0
        try:
            self._resolver = dns.resolver.Resolver(configure=not server)
        except dns.exception.DNSException:
            # No name server is configured. Every look-up fails then, and says so.
            self._resolver = dns.resolver.Resolver(configure=False)
        if server:
            self._resolver.nameservers = [dns.nameserver.Do53Nameserver(*_read_server(server))]
        self._resolver.timeout = timeout
        self._resolver.lifetime = 2 * timeout
        self._resolver.use_edns(0, 0, _PAYLOAD)

    def texts(self, name: str) -> Answer:
        """Return the TXT records, each as one text: the strings of a record are joined without a space."""
        return self._look_up(name, "TXT")

    def addresses(self, name: str) -> Answer:
        """Return the IPv4 and IPv6 addresses."""
        four, six = self.ip_addresses(name, 4), self.ip_addresses(name, 6)
        records = four.records + six.records
        failure = "" if records else four.failure or six.failure
        return Answer(records, four.exists or six.exists, failure, four.is_alias or six.is_alias)

    def ip_addresses(self, name: str, version: int) -> Answer:
        return self._look_up(name, "A" if version == 4 else "AAAA")

    def mail_exchangers(self, name: str) -> Answer:
        """Return the MX records as (preference, host), the preferred ones first."""
        return self._look_up(name, "MX")

    def names_of(self, address: str) -> Answer:
        """Return the names of an IP address (PTR)."""
        return self._look_up(reverse_name(address), "PTR")

    def _look_up(self, name: str, kind: str) -> Answer:
        name = name.rstrip(".").lower()
        key = (name, kind)
        if key not in self._cache:
            self._cache[key] = self._follow(name, kind)
        return self._cache[key]

    def _follow(self, name: str, kind: str) -> Answer:
        """Look up, and follow aliases that the name server has not followed itself."""
        try:
            wanted = dns.name.from_text(to_ascii(name))
        except (dns.exception.DNSException, UnicodeError, ValueError):
            return Answer(exists=False)  # no name server can have it
        if self._unanswered >= _MOST_UNANSWERED and not self._has_answered:
            return Answer(failure="the name server does not answer")
        is_alias = False
        for _ in range(_LONGEST_CHAIN):
            try:
                answer = self._resolver.resolve(wanted, kind, search=False, raise_on_no_answer=False)
            except dns.resolver.NXDOMAIN:
                self._has_answered = True
                return Answer(exists=False, is_alias=is_alias)
            except (dns.exception.DNSException, OSError, ValueError) as error:
                self._unanswered += 1
                return Answer(failure=_describe(error))
            self._has_answered = True
            canonical = answer.canonical_name
            is_alias = is_alias or canonical != wanted
            if answer.rrset is not None:
                return Answer(tuple(_read_records(answer.rrset, kind)), is_alias=is_alias)
            if canonical == wanted:
                return Answer(is_alias=is_alias)
            wanted = canonical
        return Answer(failure="its aliases (CNAME) lead nowhere: there are too many, or they form a circle")


def to_ascii(domain: str) -> str:
    """Return a domain in its ASCII form (RFC 5891). Labels with an underscore stay as they are."""
    return ".".join(
        label if label.isascii() else idna.encode(label, uts46=True).decode() for label in domain.split(".")
    )


def reverse_name(address: str) -> str:
    """Return the name under which the PTR record of an IP address is, such as 1.2.0.192.in-addr.arpa."""
    return dns.reversename.from_address(address).to_text(omit_final_dot=True)


def quote_text_record(name: str, text: str) -> str:
    """Return a TXT record as in a zone file, in strings of at most 255 bytes (RFC 1035 §3.3)."""
    pieces = [text[at : at + 255] for at in range(0, len(text), 255)] or [""]
    strings = " ".join(f'"{piece}"' for piece in pieces)
    return f"{to_ascii(name)}. IN TXT {strings if len(pieces) == 1 else f'( {strings} )'}"


def _read_server(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":") if text.count(":") == 1 or "]" in text else (text, "", "")
    if text.endswith("]"):
        host, colon, port = text, "", ""
    mend = "write an IP address, such as 9.9.9.9 or 127.0.0.1:5353"
    try:
        address = str(ipaddress.ip_address((host or text).strip("[]")))
    except ValueError:
        raise RefusedError(f"{text!r} is not a name server; {mend}") from None
    if colon and not (port.isascii() and port.isdigit() and 1 <= int(port) <= 65535):
        raise RefusedError(f"{port!r} is not a port; {mend}")
    return address, int(port) if colon else 53


def _read_records(records: Any, kind: str) -> list[Any]:
    host = partial(dns.name.Name.to_text, omit_final_dot=True)
    if kind == "TXT":
        return [b"".join(record.strings).decode("utf-8", "replace") for record in records]
    if kind == "MX":
        return sorted((record.preference, host(record.exchange).lower()) for record in records)
    if kind == "PTR":
        return sorted(host(record.target).lower() for record in records)
    return [str(record.address) for record in records]


def _describe(error: Exception) -> str:
    if isinstance(error, dns.resolver.NoNameservers):
        errors = error.kwargs.get("errors") or ()
        codes = sorted({dns.rcode.to_text(each[4].rcode()) for each in errors if each[4] is not None})
        if codes:
            return f"the name server answered {', '.join(codes)}"
        return "the name server does not answer" if errors else "this machine has no name server"
    if isinstance(error, dns.exception.Timeout):
        return "no answer in time"
    text = " ".join(str(error).split())
    return f"the answer could not be used{f' ({text[:120]})' if text else ''}"
