"""The providers' APIs as their public pages describe them: they check requests and give answers."""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
import json
import re
from email import message_from_bytes
from email.policy import default
from typing import Any

from tidings.testing.http_sink import Received, Step

_numbers = itertools.count(1)


def said(status: int, body: Any, **headers: str) -> Step:
    """Return an answer in JSON."""
    return Step(status, json.dumps(body).encode(), {"Content-Type": "application/json", **headers})


def ses(received: Received, secret: str) -> Step:
    """docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendEmail.html, and Signature Version 4 of the request."""
    headers = received.headers
    if not received.path.endswith("/v2/email/outbound-emails"):
        return said(404, {}, **{"x-amzn-ErrorType": "UnknownOperationException"})
    if "AKIDEXAMPLE/" not in headers["authorization"] or not secret_signs(received, secret):
        text = "The request signature we calculated does not match the signature you provided."
        return said(403, {"message": text}, **{"x-amzn-ErrorType": "SignatureDoesNotMatch"})
    body = json.loads(received.body)
    known = {"ConfigurationSetName", "Content", "Destination", "FeedbackForwardingEmailAddress"}
    raw = message_from_bytes(base64.b64decode(body["Content"]["Raw"]["Data"], validate=True), policy=default)
    if set(body) - known or len(body["Destination"]["ToAddresses"]) != 1 or not raw["From"]:
        return said(400, {"message": "1 validation error detected"}, **{"x-amzn-ErrorType": "BadRequestException"})
    return said(200, {"MessageId": f"0107018b{next(_numbers):08x}-5f0a-4a5c-000000"})


def secret_signs(received: Received, secret: str) -> bool:
    """Whether a request has the right signature, computed from the request as it arrived."""
    headers = received.headers
    match = re.fullmatch(
        r"AWS4-HMAC-SHA256 Credential=\w+/(\d{8})/([a-z0-9-]+)/ses/aws4_request, SignedHeaders=([a-z0-9;-]+), "
        r"Signature=([0-9a-f]{64})",
        headers["authorization"],
    )
    assert match is not None and {"host", "x-amz-date", "content-type"} <= set(match[3].split(";"))
    lines = [f"{name}:{headers[name]}" for name in match[3].split(";")]
    payload = hashlib.sha256(received.body).hexdigest()
    request = "\n".join(["POST", received.path, "", *lines, "", match[3], payload])
    scope = f"{match[1]}/{match[2]}/ses/aws4_request"
    stamp = headers["x-amz-date"]
    text = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(request.encode()).hexdigest()])
    key = ("AWS4" + secret).encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), "sha256").digest()
    return hmac.new(key, text.encode(), "sha256").hexdigest() == match[4] and stamp.startswith(match[1])


def mailgun(received: Received, secret: str) -> Step:
    """documentation.mailgun.com/docs/mailgun/api-reference/send/mailgun/messages/post-v3--domain-name--messages-mime"""
    if received.headers["authorization"] != "Basic " + base64.b64encode(f"api:{secret}".encode()).decode():
        return Step(401, b"Forbidden")
    if not received.path.endswith("/v3/mg.example.org/messages.mime"):
        return said(404, {"message": "Domain not found: other.example.org"})
    form = mailgun_form(received)
    if "to" not in form:
        return said(400, {"message": "to parameter is missing"})
    if not isinstance(form.get("message"), bytes):
        return said(400, {"message": "'message' parameter is not a file"})
    return said(200, {"id": f"<2026112009.{next(_numbers)}@mg.example.org>", "message": "Queued. Thank you."})


def mailgun_form(received: Received) -> dict[str, str | bytes]:
    """Return the fields of multipart/form-data; files as bytes."""
    boundary = re.fullmatch(r"multipart/form-data; boundary=([0-9a-f]+)", received.headers["content-type"])
    assert boundary is not None
    found: dict[str, str | bytes] = {}
    first, *parts, last = received.body.split(b"--" + boundary[1].encode())
    assert (first, last) == (b"", b"--\r\n")
    for part in parts:
        head, _, value = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        name = re.search(rb'name="([^"]+)"', head)
        assert name is not None
        value = value.removesuffix(b"\r\n")
        found[name[1].decode()] = value if b"filename=" in head else value.decode()
    return found


def postmark(received: Received, secret: str) -> Step:
    """postmarkapp.com/developer/api/email-api, "Send a single email"; errors: .../overview, "API error codes"."""
    if received.headers.get("x-postmark-server-token") != secret:
        return said(401, {"ErrorCode": 10, "Message": "No Account or Server API tokens were supplied."})
    if not received.path.endswith("/email"):
        return Step(404)
    if received.headers["accept"] != "application/json" or received.headers["content-type"] != "application/json":
        return said(422, {"ErrorCode": 409, "Message": "JSON required"})
    body = json.loads(received.body)
    known = {"From", "To", "Subject", "HtmlBody", "TextBody", "ReplyTo", "Headers", "TrackOpens", "TrackLinks"}
    if set(body) - known - {"MessageStream"} or not all(set(one) == {"Name", "Value"} for one in body["Headers"]):
        return said(422, {"ErrorCode": 403, "Message": "Invalid request field(s)"})
    return said(
        200,
        {
            "To": body["To"],
            "SubmittedAt": "2026-11-20T04:00:00.0000000-05:00",
            "MessageID": f"b7bc2f4a-e38e-4336-af7d-{next(_numbers):012}",
            "ErrorCode": 0,
            "Message": "OK",
        },
    )


_RESERVED = {
    "x-sg-id", "x-sg-eid", "received", "dkim-signature", "content-type", "content-transfer-encoding", "to", "from",
    "subject", "reply-to", "cc", "bcc",
}  # fmt: skip


def sendgrid(received: Received, secret: str) -> Step:
    """twilio.com/docs/sendgrid/api-reference/mail-send/mail-send; 202 has no body."""
    if received.headers["authorization"] != f"Bearer {secret}":
        text = "The provided authorization grant is invalid, expired, or revoked"
        return said(401, {"errors": [{"message": text, "field": None, "help": None}]})
    if not received.path.endswith("/v3/mail/send"):
        return said(404, {"errors": [{"message": "not found", "field": None, "help": None}]})
    body = json.loads(received.body)
    wrong = ""
    if [one["type"] for one in body["content"]] != ["text/plain", "text/html"]:
        wrong = "content"
    if {name.lower() for name in body["headers"]} & _RESERVED:
        wrong = "headers"
    if not all(isinstance(value, str) for value in body["headers"].values()):
        wrong = "headers"
    if wrong:
        return said(400, {"errors": [{"message": "Bad Request", "field": wrong, "help": None}]})
    return Step(202, b"", {"X-Message-Id": f"IOqWyqCCSyOmIvRRmwRf{next(_numbers):02}"})
