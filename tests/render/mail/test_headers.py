"""Header fields and addresses, read by parsers of other projects."""

from __future__ import annotations

import base64
import re
from datetime import datetime, timedelta
from email import message_from_bytes, policy
from email.header import decode_header, make_header
from email.message import EmailMessage
from email.utils import parseaddr
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.render.mail.samples import headers
from tidings.render.mail.headers import (
    AddressError,
    HeaderError,
    Mailbox,
    NeedsSmtputf8Error,
    ascii_address,
    encoded_words,
    header_bytes,
)


def read(raw: bytes) -> EmailMessage:
    return message_from_bytes(raw, policy=policy.default)  # type: ignore[return-value]


def block(**changes: Any) -> bytes:
    return header_bytes(headers(**changes), changes.get("subject", "Hello"))


def test_a_long_unsubscribe_url_never_becomes_an_encoded_word() -> None:
    """Python 3.8 to 3.13 encodes any token of 78 characters or more, and mail programs then show no button."""
    long = "https://news.example.org/unsubscribe/" + "k" * 300
    raw = block(unsubscribe_url=long)
    mailto = f"mailto:leave@example.org?subject=unsubscribe%20{'k' * 300}"
    assert f"List-Unsubscribe: <{long}>,\r\n <{mailto}>\r\n".encode() in raw
    assert b"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n" in raw


def test_mailto_alone_has_no_one_click() -> None:
    raw = block(unsubscribe_url="")
    assert b"List-Unsubscribe: <mailto:leave@example.org>\r\n" in raw
    assert b"List-Unsubscribe-Post" not in raw


@pytest.mark.parametrize(
    "url",
    [
        "https://пример.рф/x",
        "https://x/a b",
        "javascript:alert(1)",
        "https://x/>,<mailto:y@z",
        "https://x/\r\nBcc: y",
        "/u/1",
    ],
)
def test_uris_that_could_break_out_are_refused(url: str) -> None:
    with pytest.raises(HeaderError) as caught:
        block(unsubscribe_url=url)
    assert caught.value.header == "List-Unsubscribe"


@pytest.mark.parametrize("bad", ["\r", "\n", "\0", "\x0b", "\x7f", "\x85", "\u2028", "\ud800"])
@pytest.mark.parametrize(
    ("field", "header"),
    [
        ("subject", "Subject"),
        ("to_name", "To"),
        ("sender", "From"),
        ("reply_to", "Reply-To"),
        ("message_id", "Message-ID"),
        ("list_id", "List-Id"),
        ("feedback_id", "Feedback-ID"),
        ("language", "Content-Language"),
        ("archive", "List-Archive"),
    ],
)
def test_control_characters_in_any_header_are_refused(field: str, header: str, bad: str) -> None:
    value = f"a{bad}b <x@example.org>" if field in ("sender", "reply_to") else f"a{bad}Bcc: x@example.org"
    with pytest.raises(HeaderError) as caught:
        block(**{field: value})
    assert caught.value.header == header


@given(st.text(min_size=1, max_size=200).filter(lambda text: " ".join(text.split()) != ""))
def test_subjects_round_trip_in_encoded_words_of_at_most_75(subject: str) -> None:
    subject = re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]", "", subject)
    subject = " ".join(part for part in subject.split(" ") if part)
    if not subject:
        return
    raw = block(subject=subject)
    assert read(raw + b"\r\n")["Subject"] == subject
    for word in re.findall(rb"=\?utf-8\?b\?[^?]*\?=", raw):
        assert len(word) <= 75
    assert all(len(line) <= 76 for line in raw.split(b"\r\n") if line.startswith((b"Subject", b" =?")))


def test_encoded_words_never_split_a_character() -> None:
    for word in encoded_words("Ә😀" * 60, 67):
        base64.b64decode(word[10:-2]).decode("utf-8")


def test_a_subject_that_looks_encoded_is_encoded() -> None:
    subject = "=?utf-8?b?SGk=?= really"
    assert read(block(subject=subject) + b"\r\n")["Subject"] == subject


@pytest.mark.parametrize(
    "name",
    ["UN in Kazakhstan", "O'Brien, Pat", 'The "Daily"', "ООН в Казахстане", "Қазақстандағы Біріккен Ұлттар Ұйымы " * 3],
)
def test_display_names_round_trip(name: str) -> None:
    raw = block(to_name=name.strip()) + b"\r\n"
    assert read(raw)["To"].addresses[0].addr_spec == "reader@example.net"
    # The newer parser puts a space between the encoded-words of a folded name; RFC 2047 §6.2 allows none.
    parsed = parseaddr(str(make_header(decode_header(message_from_bytes(raw)["To"]))))
    assert parsed == (name.strip(), "reader@example.net")


def test_the_first_line_of_from_is_never_empty() -> None:
    """rspamd: HEADER_FROM_EMPTY_DELIMITER."""
    raw = block(sender="Қазақстандағы Біріккен Ұлттар Ұйымының баспасөз қызметі <news@example.org>")
    assert re.search(rb"^From: =\?utf-8", raw)
    assert not re.search(rb"(?m)^[!-9;-~]+:\s*\r$", raw)


def test_sharp_s_is_kept_in_domains() -> None:
    """Python's own idna codec turns it into strasse, which is another domain."""
    assert ascii_address("a@straße.example") == "a@xn--strae-oqa.example"
    assert ascii_address("a@ӘЛЕМ.қаз") == "a@" + "әлем.қаз".encode("idna").decode()


def test_a_local_part_beyond_ascii_asks_for_smtputf8() -> None:
    with pytest.raises(NeedsSmtputf8Error):
        ascii_address("айгүл@example.org")
    # It is written unchanged (RFC 6532 §3.2): such a mail goes by SMTPUTF8 or not at all.
    assert "\r\nTo: айгүл@example.org\r\n".encode() in block(to_address="айгүл@example.org")
    named = block(to_address="айгүл@example.org", to_name="Айгүл Ахмет")
    assert re.search("\r\nTo: =\\?utf-8\\?[^ ]+ <айгүл@example.org>\r\n".encode(), named)
    for wrong in ("айгүл\x85@example.org", "айгүл\r\nBcc: x@example.org", "ай<гүл@example.org"):
        with pytest.raises(ValueError, match=r"To|not a mail address"):
            block(to_address=wrong)


@pytest.mark.parametrize(
    "address", ["", "a", "@b", "a@", "a b@c.de", "a@b..c", "a@-b.c", "a..b@c.de", "a@b.c>", "x" * 65 + "@b.c"]
)
def test_invalid_addresses_are_refused(address: str) -> None:
    with pytest.raises(AddressError):
        ascii_address(address)
    with pytest.raises(HeaderError):
        block(to_address=address)


def test_mailbox_parses_names_and_refuses_two() -> None:
    assert Mailbox.parse("UN in Kazakhstan <news@example.org>") == Mailbox("UN in Kazakhstan", "news@example.org")
    assert Mailbox.parse('"Pat, O." <a@example.org>') == Mailbox("Pat, O.", "a@example.org")
    with pytest.raises(AddressError):
        Mailbox.parse("a@example.org, b@example.org")


def test_feedback_id_has_four_parts_and_a_sender_of_5_to_15() -> None:
    with pytest.raises(HeaderError):
        block(feedback_id="a:b:c")
    with pytest.raises(HeaderError):
        block(feedback_id="a:b:c:abcd")


def test_a_naive_date_is_refused() -> None:
    with pytest.raises(HeaderError):
        block(date=datetime(2026, 1, 1) + timedelta(0))
