"""`tidings doctor`: collect the findings about every domain that mail comes from, and about every mail host."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from email.utils import parseaddr

from tidings.channels.smtp import relay as smtp
from tidings.config.adapters import SenderSettings
from tidings.config.settings import Newsroom
from tidings.model.errors import RefusedError
from tidings.net import GuardedSession
from tidings.render.mail.dkim import load_identities
from tidings.runtime.monitoring.doctor.dns_lookups import DnsLookups, to_ascii
from tidings.runtime.monitoring.doctor.domain_checks import (
    DoctorFinding,
    Fetch,
    Route,
    check_dkim,
    check_dmarc,
    check_mta_sts,
    check_mx,
    check_spf,
    check_tls_rpt,
)
from tidings.runtime.monitoring.doctor.host_checks import check_mail_host, check_ptr, find_addresses, find_provider


def examine(newsroom: Newsroom, dns: DnsLookups, *, sending: Sequence[str] = ()) -> list[DoctorFinding]:
    """Return the findings about domains and mail hosts, in the order in which they are read best.

    `sending` are the IP addresses from which mail leaves; default: `sends_from` of each sender, or what the DNS
    says about its host. Raises RefusedError for a wrong address.
    """
    addresses = tuple(_read_address(text) for text in sending)
    by_domain: dict[str, list[SenderSettings]] = {}
    return_paths: dict[str, list[str]] = {}
    for name, settings in newsroom.lists.items():
        senders = by_domain.setdefault(to_ascii(settings.sender_domain.lower()), [])
        for sender in newsroom.find_senders(name):
            if sender not in senders:
                senders.append(sender)
            path = sender.return_path or parseaddr(settings.from_)[1]
            return_paths.setdefault(sender.name, []).append(path)
    findings: list[DoctorFinding] = []
    session = GuardedSession(timeout=10.0)
    for domain, senders in by_domain.items():
        routes = [_make_route(dns, sender, domain, addresses) for sender in senders]
        findings += _examine_domain(dns, domain, routes, session.get)
    for sender in newsroom.mail:
        if not isinstance(sender, smtp.Settings):
            continue
        route = _make_route(dns, sender, "", addresses)
        findings += [check_ptr(dns, address) for address in route.addresses]
        if not route.addresses and not route.include:
            text = "the addresses from which your mail leaves are unknown, so their names (PTR) cannot be checked"
            mend = "name them with --sending-ip, or as `sends_from` under `mail:`"
            findings.append(DoctorFinding("unknown", "ptr", sender.host, text, mend))
        findings += check_mail_host(sender, return_paths.get(sender.name, ()), datetime.now(UTC))
    return list(dict.fromkeys(findings))


def _examine_domain(dns: DnsLookups, domain: str, routes: Sequence[Route], fetch: Fetch) -> Iterator[DoctorFinding]:
    yield from check_mx(dns, domain, "replies")
    for route in routes:
        if route.return_domain and route.return_domain != domain:
            yield from check_mx(dns, route.return_domain, "bounces")
            yield from check_spf(dns, route.return_domain, route, is_return_path=True)
        yield from check_spf(dns, domain, route, is_return_path=route.return_domain == domain)
    for route in routes:
        for identity in route.identities:
            yield check_dkim(dns, identity)
        if not route.identities:
            who = (
                f"{route.sender} signs mail itself"
                if route.signs_itself
                else f"Tidings does not sign mail by {route.sender}"
            )
            mend = (
                f"look at what {route.sender} says about your domain"
                if route.signs_itself
                else "if it does not sign, run `tidings dkim`"
            )
            yield DoctorFinding("unknown", "dkim", domain, f"{who}, so its key (DKIM) cannot be checked", mend)
    yield from check_dmarc(dns, domain, routes)
    yield from check_mta_sts(dns, domain, fetch)
    yield check_tls_rpt(dns, domain)


def _make_route(dns: DnsLookups, sender: SenderSettings, from_domain: str, sending: tuple[str, ...]) -> Route:
    """Return how mail by a sender leaves."""
    if not isinstance(sender, smtp.Settings):
        return Route(sender.name, "", signs_itself=True)
    domain = to_ascii((sender.return_path or "").rpartition("@")[2].lower()) or from_domain
    identities = load_identities(sender.dkim) if sender.dkim is not None else ()
    stated = sending or sender.sends_from
    include = "" if stated else find_provider(sender.host)
    found = stated or (() if include else find_addresses(dns, sender.host))
    guessed = "" if stated or include else sender.host
    return Route(sender.name, domain, found, include, guessed, identities)


def _read_address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text.strip().strip("[]")))
    except ValueError:
        raise RefusedError(f"--sending-ip: {text!r} is not an IP address; write it like 192.0.2.10") from None
