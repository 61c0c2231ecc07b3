"""SPF (RFC 7208): which result a receiver would find for an IP address, and what is wrong with the records."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote

from tidings.runtime.monitoring.doctor.dns_lookups import Answer, DnsLookups

MOST_LOOKUPS: Final = 10
"""RFC 7208 §4.6.4: terms of a record and of all that it includes that ask the DNS."""
_MOST_VOID: Final = 2
_MOST_NAMES: Final = 10
"""MX hosts of one `mx`, and PTR names that are looked at."""
_RESULTS: Final = {"+": "pass", "-": "fail", "~": "softfail", "?": "neutral"}
_TERM: Final = re.compile(r"([+?~-]?)(all|include|a|mx|ptr|ip4|ip6|exists)(?:([:/])(.*))?", re.IGNORECASE)
_MODIFIER: Final = re.compile(r"([a-z][a-z0-9_.-]*)=(.*)", re.IGNORECASE)
_MACRO: Final = re.compile(r"%(?:%|_|-|\{([slodiphcrtv])([0-9]*)(r?)([.+,/_=-]*)\})", re.IGNORECASE)
_DUAL_CIDR: Final = re.compile(r"(.*?)(?:/(\d{1,3}))?(?://(\d{1,3}))?")

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


class _PermanentError(Exception):
    """The record is wrong: receivers give `permerror`."""


class _TemporaryError(Exception):
    """The DNS failed: receivers give `temperror`."""


@dataclass
class SpfResult:
    """The result for one address: pass, fail, softfail, neutral, none, permerror or temperror."""

    result: str
    reason: str = ""
    """What is wrong, for permerror and temperror."""
    lookups: int = 0
    """Terms that asked the DNS until the result was clear."""
    domains: list[str] = field(default_factory=list)
    """The domains whose records were read, in this order."""
    matched: str = ""
    """The term of the domain's own record that gave the result."""


def find_records(answer: Answer) -> list[str]:
    """Return the SPF records among the TXT records of a domain."""
    return [text for text in answer.records if text.lower() == "v=spf1" or text.lower().startswith("v=spf1 ")]


def check_address(dns: DnsLookups, domain: str, address: str) -> SpfResult:
    """Return what a receiver finds if mail with this return path domain comes from `address` (RFC 7208 §4)."""
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    return _Evaluation(dns, ip, f"postmaster@{domain}").run(domain)


def walk(dns: DnsLookups, domain: str) -> SpfResult:
    """Read the record and all that it includes, as if no term matched. Finds errors, and counts the look-ups."""
    return _Evaluation(dns, None, f"postmaster@{domain}").run(domain)


