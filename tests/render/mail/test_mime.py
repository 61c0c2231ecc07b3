"""Mail as bytes, read back by parsers that we did not write."""

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

from tests.render.mail.samples import AT, READER, TEMPLATES, WAY_OUT, document, headers, item, many, message, parts
from tidings.model.edition import Selection
from tidings.render.mail.digest import build_layout
from tidings.render.mail.fragments import MailDocument, MailFragment
from tidings.render.mail.gates import check_mail
from tidings.render.mail.headers import (
    AddressError,
    HeaderError,
    Mailbox,
    NeedsSmtputf8Error,
    ascii_address,
    encoded_words,
    header_bytes,
)
from tidings.render.mail.merge import MailMerge
from tidings.render.mail.mime import encode_lines, plain_message
from tidings.render.mail.personal import PersonalError, PersonalValues

FEW = many(4)
DOCUMENT = document(FEW)
SELECTION = Selection("en", FEW[0], tuple(FEW[1:3]), (FEW[3],))


def read(raw: bytes) -> EmailMessage:
    return message_from_bytes(raw, policy=policy.default)  # type: ignore[return-value]


def block(**changes: Any) -> bytes:
    return header_bytes(headers(**changes), changes.get("subject", "Hello"))


def test_the_whole_mail_parses_back_without_defects() -> None:
    mail = read(message(DOCUMENT, SELECTION))
    assert mail.get_content_type() == "multipart/alternative"
    assert [part.get_content_type() for part in mail.iter_parts()] == ["text/plain", "text/html"]
    assert [part.get_content_charset() for part in mail.iter_parts()] == ["utf-8", "utf-8"]
    assert not mail.defects
    assert not any(part.defects for part in mail.walk())
    assert mail["Subject"] == FEW[0].title
    assert mail["From"].addresses[0].display_name == "Степная редакция"
    assert mail["Date"].datetime == AT
    assert mail["List-Id"] == "<digest.example.org>"
    assert (mail["Precedence"], mail["Auto-Submitted"], mail["List-Post"]) == ("bulk", "auto-generated", "NO")


def test_every_line_is_short_and_ends_in_crlf() -> None:
    raw = message(DOCUMENT, SELECTION)
    assert b"\n" not in raw.replace(b"\r\n", b"")
    head, body = raw.split(b"\r\n\r\n", 1)
    assert all(len(line) <= 76 for line in body.split(b"\r\n"))
    assert all(len(line) <= 998 for line in head.split(b"\r\n"))


def test_personal_parts_are_escaped_in_html_and_plain_in_text() -> None:
    text, html = parts(message(DOCUMENT, SELECTION))
    assert READER.preferences_url in text
    assert READER.preferences_url.replace("&", "&amp;") in html
    assert READER.preferences_url not in html


def test_an_empty_part_takes_its_line_with_it() -> None:
    raw = message(DOCUMENT, SELECTION, personal=PersonalValues(unsubscribe_url=WAY_OUT))
    assert check_mail(raw) == []
    text, html = parts(raw)
    assert "Change topics" not in text + html
    assert "View in browser" not in text + html
    assert "@@" not in text + html


def test_html_injection_through_a_name_is_escaped(tmp_path: Any) -> None:
    doc = MailDocument("digest", "", "en", {"head": MailFragment("<p>@@tidings.name@@</p>", "@@tidings.name@@")})
    arrangement = build_layout(DOCUMENT, SELECTION, templates=TEMPLATES)
    only_head = type(arrangement)("en", "s", "", ("head",))
    text, html = parts(MailMerge(doc).message(only_head, headers(), PersonalValues('<script>"&')))
    assert html == "<p>&lt;script&gt;&quot;&amp;</p>"
    assert text == '<script>"&'


@pytest.mark.parametrize("value", ["a\r\nBcc: x@example.org", "a\x00b", "a\x1bb", "a\x85b", "a\u2028b"])
def test_control_characters_in_personal_parts_are_refused(value: str) -> None:
    with pytest.raises(PersonalError):
        message(DOCUMENT, SELECTION, personal=PersonalValues(value, WAY_OUT))


@given(
    literals=st.lists(st.text(max_size=70), min_size=1, max_size=7),
    names=st.lists(st.text(alphabet="aя€😀", max_size=90), min_size=2, max_size=2),
)
def test_placeholders_of_any_length_at_any_alignment_round_trip(literals: list[str], names: list[str]) -> None:
    """Quoted-printable would split a placeholder at a soft break; base64 is spliced at each of three alignments."""
    literals = [re.sub(r"[\r\n@]|[\ud800-\udfff]", "", literal) for literal in literals]
    keys = [f"k{number}" for number in range(len(literals))]
    fragments = {
        key: MailFragment(f"{literal}@@tidings.name@@é" if number % 2 else literal, f"@@tidings.view_url@@{literal}")
        for number, (key, literal) in enumerate(zip(keys, literals, strict=True))
    }
    compiled = MailMerge(MailDocument("digest", "", "en", fragments))
    arrangement = type(build_layout(DOCUMENT, SELECTION, templates=TEMPLATES))("en", "s", "", tuple(keys))
    for name in names:
        text, html = parts(compiled.message(arrangement, headers(), PersonalValues(name=name, view_url=name)))
        assert html == "".join(f"{text}{name}é" if number % 2 else text for number, text in enumerate(literals))
        assert text == "".join(f"{name}{literal}" for literal in literals)


