"""`mail`: one sender or several, each with the keys of its type, and lists that name their senders."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.config.newsrooms import ENV, MAIN, read, relay, said, spoilt, write
from tidings.config.cross_checks import organisational_domain

BEGIN, END = MAIN.index("mail:"), MAIN.index("lists:")
TWO = """\
mail:
  - {name: first, host: a.example, port: 26, weight: 3, domain_rates: {Gmail.com: 5/s, почта.example: 60/m}}
  - host: B.example
    security: tls
"""


def with_mail(mail: str) -> str:
    return MAIN[:BEGIN] + mail + MAIN[END:]


def test_one_sender_needs_no_list_and_is_called_by_its_host(tmp_path: Path) -> None:
    sender = relay(read(write(tmp_path)).newsroom)
    assert (sender.name, sender.type, sender.target_host, sender.weight) == ("localhost", "smtp", "localhost", None)
    assert sender.domain_rates == {}


def test_several_keep_their_order_names_and_weights(tmp_path: Path) -> None:
    loaded = read(write(tmp_path, with_mail(TWO)))
    assert said(loaded) == [] and loaded.newsroom is not None
    first, second = loaded.newsroom.mail
    assert (first.name, first.weight, second.name, second.weight) == ("first", 3, "b.example", None)
    assert first.domain_rates == {"gmail.com": 5.0, "xn--80a1acny.example": 1.0}
    assert loaded.newsroom.find_senders("digest") == (first, second) == loaded.newsroom.find_senders("")


def test_a_fingerprint_shows_every_change_and_no_secret(tmp_path: Path) -> None:
    def of(mail: str, key: str = "a-key-that-is-long") -> str:
        newsroom = read(write(tmp_path, with_mail(mail)), {**ENV, "KEY": key}).newsroom
        assert newsroom is not None
        return newsroom.mail[0].fingerprint

    one = "mail: {type: postmark, server_token: {env: KEY}}\n"
    assert of(one) == of(one)
    assert len({of(one), of(one, "another-key-of-mine"), of(one.replace("}}", "}, stream: x}")), of(TWO)}) == 4


def test_no_sender_at_all_is_falsy(tmp_path: Path) -> None:
    loaded = read(write(tmp_path, with_mail("mail: []\n")), lenient=True)
    assert said(loaded)[0] == "tidings.yaml:17:1: there are lists but no `mail`. Add a sender under `mail:`"
    assert loaded.newsroom is not None and not loaded.newsroom.mail


@pytest.mark.parametrize(
    ("written", "names"), [("b.example", ["b.example"]), ("[b.example, first]", ["b.example", "first"])]
)
def test_a_list_names_its_senders(tmp_path: Path, written: str, names: list[str]) -> None:
    main = spoilt(with_mail(TWO), "    public: true", f"    sender: {written}")
    loaded = read(write(tmp_path, main))
    assert said(loaded) == [] and loaded.newsroom is not None
    assert [sender.name for sender in loaded.newsroom.find_senders("digest")] == names
    assert len(loaded.newsroom.find_senders("")) == 2


@pytest.mark.parametrize(
    ("mail", "expected"),
    [
        ("mail: {type: stmp, host: a}\n", "16:14: mail: 'stmp' is not a type. Did you mean 'smtp'?"),
        ("mail:\n  - {host: a}\n  - {type: {a: b}}\n", "18:6: mail: {'a': 'b'} is not a type"),
        ("mail:\n  - {host: a}\n  - {hots: b}\n", "18:6: unknown key 'hots'. Did you mean 'host'?"),
        ("mail:\n  - {host: a}\n  - text\n", "18:5: mail: expected a map here. Write `key: value` lines below it"),
        ("mail: text\n", "16:7: mail: expected a map here"),
        ("mail:\n  - {host: a}\n  - {host: A}\n", "18:5: two senders are called 'a'. Give this one a name: `name: a-2"),
        ("mail:\n  - {host: a}\n  - {host: b, name: a}\n", "18:21: two senders are called 'a'. Give this one another"),
        ("mail: {host: a, name: My relay}\n", "16:23: name: 'My relay' is not a name. Use lower-case letters"),
        ("mail: {host: a, weight: 0}\n", "16:25: weight: must be at least 1"),
        ("mail: {host: a, domain_rates: {gmail: 5/s}}\n", "16:32: 'gmail' is not a domain of addresses"),
        ("mail: {host: a, domain_rates: {gmail.com: fast}}\n", "16:43: gmail.com: 'fast' is not a rate"),
        ("mail: {host: a, domain_rates: 5/s}\n", "16:31: domain_rates: expected a map here"),
        ("mail: {type: ses, region: frankfurt, access_key: A, secret_key: {env: KEY}}\n",
         "16:27: region: 'frankfurt' is not a region. Write it like eu-central-1"),
        ("mail: {type: ses, region: us-east-1, secret_key: {env: KEY}}\n", "16:1: 'access_key' is missing"),
        ("mail: {type: postmark, server_token: {env: KEY}, port: 25}\n", "16:50: unknown key 'port'"),
        ("mail: {type: postmark, server_token: hunter2}\n", "16:38: server_token: secrets belong in the environment"),
        ("mail: {type: mailgun, domain: mg.example.org, api_key: {env: KEY}, region: de}\n",
         "16:76: region: must be 'us' or 'eu'"),
        ("mail: {type: sendgrid, api_key: {env: NONE}}\n", "16:39: the environment has no variable NONE"),
        ("mail:\n  - {type: sendgrid, api_key: {env: KEY}}\n  - {type: sendgrid, api_key: {env: KEY}}\n",
         "18:5: two senders are called 'sendgrid'. Give this one a name"),
        ("mail: {type: sendgrid, api_key: {env: KEY}, endpoint: 'http://api.example.org'}\n",
         "16:55: endpoint: keys and mail would be sent unencrypted. Write https://..."),
        ("mail: {host: a, password: hunter2}\n", "16:27: password: secrets belong in the environment or in a file"),
    ],
)  # fmt: skip
def test_a_mistake_is_reported_at_its_line(tmp_path: Path, mail: str, expected: str) -> None:
    [problem] = said(read(write(tmp_path, with_mail(mail)), {**ENV, "KEY": "a-key-that-is-long"}))
    assert problem.startswith(f"tidings.yaml:{expected}")
    assert "hunter2" not in problem and "a-key-that" not in problem


def test_a_list_with_an_unknown_sender_is_refused(tmp_path: Path) -> None:
    main = spoilt(with_mail(TWO), "    public: true", "    sender: [first, b.exmaple]")
    assert said(read(write(tmp_path, main))) == [
        "tidings.yaml:26:21: there is no sender 'b.exmaple' under `mail`. Did you mean 'b.example'?"
    ]
    twice = spoilt(with_mail(TWO), "    public: true", "    sender: [first, first]")
    assert said(read(write(tmp_path, twice))) == ["tidings.yaml:26:21: sender: 'first' is here twice. Keep one"]


@pytest.mark.parametrize(
    ("domain", "fails"),
    [
        ("example.org", False),
        ("mail.example.org", False),
        ("EXAMPLE.org", False),
        ("example.com", True),
        ("ample.org", True),
    ],
)
def test_a_signature_that_dmarc_would_not_count_is_a_warning(tmp_path: Path, domain: str, fails: bool) -> None:
    dkim = f"  dkim: {{domain: {domain}, selector: s1, key: {{env: KEY}}}}\n"
    loaded = read(write(tmp_path, with_mail(f"mail:\n  host: localhost\n{dkim}")))
    matching = [problem for problem in loaded.problems if "DMARC" in problem.message]
    assert [(problem.level, problem.line) for problem in matching] == ([("warning", 18)] if fails else [])


def test_two_hosts_of_one_organisation_pass_dmarc() -> None:
    domains = ("news.example.org", "mail.example.org", "a.news.example.co.uk", "example.gov.kz", "gov.kz", "x.de")
    assert [organisational_domain(domain) for domain in domains] == [
        "example.org",
        "example.org",
        "example.co.uk",
        "example.gov.kz",
        "gov.kz",
        "x.de",
    ]
