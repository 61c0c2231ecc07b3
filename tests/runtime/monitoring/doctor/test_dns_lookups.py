"""DNS look-ups with our own name server: a failed look-up is never taken for a missing record."""

from __future__ import annotations

import pytest

from tests.servers.name_server import name_server, texts
from tidings.model.errors import RefusedError
from tidings.runtime.monitoring.doctor.dns_lookups import DnsLookups, quote_text_record

LONG = "v=DKIM1; k=rsa; p=" + "A" * 600


def test_an_answer_too_long_for_udp_comes_by_tcp() -> None:
    with name_server({"long.example.org TXT": texts(LONG)}) as server:
        answer = DnsLookups(server.address).texts("long.example.org")
    assert (answer.records, server.by_tcp) == ((LONG,), 1)


def test_the_strings_of_a_record_are_joined_without_a_space() -> None:
    with name_server({"a.example TXT": '"v=spf1 ip4:192.0" ".2.1 -all"\n"other"'}) as server:
        assert sorted(DnsLookups(server.address).texts("a.example").records) == ["other", "v=spf1 ip4:192.0.2.1 -all"]


def test_a_missing_record_and_a_missing_name_differ() -> None:
    with name_server({"here.example A": "192.0.2.1"}) as server:
        dns = DnsLookups(server.address)
        assert (dns.texts("here.example").exists, dns.texts("here.example").is_void) == (True, True)
        assert (dns.texts("gone.example").exists, dns.texts("gone.example").is_void) == (False, True)


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [("SERVFAIL", "SERVFAIL"), ("REFUSED", "REFUSED"), ("SILENCE", "no answer in time"), ("GARBAGE", "")],
)
def test_trouble_is_a_failure_and_never_an_empty_answer(behaviour: str, words: str) -> None:
    with name_server({"bad.example TXT": behaviour}) as server:
        answer = DnsLookups(server.address, timeout=0.1).texts("bad.example")
    assert answer.failure and words in answer.failure
    assert not answer.is_void


def test_a_dead_name_server_is_asked_a_few_times_only() -> None:
    zone = {f"{n}.example *": "SILENCE" for n in range(9)}
    with name_server(zone) as server:
        dns = DnsLookups(server.address, timeout=0.05)
        answers = [dns.texts(f"{n}.example") for n in range(9)]
    assert all(answer.failure for answer in answers)
    assert not any(question.startswith("8.") for question in server.asked)


@pytest.mark.parametrize("chases", [True, False])
def test_aliases_are_followed(chases: bool) -> None:
    zone = {"a.example CNAME": "b.example", "b.example CNAME": "c.example", "c.example TXT": '"found"'}
    with name_server(zone) as server:
        server.chases = chases
        answer = DnsLookups(server.address).texts("a.example")
    assert (answer.records, answer.is_alias) == (("found",), True)


def test_a_circle_of_aliases_is_a_failure() -> None:
    with name_server({"a.example CNAME": "b.example", "b.example CNAME": "a.example"}) as server:
        server.chases = False
        assert "circle" in DnsLookups(server.address).texts("a.example").failure


def test_names_of_other_scripts_are_asked_in_ascii() -> None:
    with name_server({"xn--e1afmkfd.example TXT": '"here"'}) as server:
        assert DnsLookups(server.address).texts("пример.example").records == ("here",)


def test_a_name_that_no_server_can_have_does_not_exist() -> None:
    with name_server({}) as server:
        assert not DnsLookups(server.address).texts("a" * 64 + ".example").exists
        assert not DnsLookups(server.address).texts("a..example").exists
    assert server.asked == []


@pytest.mark.parametrize("server", ["ns.example", "9.9.9.9:dns", "9.9.9.9:0", "[::1]:99999", "9.9.9.9:"])
def test_a_wrong_name_server_is_refused(server: str) -> None:
    with pytest.raises(RefusedError, match=r"9\.9\.9\.9"):
        DnsLookups(server)


def test_long_records_are_shown_in_strings() -> None:
    shown = quote_text_record("s1._domainkey.пример.example", LONG)
    assert shown.startswith('s1._domainkey.xn--e1afmkfd.example. IN TXT ( "v=DKIM1')
    assert all(len(piece) <= 255 for piece in shown.split('"')[1::2])
