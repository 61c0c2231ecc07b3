"""Whole mails, read by parsers of other projects."""

from __future__ import annotations

import re
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.render.mail.samples import (
    AT,
    PREFERENCES_URL,
    TEMPLATES,
    UNSUBSCRIBE_URL,
    document,
    item,
    many,
    merged,
    message,
    parts,
)
from tidings.model.edition import Selection
from tidings.render.mail.digest import build_layout
from tidings.render.mail.fragments import MailDocument, MailFragment
from tidings.render.mail.gates import check_mail
from tidings.render.mail.headers import HeaderError
from tidings.render.mail.merge import MailMerge

FEW = many(4)
DOCUMENT = document(FEW)
SELECTION = Selection("en", FEW[0], tuple(FEW[1:3]), (FEW[3],))


def read(raw: bytes) -> EmailMessage:
    return message_from_bytes(raw, policy=policy.default)  # type: ignore[return-value]


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


def test_each_reader_has_their_own_links_in_both_parts() -> None:
    text, page = parts(message(DOCUMENT, SELECTION))
    for url in (UNSUBSCRIBE_URL, PREFERENCES_URL):
        assert url in text
        assert url in page


def test_an_empty_personal_part_removes_its_line() -> None:
    raw = message(DOCUMENT, SELECTION, name="")
    assert check_mail(raw) == []
    text, html = parts(raw)
    assert "Dear" not in text + html
    assert "View in browser" not in text + html
    assert "@@" not in text + html


def test_html_injection_through_a_name_is_escaped(tmp_path: Any) -> None:
    doc = MailDocument("digest", "", "en", {"head": MailFragment("<p>@@tidings.name@@</p>", "@@tidings.name@@")})
    arrangement = build_layout(DOCUMENT, SELECTION, templates=TEMPLATES)
    only_head = type(arrangement)("en", "s", "", ("head",))
    text, html = parts(merged(MailMerge(doc), only_head, '<script>"&'))
    assert html == "<p>&lt;script&gt;&quot;&amp;</p>"
    assert text == '<script>"&'


@pytest.mark.parametrize("value", ["a\r\nBcc: x@example.org", "a\x00b", "a\x1bb", "a\x85b", "a\u2028b"])
def test_control_characters_in_a_name_are_refused(value: str) -> None:
    with pytest.raises(HeaderError):
        message(DOCUMENT, SELECTION, name=value)


@given(
    literals=st.lists(st.text(max_size=70), min_size=1, max_size=7),
    names=st.lists(st.text(alphabet="aя€😀", max_size=90), min_size=2, max_size=2),
)
def test_placeholders_of_any_length_at_any_alignment_round_trip(literals: list[str], names: list[str]) -> None:
    """Quoted-printable would split a placeholder at a soft line break. Base64 is merged at each of three alignments."""
    literals = [re.sub(r"[\r\n@]|[\ud800-\udfff]", "", literal) for literal in literals]
    keys = [f"k{number}" for number in range(len(literals))]
    fragments = {
        key: MailFragment(f"{literal}@@tidings.name@@é" if number % 2 else literal, f"@@tidings.name@@{literal}")
        for number, (key, literal) in enumerate(zip(keys, literals, strict=True))
    }
    compiled = MailMerge(MailDocument("digest", "", "en", fragments))
    arrangement = type(build_layout(DOCUMENT, SELECTION, templates=TEMPLATES))("en", "s", "", tuple(keys))
    for name in names:
        text, html = parts(merged(compiled, arrangement, name))
        assert html == "".join(f"{text}{name}é" if number % 2 else text for number, text in enumerate(literals))
        assert text == "".join(f"{name}{literal}" for literal in literals)


def test_same_input_same_bytes_and_one_boundary_an_edition() -> None:
    assert message(DOCUMENT, SELECTION) == message(document(FEW), SELECTION)
    first, second = (read(message(DOCUMENT, SELECTION, list_id=f"{name}.example.org")).get_boundary() for name in "ab")
    assert first != second


def test_the_boundary_cannot_occur_in_a_part() -> None:
    raw = message(DOCUMENT, SELECTION)
    boundary = read(raw).get_boundary().encode()
    assert raw.count(b"--" + boundary) == 3
    assert raw.endswith(b"--" + boundary + b"--\r\n")
    assert b"_" in boundary  # not in base64's alphabet


def test_a_fragment_is_encoded_at_most_three_times(
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
        merged(compiled, build_layout(DOCUMENT, selection, templates=TEMPLATES), "n" * number)
    big = [size for size in sizes if size > 1000]
    # Each literal of the fragments, with three alignments and two forms.
    assert (
        len(big) <= 3 * sum(1 for f in DOCUMENT.fragments.values() for part in (f.html, f.text) if len(part) > 1000) * 2
    )


def test_a_mail_has_only_its_own_items() -> None:
    one, other = item("one"), item("other")
    doc = document([one, other])
    text, _ = parts(message(doc, Selection("en", one)))
    assert other.title not in text
