"""DMARC by RFC 9989: tree walk, policy, alignment."""

from __future__ import annotations

import pytest

from tests.servers.name_server import name_server, texts
from tidings.runtime.monitoring.doctor.dmarc import is_aligned, walk_tree
from tidings.runtime.monitoring.doctor.dns_lookups import DnsLookups

P = "v=DMARC1; p=reject; sp=quarantine"


@pytest.mark.parametrize(
    ("zone", "domain", "organisation", "policy"),
    [
        ({"org.example": P}, "org.example", "org.example", "reject"),
        ({"org.example": P}, "news.org.example", "org.example", "quarantine"),
        ({"org.example": P, "mail.org.example": "v=DMARC1; p=none"}, "a.mail.org.example", "org.example", "quarantine"),
        (
            {"mail.org.example": "v=DMARC1;p=none;psd=n", "org.example": P},
            "a.mail.org.example",
            "mail.org.example",
            "none",
        ),
        ({"gov.example": "v=DMARC1; p=none; psd=y"}, "a.org.gov.example", "org.gov.example", "none"),
        (
            {"gov.example": "v=DMARC1; p=none; psd=y", "org.gov.example": P},
            "org.gov.example",
            "org.gov.example",
            "reject",
        ),
        ({"org.gov.kz": "v=DMARC1; p=none; psd=y"}, "org.gov.kz", "org.gov.kz", "none"),
        ({}, "news.org.example", "news.org.example", ""),
        ({"org.example": "v=DMARC1; p=all"}, "org.example", "org.example", ""),
        ({"org.example": "v=DMARC1; rua=mailto:a@org.example"}, "org.example", "org.example", "none"),
        ({"org.example": "p=reject; v=DMARC1"}, "org.example", "org.example", ""),
    ],
)
def test_organisation_and_policy(zone: dict[str, str], domain: str, organisation: str, policy: str) -> None:
    with name_server({f"_dmarc.{name} TXT": texts(text) for name, text in zone.items()}) as server:
        tree = walk_tree(DnsLookups(server.address), domain)
    assert (tree.organisation, tree.policy) == (organisation, policy)


def test_a_long_name_takes_eight_questions_at_most() -> None:
    with name_server({}) as server:
        walk_tree(DnsLookups(server.address), "a.b.c.d.e.f.g.h.i.mail.org.example")
    asked = [question.removeprefix("_dmarc.").removesuffix(" TXT") for question in server.asked]
    assert asked[0] == "a.b.c.d.e.f.g.h.i.mail.org.example"
    assert asked[1] == "f.g.h.i.mail.org.example"
    assert (len(asked), asked[-1]) == (8, "example")


def test_several_records_of_a_name_are_discarded() -> None:
    zone = {"_dmarc.news.org.example TXT": texts(P, P + ";"), "_dmarc.org.example TXT": texts("v=DMARC1; p=none")}
    with name_server(zone) as server:
        tree = walk_tree(DnsLookups(server.address), "news.org.example")
    assert (tree.several, tree.policy, tree.organisation) == (("news.org.example",), "none", "org.example")


def test_dns_trouble_ends_the_walk_as_unknown() -> None:
    with name_server({"_dmarc.org.example TXT": "SERVFAIL"}) as server:
        assert "_dmarc.org.example" in walk_tree(DnsLookups(server.address), "news.org.example").failure


@pytest.mark.parametrize(
    ("start", "other", "strict", "aligned"),
    [
        ("org.example", "org.example", True, True),
        ("org.example", "mail.org.example", False, True),
        ("news.org.example", "mail.org.example", False, True),
        ("news.org.example", "mail.org.example", True, False),
        ("org.example", "host.example", False, False),
        ("a.gov.example", "b.gov.example", False, False),
    ],
)
def test_alignment(start: str, other: str, strict: bool, aligned: bool) -> None:
    zone = {"_dmarc.org.example TXT": texts(P), "_dmarc.gov.example TXT": texts("v=DMARC1; psd=y; p=none")}
    with name_server(zone) as server:
        dns = DnsLookups(server.address)
        assert is_aligned(dns, walk_tree(dns, start), other, strict=strict) is aligned
