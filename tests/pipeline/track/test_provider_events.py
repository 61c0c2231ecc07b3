"""What each provider's event means for the reader, in the words that the providers send."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from tidings.model.refusal import RefusalKind
from tidings.pipeline.track.providers import mailgun, postmark, sendgrid, ses
from tidings.pipeline.track.providers.base import ProviderEvent

ADA = "ada@example.net"
UNKNOWN = "smtp; 550 5.1.1 user unknown"
SUPPRESSED = "Amazon SES has suppressed sending to this address because it has a recent history of bouncing"


def _meaning(events: Sequence[ProviderEvent]) -> str:
    if not events:
        return "nothing"
    [event] = events
    return event.refusal.effect.value if event.refusal else event.kind.value


@pytest.mark.parametrize(
    ("kind", "subkind", "diagnostic", "status", "meaning"),
    [
        ("Permanent", "NoEmail", UNKNOWN, "5.1.1", "hard"),
        ("Permanent", "General", UNKNOWN, "5.1.1", "hard"),
        ("Permanent", "General", "smtp; 550 5.1.1 Der Empfänger existiert nicht", "5.1.1", "hard"),
        ("Permanent", "Suppressed", SUPPRESSED, "5.1.1", "hard"),
        ("Permanent", "General", "smtp; 550 5.7.26 Unauthenticated email", "5.7.26", "blocked"),
        ("Permanent", "General", "smtp; 550 5.1.1 too many unknown users from your IP", "5.1.1", "blocked"),
        ("Permanent", "General", "", "", "blocked"),
        ("Transient", "MailboxFull", "smtp; 552 5.2.2 full", "5.2.2", "soft"),
        ("Transient", "General", UNKNOWN, "5.1.1", "soft"),
        ("Transient", "General", "", "", "nothing"),
        ("Transient", "MessageTooLarge", "smtp; 552 5.3.4 too large", "5.3.4", "blocked"),
        ("Transient", "ContentRejected", "smtp; 554 5.7.1 content", "5.7.1", "blocked"),
        ("Undetermined", "Undetermined", UNKNOWN, "5.1.1", "blocked"),
    ],
)
def test_a_bounce_of_ses(kind: str, subkind: str, diagnostic: str, status: str, meaning: str) -> None:
    recipient = {"emailAddress": ADA, "diagnosticCode": diagnostic, "status": status}
    bounce = {"bounceType": kind, "bounceSubType": subkind, "bouncedRecipients": [recipient]}
    for name in ("eventType", "notificationType"):
        message = json.dumps({name: "Bounce", "mail": {"messageId": "1"}, "bounce": bounce})
        assert _meaning(ses.parse_events({"Message": message})) == meaning


@pytest.mark.parametrize(
    ("kind", "details", "meaning"),
    [
        ("HardBounce", UNKNOWN, "hard"),
        ("HardBounce", "", "hard"),
        ("HardBounce", "smtp;550 5.7.1 rate limited, try again later", "blocked"),
        ("HardBounce", "smtp;552 5.2.2 mailbox full", "soft"),
        ("BadEmailAddress", "", "hard"),
        ("Transient", UNKNOWN, "soft"),
        ("DnsError", "A temporary DNS error.", "soft"),
        ("Unknown", UNKNOWN, "blocked"),
        ("Blocked", UNKNOWN, "blocked"),
        ("DMARCPolicy", "550 5.7.1 DMARC", "blocked"),
        ("AutoResponder", "", "nothing"),
        ("AddressChange", "", "nothing"),
        ("Unsubscribe", "", "left"),
        ("SpamComplaint", "", "complaint"),
    ],
)
def test_a_bounce_of_postmark(kind: str, details: str, meaning: str) -> None:
    event = {
        "RecordType": "Bounce",
        "Type": kind,
        "Email": ADA,
        "MessageID": "1",
        "Description": "",
        "Details": details,
    }
    assert _meaning(postmark.parse_events(json.dumps(event).encode())) == meaning


@pytest.mark.parametrize(
    ("origin", "reason", "meaning"),
    [
        ("Recipient", "ManualSuppression", "left"),
        ("Recipient", "HardBounce", "nothing"),
        ("Customer", "ManualSuppression", "nothing"),
        ("Admin", "ManualSuppression", "nothing"),
    ],
)
def test_only_the_reader_leaves_by_postmarks_link(origin: str, reason: str, meaning: str) -> None:
    event = {"RecordType": "SubscriptionChange", "Recipient": ADA, "SuppressSending": True, "Origin": origin}
    assert _meaning(postmark.parse_events(json.dumps({**event, "SuppressionReason": reason}).encode())) == meaning


@pytest.mark.parametrize(
    ("reason", "code", "message", "meaning"),
    [
        ("bounce", 550, "5.1.1 The email account that you tried to reach does not exist", "hard"),
        ("generic", 550, "No such user zora", "hard"),
        ("suppress-bounce", 605, "Not delivering to previously bounced address", "hard"),
        ("suppress-complaint", 607, "", "complaint"),
        ("suppress-unsubscribe", 606, "", "left"),
        ("old", 602, "Too old", "soft"),
        ("generic", 498, "No MX for example.net", "soft"),
        ("espblock", 550, "5.1.1 no such user", "blocked"),
        ("bounce", 550, "5.7.26 unauthenticated", "blocked"),
        ("bounce", 552, "5.2.2 mailbox full", "soft"),
    ],
)
def test_a_failure_of_mailgun(reason: str, code: int, message: str, meaning: str) -> None:
    event = {"event": "failed", "severity": "permanent", "reason": reason, "recipient": "zora@example.net"}
    body = {"event-data": {**event, "delivery-status": {"code": code, "message": message, "description": ""}}}
    assert _meaning(mailgun.parse_events(json.dumps(body).encode())) == meaning


@pytest.mark.parametrize(
    ("kind", "more", "meaning"),
    [
        ("bounce", {"reason": "550 5.1.1 user unknown", "bounce_classification": "Invalid Address"}, "hard"),
        ("bounce", {"reason": "550 5.1.1 user unknown", "bounce_classification": "Reputation"}, "blocked"),
        ("bounce", {"reason": "550 5.1.1 user unknown", "bounce_classification": "Technical"}, "blocked"),
        ("bounce", {"reason": "550 5.1.1 user unknown", "type": "blocked"}, "soft"),
        ("dropped", {"reason": "Bounced Address"}, "hard"),
        ("dropped", {"reason": "Invalid"}, "hard"),
        ("dropped", {"reason": "Unsubscribed Address"}, "left"),
        ("dropped", {"reason": "Spam Reporting Address"}, "complaint"),
        ("dropped", {"reason": "Spam Content (if Spam Checker app enabled)"}, "blocked"),
        ("dropped", {"reason": "Recipient List over Package Quota"}, "blocked"),
        ("dropped", {"reason": "Invalid SMTPAPI header"}, "blocked"),
        ("spamreport", {}, "complaint"),
        ("group_unsubscribe", {"asm_group_id": 1}, "left"),
        ("group_resubscribe", {"asm_group_id": 1}, "nothing"),
        ("deferred", {"response": "451 later"}, "nothing"),
    ],
)
def test_an_event_of_sendgrid(kind: str, more: dict[str, str], meaning: str) -> None:
    event = {"event": kind, "email": ADA, "sg_message_id": "1.2", "type": "bounce", **more}
    assert _meaning(sendgrid.parse_events(json.dumps([event]).encode())) == meaning


def test_a_limit_of_our_plan_is_no_full_mailbox() -> None:
    event = {"event": "dropped", "email": ADA, "reason": "Recipient List over Package Quota"}
    [parsed] = sendgrid.parse_events(json.dumps([event]).encode())
    assert parsed.refusal is not None
    assert parsed.refusal.kind is RefusalKind.QUOTA
