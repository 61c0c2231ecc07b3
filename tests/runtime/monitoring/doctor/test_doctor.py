"""`tidings doctor` as a whole, with our own name server and mail host, and one mistake at a time."""

from __future__ import annotations

import re
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.cli.conftest import Ran, Run
from tests.servers.name_server import name_server, texts
from tidings.net import HttpResponse, NotSentError
from tidings.render.mail.dkim import DkimIdentity
from tidings.runtime.monitoring.doctor import examine
from tidings.runtime.newsroom import load_newsroom

IP = "192.0.2.10"
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PEM = KEY.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
).decode()
RECORD = DkimIdentity("org.example", "s1", KEY).record
MAIN = """\
site: {{title: News, url: https://news.org.example/, languages: [en], timezone: UTC, address: 10 Example Street}}
mail:
  host: localhost
  port: {port}
  security: {security}
  username: {{env: MAIL_USER}}
  password: {{env: MAIL_PASSWORD}}
  return_path: {return_path}
  sends_from: [{ip}]
  dkim: {{domain: {dkim}, selector: s1, key: {{file: dkim.pem}}}}
lists:
  digest: {{name: Digest, from: News <news@{domain}>}}
channels:
  team: {{type: slack, url: {{env: NOT_SET_ANYWHERE}}}}
"""
GOOD = {
    "org.example TXT": texts(f"v=spf1 ip4:{IP} -all", "site-verification=1"),
    "org.example MX": "10 mx.org.example.",
    "mx.org.example A": "192.0.2.20",
    "s1._domainkey.org.example TXT": texts(RECORD),
    "_dmarc.org.example TXT": texts("v=DMARC1; p=quarantine; rua=mailto:dmarc@org.example"),
    "10.2.0.192.in-addr.arpa PTR": "out.org.example.",
    "out.org.example A": IP,
    "_mta-sts.org.example TXT": texts("v=STSv1; id=20261130"),
    "_smtp._tls.org.example TXT": texts("v=TLSRPTv1; rua=mailto:tls@org.example"),
}
POLICY = "version: STSv1\r\nmode: enforce\r\nmx: *.org.example\r\nmax_age: 604800\r\n"


class _Keep:
    """A mail host that accepts every sender except one."""

    async def handle_MAIL(self, server: Any, session: Any, envelope: Any, address: str, options: list[str]) -> str:
        if address.startswith("refused@"):
            return "550 5.7.60 this account may not send as this address"
        envelope.mail_from = address
        return "250 OK"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    paths = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "90", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost", "-out", str(paths[0]), "-keyout", str(paths[1])],
        check=True, capture_output=True,
    )  # fmt: skip
    return paths