@given(st.binary(max_size=400))
def test_encoded_lines_are_base64(data: bytes) -> None:
    lines = encode_lines(data)
    assert base64.b64decode(lines) == data
    assert all(len(line) <= 76 for line in lines.split(b"\r\n"))


def test_the_same_input_gives_the_same_bytes_and_another_edition_another_boundary() -> None:
    assert message(DOCUMENT, SELECTION) == message(document(FEW), SELECTION)
    first, second = (read(message(DOCUMENT, SELECTION, list_id=f"{name}.example.org")).get_boundary() for name in "ab")
    assert first != second


def test_the_boundary_cannot_occur_in_a_part() -> None:
    raw = message(DOCUMENT, SELECTION)
    boundary = read(raw).get_boundary().encode()
    assert raw.count(b"--" + boundary) == 3
    assert raw.endswith(b"--" + boundary + b"--\r\n")
    assert b"_" in boundary  # not in base64's alphabet


# --- headers


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
    # The newer parser puts a space between the encoded-words of a folded name; RFC 2047 §6.2 says that none is there.
    found = parseaddr(str(make_header(decode_header(message_from_bytes(raw)["To"]))))
    assert found == (name.strip(), "reader@example.net")


def test_the_first_line_of_from_is_never_empty() -> None:
    """rspamd: HEADER_FROM_EMPTY_DELIMITER."""
    raw = block(sender="Қазақстандағы Біріккен Ұлттар Ұйымының баспасөз қызметі <news@example.org>")
    assert re.search(rb"^From: =\?utf-8", raw)
    assert not re.search(rb"(?m)^[!-9;-~]+:\s*\r$", raw)


def test_sharp_s_stays_what_it_is() -> None:
    """Python's own idna codec makes strasse of it: another domain."""
    assert ascii_address("a@straße.example") == "a@xn--strae-oqa.example"
    assert ascii_address("a@ӘЛЕМ.қаз") == "a@" + "әлем.қаз".encode("idna").decode()


def test_a_local_part_beyond_ascii_asks_for_smtputf8() -> None:
    with pytest.raises(NeedsSmtputf8Error):
        ascii_address("айгүл@example.org")
    # It is written as it is (RFC 6532 §3.2): such a mail goes by SMTPUTF8 or not at all.
    assert "\r\nTo: айгүл@example.org\r\n".encode() in block(to_address="айгүл@example.org")
    named = block(to_address="айгүл@example.org", to_name="Айгүл Ахмет")
    assert re.search("\r\nTo: =\\?utf-8\\?[^ ]+ <айгүл@example.org>\r\n".encode(), named)
    for wrong in ("айгүл\x85@example.org", "айгүл\r\nBcc: x@example.org", "ай<гүл@example.org"):
        with pytest.raises(ValueError, match=r"To|not a mail address"):
            block(to_address=wrong)


@pytest.mark.parametrize(
    "address", ["", "a", "@b", "a@", "a b@c.de", "a@b..c", "a@-b.c", "a..b@c.de", "a@b.c>", "x" * 65 + "@b.c"]
)
def test_what_is_no_address_is_refused(address: str) -> None:
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


@pytest.mark.parametrize("html", [None, "<p>Привет</p>"])
def test_notices_parse_back(html: str | None) -> None:
    single = headers(subject="Notice", bulk=False, list_id="", unsubscribe_url="", unsubscribe_mailto="")
    mail = read(plain_message(single, "Привет\n", html))
    body = mail.get_body(("plain",))
    assert body is not None
    assert body.get_content() == "Привет\r\n"
    assert mail["Precedence"] is None
    assert mail["List-Unsubscribe"] is None
    assert not mail.defects


def test_a_fragment_is_encoded_at_most_three_times_whatever_the_number_of_readers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import tidings.render.mail.mime as mime

    sizes: list[int] = []
    real = mime.encode_lines
    monkeypatch.setattr(mime, "encode_lines", lambda data: sizes.append(len(data)) or real(data))
    compiled = MailMerge(DOCUMENT)
    for number in range(30):
        chosen = FEW[number % 3 :]
        selection = Selection("en", chosen[0], tuple(chosen[1:]))
        compiled.message(
            build_layout(DOCUMENT, selection, templates=TEMPLATES), headers(), PersonalValues("n" * number, WAY_OUT)
        )
    big = [size for size in sizes if size > 1000]
    # Each of the fragments' literals, three alignments, two forms.
    assert (
        len(big) <= 3 * sum(1 for f in DOCUMENT.fragments.values() for part in (f.html, f.text) if len(part) > 1000) * 2
    )


def test_items_of_several_bodies_share_nothing() -> None:
    one, other = item("one"), item("other")
    doc = document([one, other])
    text, _ = parts(message(doc, Selection("en", one)))
    assert other.title not in text