class _Evaluation:
    """The evaluation of one domain. Without an address no term matches, so that every term is read."""

    def __init__(self, dns: DnsLookups, ip: IpAddress | None, sender: str) -> None:
        self._dns = dns
        self._ip = ip
        self._sender = sender
        self._lookups = 0
        self._void = 0
        self._domains: list[str] = []
        self._chain: list[str] = []

    def run(self, domain: str) -> SpfResult:
        matched = ""
        try:
            result, matched = self._check(domain)
            reason = ""
        except _PermanentError as error:
            result, reason = "permerror", str(error)
        except _TemporaryError as error:
            result, reason = "temperror", str(error)
        return SpfResult(result, reason, self._lookups, self._domains, matched)

    def _check(self, domain: str) -> tuple[str, str]:
        """Return the result of a domain's record, and the term that gave it."""
        domain = domain.rstrip(".").lower()
        if domain in self._chain:
            raise _PermanentError(f"the records include each other: {' → '.join([*self._chain, domain])}")
        answer = self._dns.texts(domain)
        if answer.failure:
            raise _TemporaryError(f"{domain} could not be looked up: {answer.failure}")
        records = find_records(answer)
        if not records:
            return "none", ""
        if len(records) > 1:
            raise _PermanentError(f"{domain} has {len(records)} SPF records, and only one is allowed")
        self._domains.append(domain)
        self._chain.append(domain)
        try:
            return self._check_record(records[0], domain)
        finally:
            self._chain.pop()

    def _check_record(self, record: str, domain: str) -> tuple[str, str]:
        directives, redirect = _parse(record, domain)
        for qualifier, name, argument, term in directives:
            if self._matches(name, argument, domain, term):
                return _RESULTS[qualifier or "+"], term
        if redirect:
            self._count(f"redirect={redirect}", domain)
            target = self._expand(redirect, domain)
            result, _ = self._check(target)
            if result == "none":
                raise _PermanentError(f"redirect={redirect} of {domain} leads to a name without an SPF record")
            return result, f"redirect={redirect}"
        return "neutral", ""

    def _matches(self, name: str, argument: str, domain: str, term: str) -> bool:
        if name == "all":
            return self._ip is not None
        if name in ("ip4", "ip6"):
            return self._ip is not None and self._ip in ipaddress.ip_network(argument, strict=False)
        self._count(term, domain)
        if name == "include":
            target = self._expand(argument, domain)
            result, _ = self._check(target)
            if result == "none":
                raise _PermanentError(f"include:{argument} of {domain} leads to a name without an SPF record")
            return result == "pass"
        if name == "exists":
            answer = self._ask(self._dns.ip_addresses(self._expand(argument, domain), 4), argument)
            return self._ip is not None and bool(answer.records)
        if name == "ptr":
            return self._matches_ptr(self._expand(argument, domain) if argument else domain)
        host, four, six = _split_cidr(argument)
        target = self._expand(host, domain) if host else domain
        hosts = [target]
        if name == "mx":
            found = self._ask(self._dns.mail_exchangers(target), target).records
            if len(found) > _MOST_NAMES:
                raise _PermanentError(f"{term} of {domain} has more than {_MOST_NAMES} mail hosts")
            hosts = [exchange for _, exchange in found if exchange not in ("", ".")]
        return any(self._has_address(each, four, six, is_counted=name == "a") for each in hosts)

    def _has_address(self, host: str, four: int, six: int, *, is_counted: bool) -> bool:
        ip = self._ip
        answer = self._dns.addresses(host) if ip is None else self._dns.ip_addresses(host, ip.version)
        if answer.failure:
            raise _TemporaryError(f"{host} could not be looked up: {answer.failure}")
        if is_counted:
            self._ask(answer, host)
        if ip is None:
            return False
        prefix = four if ip.version == 4 else six
        return any(ip in ipaddress.ip_network(f"{address}/{prefix}", strict=False) for address in answer.records)

    def _matches_ptr(self, target: str) -> bool:
        if self._ip is None:
            return False
        # An error here only means that nothing matches (§5.5).
        for name in self._dns.names_of(str(self._ip)).records[:_MOST_NAMES]:
            is_below = name == target.lower() or name.endswith("." + target.lower())
            if is_below and str(self._ip) in self._dns.ip_addresses(name, self._ip.version).records:
                return True
        return False

    def _count(self, term: str, domain: str) -> None:
        self._lookups += 1
        # A walk counts on, to say how many there are; circles have an end of their own.
        if self._lookups > MOST_LOOKUPS and self._ip is not None:
            raise _PermanentError(f"more than {MOST_LOOKUPS} look-ups are needed; {term} of {domain} is one too many")
        if self._lookups > 10 * MOST_LOOKUPS:
            raise _PermanentError(f"more than {10 * MOST_LOOKUPS} look-ups are needed")

    def _ask(self, answer: Answer, name: str) -> Answer:
        """Return an answer. Raises for a failure, and for the third one without a record."""
        if answer.failure:
            raise _TemporaryError(f"{name} could not be looked up: {answer.failure}")
        if answer.is_void:
            self._void += 1
            if self._void > _MOST_VOID:
                raise _PermanentError(f"more than {_MOST_VOID} names in it have no record; {name} is one of them")
        return answer

    def _expand(self, text: str, domain: str) -> str:
        """Expand macros (§7)."""

        def expand(match: re.Match[str]) -> str:
            letter, digits, is_reversed, separators = match.groups()
            if letter is None:
                return {"%%": "%", "%_": " ", "%-": "%20"}[match[0]]
            value = self._macro(letter.lower(), domain)
            parts = value.translate({ord(sign): "\0" for sign in separators or "."}).split("\0")
            if is_reversed:
                parts.reverse()
            if digits:
                parts = parts[-int(digits) :] if int(digits) else parts
            joined = ".".join(parts)
            return quote(joined, safe="-._~") if letter.isupper() else joined

        return _MACRO.sub(expand, text).rstrip(".")[-253:]

    def _macro(self, letter: str, domain: str) -> str:
        local, _, of = self._sender.rpartition("@")
        ip = self._ip or ipaddress.ip_address("192.0.2.1")
        shown = str(ip) if ip.version == 4 else ".".join(ip.exploded.replace(":", ""))
        kind = "in-addr" if ip.version == 4 else "ip6"
        values = {"s": self._sender, "l": local, "o": of, "d": domain, "i": shown, "v": kind, "h": of, "p": "unknown"}
        return values.get(letter, "unknown")


def _parse(record: str, domain: str) -> tuple[list[tuple[str, str, str, str]], str]:
    """Return the directives as (qualifier, name, argument, term), and the redirect. Raises for a wrong term."""
    directives: list[tuple[str, str, str, str]] = []
    modifiers: dict[str, str] = {}
    for term in record.split(" ")[1:]:
        if not term:
            continue
        if match := _TERM.fullmatch(term):
            qualifier, name, sign, rest = match[1], match[2].lower(), match[3], match[4]
            argument = f"/{rest}" if sign == "/" else rest or ""
            _check_argument(name, argument, bool(sign), term, domain)
            directives.append((qualifier, name, argument, term))
        elif match := _MODIFIER.fullmatch(term):
            if match[1].lower() in modifiers:
                raise _PermanentError(f"{match[1]}= is twice in the record of {domain}")
            modifiers[match[1].lower()] = match[2]
        else:
            raise _PermanentError(f"the record of {domain} has a wrong part: {term!r}")
    # Whatever is behind `all` is never read (§5.1, §6.1).
    names = [name for _, name, _, _ in directives]
    has_all = "all" in names
    redirect = "" if has_all else modifiers.get("redirect", "")
    return directives[: names.index("all") + 1] if has_all else directives, redirect


def _check_argument(name: str, argument: str, has_sign: bool, term: str, domain: str) -> None:
    wrong = f"the record of {domain} has a wrong part: {term!r}"
    if name == "all" and has_sign:
        raise _PermanentError(wrong)
    if name in ("include", "exists") and (not argument or argument.startswith("/")):
        raise _PermanentError(wrong)
    if name in ("ip4", "ip6"):
        try:
            version = ipaddress.ip_network(argument, strict=False).version
        except ValueError:
            raise _PermanentError(wrong) from None
        if version != int(name[2]):
            raise _PermanentError(f"{wrong}; write ip{version}:{argument}")
    if name in ("a", "mx"):
        host, four, six = _split_cidr(argument)
        if four > 32 or six > 128 or (has_sign and not host and not argument.startswith("/")):
            raise _PermanentError(wrong)


def _split_cidr(argument: str) -> tuple[str, int, int]:
    match = _DUAL_CIDR.fullmatch(argument)
    assert match is not None
    return match[1], int(match[2] or 32), int(match[3] or 128)