@pytest.fixture(scope="module")
def mail_host(certificate: tuple[Path, Path]) -> Iterator[int]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certificate)

    def allow(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        return AuthResult(success=data.password == b"right", handled=False)

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    controller = Controller(
        _Keep(), hostname="127.0.0.1", port=port, tls_context=context, require_starttls=True, authenticator=allow
    )
    controller.start()
    yield port
    controller.stop()


Doctor = Callable[..., Ran]


@pytest.fixture
def doctor(
    tmp_path: Path,
    mail_host: int,
    certificate: tuple[Path, Path],
    run_in: Run,
    monkeypatch: pytest.MonkeyPatch,
) -> Doctor:
    """Run the command on the good newsroom, with a changed zone and changed settings."""
    monkeypatch.setenv("MAIL_USER", "news")
    monkeypatch.setenv("MAIL_PASSWORD", "right")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    monkeypatch.setattr(examine, "GuardedSession", lambda timeout: _Web(POLICY))

    def run(zone: dict[str, str] | None = None, *options: str, **settings: object) -> Ran:
        values = {
            "port": mail_host, "security": "starttls", "return_path": "bounces@org.example", "ip": IP,
            "domain": "org.example", "dkim": "org.example", **settings,
        }  # fmt: skip
        (tmp_path / "tidings.yaml").write_text(MAIN.format(**values))
        (tmp_path / "dkim.pem").write_text(PEM)
        (tmp_path / "dkim.pem").chmod(0o600)
        with name_server({key: value for key, value in {**GOOD, **(zone or {})}.items() if value}) as server:
            return run_in(tmp_path, "doctor", "--json", "--resolver", server.address, *options)

    return run


class _Web:
    def __init__(self, policy: str, status: int = 200) -> None:
        self.policy, self.status = policy, status

    def get(self, url: str) -> HttpResponse:
        assert url == "https://mta-sts.org.example/.well-known/mta-sts.txt"
        if not self.policy:
            raise NotSentError("no connection")
        return HttpResponse(self.status, {}, self.policy)


def _levels(ran: Ran, *levels: str) -> dict[str, dict[str, str]]:
    return {each["check"]: each for each in ran.json["findings"] if each["level"] in (levels or ("error",))}


def test_a_good_newsroom_is_well(doctor: Doctor) -> None:
    ran = doctor()
    assert (ran.code, ran.json["ok"]) == (0, True)
    bad = [each for each in ran.json["findings"] if each["level"] != "ok" and each["check"] != "extensions"]
    assert bad == []
    checks = {each["check"] for each in ran.json["findings"]}
    assert checks >= {"spf", "dkim", "dmarc", "mx", "ptr", "mta-sts", "tls-rpt", "tls", "login", "size", "sender"}


SHORT = rsa.generate_private_key(public_exponent=65537, key_size=1024)
WRONG: list[tuple[str, dict[str, str], dict[str, str], str, str]] = [
    ("spf", {"org.example TXT": ""}, {}, "no SPF record", 'org.example. IN TXT "v=spf1 ip4:192.0.2.10 ~all"'),
    (
        "spf",
        {"org.example TXT": texts("v=spf1 mx -all")},
        {},
        "does not let 192.0.2.10 send",
        'org.example. IN TXT "v=spf1 ip4:192.0.2.10 mx -all"',
    ),
    (
        "spf",
        {"org.example TXT": texts("v=spf1 mx ~all", f"v=spf1 ip4:{IP} ~all")},
        {},
        "2 SPF records",
        'org.example. IN TXT "v=spf1 ip4:192.0.2.10 mx ~all"',
    ),
    ("spf", {"org.example TXT": texts("v=spf1 include:x.example -all")}, {}, "include:x.example", ""),
    ("spf", {"org.example TXT": texts("v=spf1 include:org.example -all")}, {}, "include each other", ""),
    ("dkim", {"s1._domainkey.org.example TXT": ""}, {}, "not published", "s1._domainkey.org.example. IN TXT ( "),
    (
        "dkim",
        {"s1._domainkey.org.example TXT": texts(DkimIdentity("org.example", "s1", OTHER).record)},
        {},
        "another key",
        RECORD[-40:],
    ),
    (
        "dkim",
        {"s1._domainkey.org.example TXT": texts(DkimIdentity("org.example", "s1", SHORT).record)},
        {},
        "only 1024 bits",
        "",
    ),
    ("dkim", {"s1._domainkey.org.example TXT": texts("v=DKIM1; k=rsa; p=")}, {}, "revoked", ""),
    ("dkim", {"s1._domainkey.org.example TXT": texts(RECORD[:250])}, {}, "part", ""),
    ("dkim", {"s1._domainkey.org.example TXT": texts(RECORD, "v=DKIM1; p=")}, {}, "2 TXT records", ""),
    ("dmarc", {"_dmarc.org.example TXT": ""}, {}, "no DMARC record", '_dmarc.org.example. IN TXT "v=DMARC1; p=none;'),
    ("dmarc", {"_dmarc.org.example TXT": texts("v=DMARC1; p=none", "v=DMARC1; p=reject")}, {}, "several", ""),
    (
        "dmarc",
        {"bounce.host.example TXT": texts(f"v=spf1 ip4:{IP} -all"), "bounce.host.example MX": "10 mx.org.example."},
        {"dkim": "host.example", "return_path": "b@bounce.host.example"},
        "fails DMARC",
        "",
    ),
    ("mx", {"org.example MX": "0 ."}, {}, "takes no mail", "org.example. IN MX 10"),
    ("mx", {"org.example MX": ""}, {}, "no mail host (MX) for replies", "org.example. IN MX 10"),
    ("mx", {"mx.org.example A": ""}, {}, "has no address", ""),
    (
        "mx",
        {"bounce.org.example TXT": texts(f"v=spf1 ip4:{IP} -all")},
        {"return_path": "b@bounce.org.example"},
        "for bounces",
        "bounce.org.example. IN MX 10",
    ),
    ("ptr", {"10.2.0.192.in-addr.arpa PTR": ""}, {}, "no name in the DNS", "10.2.0.192.in-addr.arpa. IN PTR"),
    ("ptr", {"out.org.example A": "192.0.2.99"}, {}, "does not lead back", "out.org.example. IN A 192.0.2.10"),
    ("mta-sts", {"org.example MX": "10 mx.other.example.", "mx.other.example A": IP}, {}, "mx.other.example", ""),
    ("sender", {}, {"return_path": "refused@org.example"}, "550 5.7.60", ""),
    ("tls", {}, {"security": "tls"}, "", ""),
]


@pytest.mark.parametrize(("check", "zone", "settings", "words", "record"), WRONG, ids=[f"{w[0]} {w[3]}" for w in WRONG])
def test_what_would_fail_is_an_error_with_its_record(
    doctor: Doctor, check: str, zone: dict[str, str], settings: dict[str, str], words: str, record: str
) -> None:
    ran = doctor(zone, **settings)
    errors = _levels(ran)
    assert ran.code == 1
    if check == "tls":
        check = next(iter(errors))  # the host first answers without TLS, and the reason has many forms
    assert words in errors[check]["text"], errors
    assert errors[check]["mend"]
    assert record in errors[check]["record"].replace('" "', ""), errors[check]


@pytest.mark.parametrize(
    ("zone", "settings"),
    [
        ({"news.org.example TXT": texts(f"v=spf1 ip4:{IP} -all"), "news.org.example MX": "1 mx.org.example."},
         {"domain": "news.org.example"}),
        ({"news.org.example TXT": texts(f"v=spf1 ip4:{IP} -all"), "news.org.example MX": "1 mx.org.example.",
          "s1._domainkey.mail.org.example TXT": texts(RECORD)},
         {"domain": "news.org.example", "dkim": "mail.org.example"}),
    ],
)  # fmt: skip
def test_relaxed_alignment_goes_by_the_organisation(
    doctor: Doctor, zone: dict[str, str], settings: dict[str, str]
) -> None:
    """News from news.org.example, signed by org.example or mail.org.example: DMARC passes."""
    dmarc = [each for each in doctor(zone, **settings).json["findings"] if each["check"] == "dmarc"]
    assert [each["level"] for each in dmarc] == ["ok"]
    assert "the signature of" in dmarc[0]["text"]


def test_strict_alignment_wants_the_same_domain(doctor: Doctor) -> None:
    zone = {
        "_dmarc.org.example TXT": texts("v=DMARC1; p=reject; adkim=s; aspf=s"),
        "news.org.example MX": "1 mx.org.example.",
        "news.org.example TXT": texts(f"v=spf1 ip4:{IP} -all"),
    }
    assert "dmarc" in _levels(doctor(zone, domain="news.org.example"))


@pytest.mark.parametrize("behaviour", ["SERVFAIL", "REFUSED"])
def test_dns_trouble_is_not_looked_up_and_never_missing(doctor: Doctor, behaviour: str) -> None:
    ran = doctor({f"{key.split()[0]} *": behaviour for key in GOOD} | dict.fromkeys(GOOD, ""))
    assert ran.code == 0
    assert {"spf", "dkim", "dmarc", "mx", "ptr", "mta-sts", "tls-rpt"} <= set(_levels(ran, "unknown"))
    assert not _levels(ran, "error", "warning").keys() - {"extensions"}
    assert all("could not be looked up" in each["text"] for each in _levels(ran, "unknown").values()
               if each["check"] != "dmarc")  # fmt: skip


def test_a_failing_include_is_not_an_error_of_ours(doctor: Doctor) -> None:
    ran = doctor({"org.example TXT": texts("v=spf1 include:a.example -all"), "a.example TXT": "SERVFAIL"})
    assert (ran.code, _levels(ran, "unknown").keys()) == (0, {"spf"})


@pytest.mark.parametrize(
    ("zone", "check", "words"),
    [
        ({"_mta-sts.org.example TXT": ""}, "mta-sts", "mx: mx.org.example"),
        ({"_smtp._tls.org.example TXT": ""}, "tls-rpt", "publish this record"),
        ({"_dmarc.org.example TXT": texts("v=DMARC1; p=none; pct=50")}, "dmarc", "take it out"),
        ({"org.example TXT": texts(f"v=spf1 ip4:{IP} {' '.join(f'a:h{n}.org.example' for n in range(11))} ~all"),
          **{f"h{n}.org.example A": IP for n in range(11)}}, "spf", "include"),
        ({"org.example MX": "", "org.example A": "192.0.2.3"}, "mx", "publish"),
        ({"s1._domainkey.org.example TXT": texts(RECORD.replace("p=", "t=y; p="))}, "dkim", "publish this record"),
    ],
)  # fmt: skip
def test_what_is_not_best_is_a_warning(doctor: Doctor, zone: dict[str, str], check: str, words: str) -> None:
    ran = doctor(zone)
    assert ran.code == 0, _levels(ran)
    assert words in _levels(ran, "warning")[check]["mend"]


def test_a_refused_login_is_an_error_without_the_password(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAIL_PASSWORD", "wrong-but-secret")
    ran = doctor()
    assert (ran.code, _levels(ran).keys()) == (1, {"login"})
    assert "wrong-but-secret" not in ran.out


def test_an_untrusted_certificate_is_an_error(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    assert _levels(doctor()).keys() == {"tls"}


def test_a_secret_of_mail_that_is_not_set_is_named(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MAIL_PASSWORD")
    ran = doctor()
    assert (ran.code, "MAIL_PASSWORD" in ran.err, "NOT_SET_ANYWHERE" in ran.err) == (1, True, False)


def test_the_sending_address_can_be_named(doctor: Doctor) -> None:
    ran = doctor(None, "--sending-ip", "192.0.2.99")
    assert ran.code == 1
    assert "192.0.2.99" in _levels(ran)["spf"]["record"]


@pytest.mark.parametrize(("option", "value"), [("--sending-ip", "mail"), ("--resolver", "nowhere")])
def test_a_wrong_option_is_refused(doctor: Doctor, option: str, value: str) -> None:
    ran = doctor(None, option, value)
    assert (ran.code, value in ran.err) == (2, True)


@pytest.mark.parametrize(
    ("policy", "status", "level"),
    [("", 200, "unknown"), (POLICY, 404, "warning"), ("<html>", 200, "warning"), (POLICY, 200, "ok"),
     (POLICY.replace("*.", "old."), 200, "error"),
     (POLICY.replace("*.", "old.").replace("enforce", "testing"), 200, "warning")],
)  # fmt: skip
def test_the_policy_of_mta_sts_is_read(
    tmp_path: Path, doctor: Doctor, monkeypatch: pytest.MonkeyPatch, policy: str, status: int, level: str
) -> None:
    monkeypatch.setattr(examine, "GuardedSession", lambda timeout: _Web(policy, status))
    findings = [each for each in doctor().json["findings"] if each["check"] == "mta-sts"]
    assert [each["level"] for each in findings] == [level]


def test_a_known_provider_is_included_by_name(tmp_path: Path) -> None:
    """The host for submission says nothing about the addresses from which the provider sends."""
    text = MAIN.format(port=587, security="starttls", return_path="b@org.example", ip="", domain="org.example",
                       dkim="org.example").replace("host: localhost", "host: 127.0.0.1")  # fmt: skip
    (tmp_path / "tidings.yaml").write_text(text.replace("  sends_from: []\n", ""))
    (tmp_path / "dkim.pem").write_text(PEM)
    newsroom = load_newsroom(
        tmp_path, {"MAIL_USER": "u", "MAIL_PASSWORD": "p", "NOT_SET_ANYWHERE": "https://a.example/"}
    )
    assert newsroom.newsroom is not None
    mail = newsroom.newsroom.mail[0].model_copy(update={"host": "smtp-relay.gmail.com"})
    zone = {
        **GOOD,
        "org.example TXT": texts("v=spf1 mx -all"),
        "_spf.google.com TXT": texts("v=spf1 ip4:192.0.2.0/24 ~all"),
    }
    with name_server(zone) as server:
        dns = examine.DnsLookups(server.address)
        route = examine._make_route(dns, mail, "org.example", ())
        findings = list(examine.check_spf(dns, "org.example", route, is_return_path=True))
        assert [(each.level, each.record) for each in findings] == [
            ("error", 'org.example. IN TXT "v=spf1 include:_spf.google.com mx -all"')
        ]
    zone["org.example TXT"] = texts("v=spf1 include:_spf.google.com ~all")
    with name_server(zone) as server:
        findings = list(
            examine.check_spf(examine.DnsLookups(server.address), "org.example", route, is_return_path=True)
        )
    assert [each.level for each in findings] == ["ok"]


def test_findings_are_read_in_plain_lines(doctor: Doctor, run_in: Run, tmp_path: Path) -> None:
    doctor()
    with name_server(GOOD | {"_dmarc.org.example TXT": texts("v=DMARC1; p=none; pct=5")}) as server:
        ran = run_in(tmp_path, "doctor", "--resolver", server.address)
    assert ran.code == 0, ran.err
    assert re.search(r"(?m)^org\.example\n  ok +mx ", ran.out)
    assert ran.out.rstrip().splitlines()[-1].endswith("warnings.")
