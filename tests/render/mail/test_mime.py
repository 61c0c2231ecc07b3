"""Base64 lines and plain messages."""

from __future__ import annotations

import base64
from email import message_from_bytes, policy
from email.message import EmailMessage

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.render.mail.samples import headers
from tidings.render.mail.mime import encode_lines, plain_message


def read(raw: bytes) -> EmailMessage:
    return message_from_bytes(raw, policy=policy.default)  # type: ignore[return-value]


@given(st.binary(max_size=400))
def test_encoded_lines_are_base64(data: bytes) -> None:
    lines = encode_lines(data)
    assert base64.b64decode(lines) == data
    assert all(len(line) <= 76 for line in lines.split(b"\r\n"))


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
