"""Signature Version 4 with the values of the test suite that AWS publishes."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tidings.channels.mail_api.ses import Credentials, sign_request

SUITE = Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
AT = datetime(2015, 8, 30, 12, 36, tzinfo=UTC)
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.mark.parametrize(
    ("name", "method", "path", "headers", "body", "names", "signature"),
    [
        ("get-vanilla", "GET", "/", {}, b"", "host;x-amz-date",
         "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        ("post-vanilla", "POST", "/", {}, b"", "host;x-amz-date",
         "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
        ("get-vanilla-query-order-key-case", "GET", "/?Param2=value2&Param1=value1", {}, b"", "host;x-amz-date",
         "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"),
        ("post-header-key-sort", "POST", "/", {"My-Header1": "value1"}, b"", "host;my-header1;x-amz-date",
         "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c"),
        ("post-x-www-form-urlencoded", "POST", "/", FORM, b"Param1=value1", "content-type;host;x-amz-date",
         "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a"),
    ],
)  # fmt: skip
def test_requests_of_amazons_test_suite_get_its_signatures(
    name: str, method: str, path: str, headers: dict[str, str], body: bytes, names: str, signature: str
) -> None:
    signed = sign_request(
        SUITE, method=method, url=f"https://example.amazonaws.com{path}", headers=headers, body=body,
        region="us-east-1", service="service", at=AT,
    )  # fmt: skip
    assert signed["authorization"] == (
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
        f"SignedHeaders={names}, Signature={signature}"
    ), name


def test_a_session_token_is_signed_and_no_secret_is_shown() -> None:
    lent = Credentials("AKIDEXAMPLE", SUITE.secret_key, "t0ken")
    signed = sign_request(
        lent, method="POST", url="https://example.amazonaws.com:8443/x", headers={}, body=b"", region="us-east-1",
        service="ses", at=AT,
    )  # fmt: skip
    assert "SignedHeaders=host;x-amz-date;x-amz-security-token," in signed["authorization"]
    assert (signed["host"], signed["x-amz-security-token"]) == ("example.amazonaws.com:8443", "t0ken")
    assert SUITE.secret_key not in repr(lent) + repr(signed) and "t0ken" not in repr(lent)
