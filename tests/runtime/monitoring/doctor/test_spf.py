"""SPF as receivers evaluate it (RFC 7208)."""

from __future__ import annotations

import pytest

from tests.fixtures.waiting import GENEROUS
from tests.servers.name_server import name_server, texts
from tidings.runtime.monitoring.doctor.dns_lookups import DnsLookups
from tidings.runtime.monitoring.doctor.spf import SpfResult, check_address, walk

HOSTS = {
    "org.example A": "192.0.2.7",
    "org.example MX": "10 mx.org.example.",
    "mx.org.example A": "192.0.2.8",
    "mx.org.example AAAA": "2001:db8::8",
    "9.2.0.192.in-addr.arpa PTR": "host.org.example.",
    "host.org.example A": "192.0.2.9",
    "9.2.0.192.list.example A": "127.0.0.2",
    "good.example TXT": texts("v=spf1 ip4:198.51.100.0/24 -all"),
    "soft.example TXT": texts("v=spf1 ~all"),
}


def _check(record: str | None, address: str = "192.0.2.1", timeout: float = GENEROUS, **more: str) -> SpfResult:
    zone = {**HOSTS, **({"org.example TXT": texts(record, "another text")} if record is not None else {}), **more}
    with name_server(zone) as server:
        return check_address(DnsLookups(server.address, timeout=timeout), "org.example", address)


@pytest.mark.parametrize(
    ("record", "address", "result"),
    [
        ("v=spf1 ip4:192.0.2.0/24 -all", "192.0.2.1", "pass"),
        ("v=spf1 ip4:192.0.3.0/24 -all", "192.0.2.1", "fail"),
        ("V=SPF1  IP4:192.0.2.1   ~ALL", "192.0.2.9", "softfail"),
        ("v=spf1 ip6:2001:db8::/32 -all", "2001:db8::1", "pass"),
        ("v=spf1 ip4:192.0.2.1 -all", "::ffff:192.0.2.1", "pass"),
        ("v=spf1 a -all", "192.0.2.7", "pass"),
        ("v=spf1 a/30 -all", "192.0.2.5", "pass"),
        ("v=spf1 mx -all", "192.0.2.8", "pass"),
        ("v=spf1 mx -all", "2001:db8::8", "pass"),
        ("v=spf1 mx//64 -all", "2001:db8::ffff", "pass"),
        ("v=spf1 a:mx.org.example/28//64 ?all", "192.0.2.30", "neutral"),
        ("v=spf1 ptr -all", "192.0.2.9", "pass"),
        ("v=spf1 exists:%{ir}.list.example -all", "192.0.2.9", "pass"),
        ("v=spf1 include:good.example -all", "198.51.100.3", "pass"),
        ("v=spf1 include:good.example -all", "192.0.2.3", "fail"),
        ("v=spf1 include:soft.example ip4:192.0.2.3 -all", "192.0.2.3", "pass"),
        ("v=spf1 redirect=good.example", "198.51.100.3", "pass"),
        ("v=spf1 redirect=good.example ~all", "192.0.2.3", "softfail"),
        ("v=spf1", "192.0.2.3", "neutral"),
        ("v=spf1 -all ip4:192.0.2.3", "192.0.2.3", "fail"),
        ("v=spf10 ip4:192.0.2.3", "192.0.2.3", "none"),
        (None, "192.0.2.3", "none"),
        ("v=spf1 unknown-modifier=x exp=why.example ip4:192.0.2.3", "192.0.2.3", "pass"),
    ],
)
def test_the_result_for_an_address(record: str | None, address: str, result: str) -> None:
    assert _check(record, address).result == result


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ("v=spf1 ipv4:192.0.2.1 -all", "'ipv4:192.0.2.1'"),
        ("v=spf1 ip4:192.0.2.300 -all", "ip4:192.0.2.300"),
        ("v=spf1 ip4:2001:db8::1 -all", "write ip6:2001:db8::1"),
        ("v=spf1 include -all", "'include'"),
        ("v=spf1 a/33 -all", "'a/33'"),
        ("v=spf1 all:x", "'all:x'"),
        ("v=spf1 redirect=good.example redirect=good.example", "twice"),
        ("v=spf1 include:empty.example -all", "include:empty.example"),
        ("v=spf1 redirect=empty.example", "redirect=empty.example"),
        ("v=spf1, ip4:192.0.2.1", ""),
    ],
)
def test_a_broken_record_says_which_part(record: str, words: str) -> None:
    evaluation = _check(record)
    assert (evaluation.result == "permerror" and words in evaluation.reason) or (evaluation.result, words) == (
        "none",
        "",
    )


def test_two_records_are_an_error() -> None:
    evaluation = _check(None, **{"org.example TXT": texts("v=spf1 mx -all", "v=spf1 a -all")})
    assert (evaluation.result, "2 SPF records" in evaluation.reason) == ("permerror", True)


def test_more_than_ten_lookups_are_an_error() -> None:
    zone = {f"i{n}.example TXT": texts(f"v=spf1 include:i{n + 1}.example -all") for n in range(12)}
    zone["i12.example TXT"] = texts("v=spf1 ip4:192.0.2.1 -all")
    evaluation = _check("v=spf1 include:i0.example -all", **zone)
    assert (evaluation.result, "more than 10" in evaluation.reason) == ("permerror", True)
    with name_server({**zone, "org.example TXT": texts("v=spf1 include:i0.example -all")}) as server:
        assert walk(DnsLookups(server.address), "org.example").lookups == 13


def test_records_that_include_each_other_are_named() -> None:
    zone = {"b.example TXT": texts("v=spf1 include:org.example -all")}
    evaluation = _check("v=spf1 include:b.example -all", **zone)
    assert (evaluation.result, evaluation.reason) == (
        "permerror",
        "the records include each other: org.example → b.example → org.example",
    )


def test_three_names_without_a_record_are_an_error() -> None:
    evaluation = _check("v=spf1 a:no1.example a:no2.example a:no3.example -all")
    assert (evaluation.result, "no3.example" in evaluation.reason) == ("permerror", True)
    assert _check("v=spf1 a:no1.example a:no2.example -all").result == "fail"


@pytest.mark.parametrize(("behaviour", "timeout"), [("SERVFAIL", GENEROUS), ("SILENCE", 0.2)])
def test_dns_trouble_in_an_include_is_temporary(behaviour: str, timeout: float) -> None:
    evaluation = _check("v=spf1 include:away.example -all", timeout=timeout, **{"away.example TXT": behaviour})
    assert (evaluation.result, "away.example could not be looked up" in evaluation.reason) == ("temperror", True)
