"""Providers' reports as they document them: only verified ones have an effect, once each."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.x509.oid import NameOID
from fastapi import FastAPI
from sqlalchemy import select, update

from tests.fixtures.items import open_store
from tests.fixtures.ledger import NOW, add_edition, add_mailing, add_readers, rows
from tests.web.server import served
from tidings.config.bounces import Bounces
from tidings.config.settings import Newsroom
from tidings.pipeline.compose.mail import message_id_local_part
from tidings.store import schema as t
from tidings.store.engine import Store
from tidings.store.people import feedback, subscribers
from tidings.web.hooks.providers import MAX_BODY, hooks_router

ADA = "ada@example.org"
TOPIC = "arn:aws:sns:eu-central-1:123456789012:bounces"
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC = ec.generate_private_key(ec.SECP256R1())
CERTIFICATE = "https://sns.eu-central-1.amazonaws.com/SimpleNotificationService-0123456789abcdef.pem"
CLOCK = NOW.timestamp()


class Provider:
    """A store with Ada on two lists, and the hooks over it."""

    def __init__(self, store: Store, root: Path) -> None:
        self.store = store
        self.fetched: list[str] = []
        der = EC.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        bounces = Bounces.model_validate(
            {
                "ses": {"topics": TOPIC},
                "postmark": {"username": "hook", "password": "a secret"},
                "mailgun": {"signing_key": "key-of-mailgun"},
                "sendgrid": {"public_key": base64.b64encode(der).decode()},
            }
        )
        self.newsroom = Newsroom.model_construct(bounces=bounces)
        app = FastAPI()
        app.include_router(
            hooks_router(store, lambda: self.newsroom, now=lambda: NOW, clock=lambda: CLOCK, fetch=self._fetch)
        )
        self.app = app
        self.address = ""
        readers = add_readers(store, ["ada"])
        self.ada = readers["ada"]
        with store.write() as connection:
            subscribers.add(connection, ADA, "press", language="en", frequency="weekly", now=NOW, confirmed=True)
        add_mailing(store, readers, add_edition(store))
        with store.write() as connection:
            connection.execute(update(t.deliveries).values(state="accepted", receipt="receipt-17"))

    def _fetch(self, url: str) -> bytes:
        self.fetched.append(url)
        return _certificate() if url.endswith(".pem") else b"<ConfirmSubscriptionResponse/>"

    def post(self, provider: str, body: bytes, headers: dict[str, str] | None = None) -> int:
        return httpx.post(f"{self.address}hooks/{provider}", content=body, headers=headers or {}).status_code

    def say(self, provider: str, what: dict[str, Any]) -> int:
        """Sign as the provider would."""
        return self.post(
            provider, *{"ses": _ses, "postmark": _postmark, "mailgun": _mailgun, "sendgrid": _sendgrid}[provider](what)
        )

    @property
    def lists(self) -> dict[str, str]:
        with self.store.read() as connection:
            return {
                subscription.list: subscription.state
                for subscription in subscribers.subscriptions(connection, address=ADA)
            }

    @property
    def suppressed(self) -> dict[str, str]:
        with self.store.read() as connection:
            return {row.list: row.reason for row in connection.execute(select(t.suppressions))}


@pytest.fixture
def provider(tmp_path: Path) -> Iterator[Provider]:
    store = open_store("sqlite:///tidings.db", tmp_path)
    made = Provider(store, tmp_path)
    with served(made.app) as made.address:
        yield made
    store.close()


def _certificate() -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
    real = datetime.now(UTC)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(RSA.public_key())
    made = made.serial_number(1).not_valid_before(real - timedelta(1)).not_valid_after(real + timedelta(1))
    return made.sign(RSA, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _sns(message: dict[str, Any], version: str = "2") -> bytes:
    names = ["Message", "MessageId"]
    names += ["SubscribeURL"] if "SubscribeURL" in message else ["Subject"] if "Subject" in message else []
    names += ["Timestamp", *(["Token"] if "Token" in message else []), "TopicArn", "Type"]
    text = "".join(f"{name}\n{message[name]}\n" for name in names)
    kind = hashes.SHA256() if version == "2" else hashes.SHA1()
    signature = base64.b64encode(RSA.sign(text.encode(), PKCS1v15(), kind)).decode()
    signed = {"SignatureVersion": version, "Signature": signature, "SigningCertURL": CERTIFICATE}
    return json.dumps(signed | message).encode()


def _notification(what: dict[str, Any], topic: str = TOPIC) -> dict[str, Any]:
    return {
        "Type": "Notification",
        "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
        "TopicArn": topic,
        "Subject": "Amazon SES Email Event Notification",
        "Message": json.dumps(what),
        "Timestamp": "2026-11-20T09:00:00.000Z",
    }


def _ses(what: dict[str, Any]) -> tuple[bytes, dict[str, str]]:
    return _sns(_notification(what)), {"x-amz-sns-message-type": "Notification"}


def _postmark(what: dict[str, Any]) -> tuple[bytes, dict[str, str]]:
    login = base64.b64encode(b"hook:a secret").decode()
    return json.dumps(what).encode(), {"Authorization": f"Basic {login}"}


def _mailgun(what: dict[str, Any], *, token: str = "", moment: int = int(CLOCK)) -> tuple[bytes, dict[str, str]]:
    token = token or hashlib.sha256(json.dumps(what).encode()).hexdigest()[:50]
    signature = hmac.new(b"key-of-mailgun", f"{moment}{token}".encode(), hashlib.sha256).hexdigest()
    signed = {"timestamp": str(moment), "token": token, "signature": signature}
    return json.dumps({"signature": signed, "event-data": what}).encode(), {}


def _sendgrid(*what: dict[str, Any], moment: int = int(CLOCK)) -> tuple[bytes, dict[str, str]]:
    body = json.dumps(what).encode()
    signature = EC.sign(f"{moment}".encode() + body, ec.ECDSA(hashes.SHA256()))
    return body, {
        "X-Twilio-Email-Event-Webhook-Signature": base64.b64encode(signature).decode(),
        "X-Twilio-Email-Event-Webhook-Timestamp": str(moment),
    }


def _ses_bounce(kind: str, sub: str, status: str = "", words: str = "", address: str = ADA) -> dict[str, Any]:
    return {
        "notificationType": "Bounce",
        "bounce": {
            "bounceType": kind,
            "bounceSubType": sub,
            "bouncedRecipients": [
                {"emailAddress": address, "action": "failed", "status": status, "diagnosticCode": words}
            ],
            "timestamp": "2026-11-20T09:00:00.000Z",
            "feedbackId": "00000138111222aa-33322211",
            "reportingMTA": "dns; email.example.com",
        },
        "mail": {"timestamp": "2026-11-20T08:59:38.237Z", "messageId": "receipt-17", "destination": [address]},
    }


def _postmark_bounce(kind: str, words: str = "") -> dict[str, Any]:
    return {
        "RecordType": "Bounce",
        "MessageStream": "broadcast",
        "ID": 42,
        "Type": kind,
        "TypeCode": 1,
        "MessageID": "receipt-17",
        "Description": words or "The server was unable to deliver your message.",
        "Details": "action: failed\r\n",
        "Email": ADA,
        "From": "news@example.org",
        "BouncedAt": "2026-11-20T09:00:00Z",
        "Inactive": True,
    }


def _mailgun_failed(severity: str, reason: str, code: int, enhanced: str = "", message: str = "") -> dict[str, Any]:
    return {
        "event": "failed",
        "id": "G9Bn5sl1TC6nu79C8C0bwg",
        "severity": severity,
        "reason": reason,
        "recipient": ADA,
        "delivery-status": {"code": code, "enhanced-code": enhanced, "message": message, "description": ""},
        "message": {"headers": {"message-id": "receipt-17", "to": ADA}},
        "timestamp": CLOCK,
    }


def _sendgrid_event(event: str, **more: Any) -> dict[str, Any]:
    return {
        "email": ADA,
        "timestamp": int(CLOCK),
        "event": event,
        "sg_event_id": "aBcD",
        "sg_message_id": "receipt-17.filterdrecv-5f6.0",
    } | more


CASES: list[tuple[str, dict[str, Any], str, dict[str, str]]] = [
    ("ses", _ses_bounce("Permanent", "General", "5.1.1", "smtp; 550 5.1.1 unknown"), "hard", {"": "hard"}),
    ("ses", _ses_bounce("Permanent", "OnAccountSuppressionList"), "hard", {"": "hard"}),
    ("ses", _ses_bounce("Permanent", "General"), "soft", {}),
    ("ses", _ses_bounce("Transient", "MailboxFull", "5.2.2", "over quota"), "soft", {}),
    ("ses", _ses_bounce("Transient", "General", "5.1.1", "unknown"), "soft", {}),
    # An out-of-office reply arrives like this.
    ("ses", _ses_bounce("Transient", "General"), "", {}),
    ("ses", _ses_bounce("Transient", "ContentRejected", "5.6.1"), "soft", {}),
    (
        "ses",
        {
            "eventType": "Complaint",
            "complaint": {
                "complainedRecipients": [{"emailAddress": ADA}],
                "complaintFeedbackType": "abuse",
                "feedbackId": "0000013786031775-fea503bc",
            },
            "mail": {"messageId": "receipt-17"},
        },
        "complaint",
        {"digest": "complaint"},
    ),
    ("ses", {"notificationType": "Delivery", "mail": {"messageId": "receipt-17"}}, "", {}),
    (
        "ses",
        {
            "eventType": "Complaint",
            "complaint": {"complainedRecipients": [{"emailAddress": ADA}], "complaintFeedbackType": "not-spam"},
        },
        "",
        {},
    ),
    ("postmark", _postmark_bounce("HardBounce"), "hard", {"": "hard"}),
    ("postmark", _postmark_bounce("SoftBounce", "mailbox full"), "soft", {}),
    ("postmark", _postmark_bounce("SoftBounce", "550 5.1.1 user unknown"), "soft", {}),
    ("postmark", _postmark_bounce("SpamNotification"), "soft", {}),
    ("postmark", _postmark_bounce("AutoResponder"), "", {}),
    (
        "postmark",
        {"RecordType": "SpamComplaint", "Type": "SpamComplaint", "MessageID": "receipt-17", "Email": ADA},
        "complaint",
        {"digest": "complaint"},
    ),
    (
        "postmark",
        {
            "RecordType": "SubscriptionChange",
            "MessageID": "receipt-17",
            "Recipient": ADA,
            "Origin": "Recipient",
            "SuppressSending": True,
            "SuppressionReason": "ManualSuppression",
        },
        "",
        {"digest": "unsubscribed"},
    ),
    ("mailgun", _mailgun_failed("permanent", "generic", 550, "5.1.1", "no such user"), "hard", {"": "hard"}),
    ("mailgun", _mailgun_failed("permanent", "suppress-bounce", 605, "", "Not delivering"), "hard", {"": "hard"}),
    ("mailgun", _mailgun_failed("permanent", "old", 452, "4.2.2", "mailbox full"), "soft", {}),
    ("mailgun", _mailgun_failed("temporary", "generic", 452, "4.2.2", "mailbox full"), "", {}),
    ("mailgun", _mailgun_failed("permanent", "old", 602, "", "Too old"), "soft", {}),
    ("mailgun", _mailgun_failed("permanent", "bounce", 550, "5.2.1", "5.2.1 receiving mail at a rate"), "soft", {}),
    (
        "mailgun",
        {"event": "complained", "recipient": ADA, "message": {"headers": {"message-id": "receipt-17"}}},
        "complaint",
        {"digest": "complaint"},
    ),
    (
        "mailgun",
        {"event": "unsubscribed", "recipient": ADA, "message": {"headers": {"message-id": "receipt-17"}}},
        "",
        {"digest": "unsubscribed"},
    ),
    ("sendgrid", _sendgrid_event("bounce", type="bounce", status="5.1.1", reason="unknown"), "hard", {"": "hard"}),
    ("sendgrid", _sendgrid_event("bounce", type="blocked", status="5.7.1", reason="550 spam"), "soft", {}),
    ("sendgrid", _sendgrid_event("dropped", reason="Bounced Address"), "hard", {"": "hard"}),
    ("sendgrid", _sendgrid_event("bounce", type="expired", reason="dial tcp: i/o timeout"), "soft", {}),
    ("sendgrid", _sendgrid_event("spamreport"), "complaint", {"digest": "complaint"}),
    ("sendgrid", _sendgrid_event("group_unsubscribe", asm_group_id=1), "", {"digest": "unsubscribed"}),
    ("postmark", _postmark_bounce("Unsubscribe"), "", {"digest": "unsubscribed"}),
    ("postmark", _postmark_bounce("SpamComplaint"), "complaint", {"digest": "complaint"}),
    ("postmark", _postmark_bounce("Unknown", "550 5.1.1 user unknown"), "soft", {}),
    ("mailgun", _mailgun_failed("permanent", "espblock", 550, "5.1.1", "no such user"), "soft", {}),
    (
        "mailgun",
        {
            "event": "rejected",
            "recipient": ADA,
            "reject": {"reason": "Sandbox: no such authorized recipient", "description": ""},
            "message": {"headers": {"message-id": "receipt-17"}},
        },
        "soft",
        {},
    ),
    (
        "sendgrid",
        _sendgrid_event(
            "bounce", type="bounce", status="5.1.1", reason="550 no such user", bounce_classification="Reputation"
        ),
        "soft",
        {},
    ),
    ("sendgrid", _sendgrid_event("dropped", reason="Recipient List over Package Quota"), "soft", {}),
    ("sendgrid", _sendgrid_event("deferred", response="400 try again later"), "", {}),
    ("sendgrid", _sendgrid_event("processed"), "", {}),
]


@pytest.mark.parametrize(
    ("name", "what", "returned", "suppressed"), CASES, ids=[f"{number}-{case[0]}" for number, case in enumerate(CASES)]
)
def test_a_providers_report_takes_effect_once(
    provider: Provider, name: str, what: dict[str, Any], returned: str, suppressed: dict[str, str]
) -> None:
    assert provider.say(name, what) == 200
    assert provider.suppressed == suppressed
    assert rows(provider.store)[0]["returned"] == returned
    left = {name for name, state in provider.lists.items() if state == "unsubscribed"}
    assert left == ({"digest", "press"} if "" in suppressed else set(suppressed))
    with provider.store.read() as connection:
        before = len(connection.execute(select(t.feedback)).all())
    assert provider.say(name, what) == 200
    with provider.store.read() as connection:
        assert len(connection.execute(select(t.feedback)).all()) == before <= 1


BOUNCE: dict[str, dict[str, Any]] = {
    "ses": _ses_bounce("Permanent", "NoEmail"),
    "postmark": _postmark_bounce("HardBounce"),
    "mailgun": _mailgun_failed("permanent", "suppress-bounce", 605),
    "sendgrid": _sendgrid_event("dropped", reason="Bounced Address"),
}


def _forged() -> Iterator[tuple[str, str, bytes, dict[str, str]]]:
    message = json.loads(_ses(BOUNCE["ses"])[0])
    for name, change in {
        "other words": {"Message": message["Message"].replace(ADA, "eve@example.org")},
        "no signature": {"Signature": ""},
        "not base64": {"Signature": "!"},
        "other host": {"SigningCertURL": CERTIFICATE.replace("amazonaws.com", "amazonaws.com.evil.example")},
        "bucket": {"SigningCertURL": "https://s3.amazonaws.com/evil/SimpleNotificationService-1.pem"},
        "user part": {"SigningCertURL": CERTIFICATE.replace("sns.", "sns.eu-central-1.amazonaws.com@evil.")},
        "port": {"SigningCertURL": CERTIFICATE.replace(".com/", ".com:8443/")},
        "plain": {"SigningCertURL": CERTIFICATE.replace("https", "http")},
        "other path": {"SigningCertURL": CERTIFICATE.replace("/Simple", "/x/../Simple")},
        "no URL": {"SigningCertURL": 17},
        "version": {"SignatureVersion": "3"},
        "type": {"Type": "Whatever"},
    }.items():
        yield f"ses {name}", "ses", json.dumps(message | change).encode(), {}
    yield "ses other topic", "ses", _sns(_notification(BOUNCE["ses"], TOPIC + "-of-eve")), {}
    yield "ses nothing", "ses", b"", {}
    body, headers = _postmark(BOUNCE["postmark"])
    yield "postmark no login", "postmark", body, {}
    for login in ("hook:another", "eve:a secret", "hook", ":"):
        basic = "Basic " + base64.b64encode(login.encode()).decode()
        yield f"postmark {login}", "postmark", body, {"Authorization": basic}
    yield "postmark bearer", "postmark", body, {"Authorization": headers["Authorization"].replace("Basic", "Bearer")}
    yield "postmark odd", "postmark", body, {"Authorization": "Basic ???"}
    body, _ = _mailgun(BOUNCE["mailgun"], token="t" * 50)
    yield "mailgun token", "mailgun", body.replace(b"t" * 50, b"u" * 50), {}
    yield "mailgun unsigned", "mailgun", json.dumps({"event-data": BOUNCE["mailgun"]}).encode(), {}
    yield "mailgun old", "mailgun", *_mailgun(BOUNCE["mailgun"], moment=int(CLOCK) - 3 * 86400)
    yield "mailgun deep", "mailgun", b"[" * 100_000, {}
    body, headers = _sendgrid(BOUNCE["sendgrid"])
    yield "sendgrid unsigned", "sendgrid", body, {}
    yield "sendgrid other words", "sendgrid", body.replace(b"ada@", b"eve@"), headers
    yield "sendgrid old", "sendgrid", *_sendgrid(BOUNCE["sendgrid"], moment=int(CLOCK) - 3 * 86400)
    yield "sendgrid other time", "sendgrid", body, headers | {"X-Twilio-Email-Event-Webhook-Timestamp": "1"}


FORGED = list(_forged())


def test_an_unverified_report_has_no_effect(provider: Provider) -> None:
    for what, name, body, headers in FORGED:
        assert provider.post(name, body, headers) == 403, what
    assert provider.suppressed == {}
    assert set(provider.fetched) <= {CERTIFICATE}


def test_half_a_character_or_an_odd_login_is_no_server_error(provider: Provider) -> None:
    for text in ('{"signature": {"timestamp": "1", "token": "\\ud800", "signature": "x"}}', '{"\\udc00": "\\ud800"}'):
        assert provider.post("mailgun", text.encode()) == 403
        assert provider.post("ses", text.encode()) in (400, 403)
    assert provider.post("mailgun", b'{"signature": {"token": "\xed\xa0\x80"}}') == 403
    body, _ = _postmark(_postmark_bounce("HardBounce"))
    for login in ("Basic h\xf6ok", "Basic \xff", "Basic", "\xe9"):
        headers = [(b"Authorization", login.encode("latin-1"))]
        assert httpx.post(f"{provider.address}hooks/postmark", content=body, headers=headers).status_code == 403
    assert provider.say("postmark", _postmark_bounce("HardBounce", "\ud800")) == 400


def test_a_mailgun_signature_is_valid_for_one_text(provider: Provider) -> None:
    body, _ = _mailgun(BOUNCE["mailgun"], token="overheard" * 5)
    replayed = body.replace(ADA.encode(), b"eve@example.org")
    assert provider.post("mailgun", body) == 200
    assert provider.post("mailgun", body) == 200
    assert provider.post("mailgun", replayed) == 403


def test_older_sns_signatures_fetch_the_certificate_once(provider: Provider) -> None:
    assert provider.post("ses", _sns(_notification(BOUNCE["ses"]), "1")) == 200
    assert provider.post("ses", _sns(_notification(BOUNCE["ses"]), "2")) == 200
    assert provider.suppressed == {"": "hard"}
    assert provider.fetched == [CERTIFICATE]


def test_a_subscription_to_a_topic_of_ours_is_confirmed(provider: Provider) -> None:
    url = "https://sns.eu-central-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn=x&Token=y"
    message = {
        "Type": "SubscriptionConfirmation",
        "MessageId": "165545c9",
        "Token": "2336412f37",
        "TopicArn": TOPIC,
        "Message": "You have chosen to subscribe to the topic.",
        "SubscribeURL": url,
        "Timestamp": "2026-11-20T09:00:00.000Z",
    }
    assert provider.post("ses", _sns(message)) == 200
    assert provider.fetched == [CERTIFICATE, url]
    for wrong in ("http://169.254.169.254/latest/", "https://sns.eu-central-1.amazonaws.com.evil.example/"):
        assert provider.post("ses", _sns(message | {"SubscribeURL": wrong})) == 403
    assert provider.post("ses", _sns(message | {"TopicArn": TOPIC + "x"})) == 403
    assert provider.fetched == [CERTIFICATE, url]


def test_a_signed_but_senseless_report_is_no_server_error(provider: Provider) -> None:
    assert provider.post("ses", _sns(_notification({}) | {"Message": "no JSON"})) == 400
    odd: list[Any] = [
        {},
        [],
        {"notificationType": "Bounce", "bounce": {"bouncedRecipients": [None, 17, {"emailAddress": 3}]}},
        {"notificationType": "Bounce", "bounce": []},
        {"notificationType": "Complaint", "complaint": {"complainedRecipients": "x"}, "mail": "y"},
        {"RecordType": "Bounce", "Type": "HardBounce", "Email": "no address"},
        {"event": "failed", "severity": "permanent", "recipient": ["x"], "delivery-status": "x"},
        {"event": "spamreport", "email": None},
    ]
    for what in odd:
        for name in ("ses", "postmark", "mailgun", "sendgrid"):
            assert provider.say(name, what) == 200, (name, what)
    _, headers = _postmark({})
    assert provider.post("postmark", b"{", headers) == 400
    assert provider.suppressed == {}


def test_an_unknown_reader_is_remembered_by_hash_for_every_list(provider: Provider) -> None:
    """The provider only reports our own mail. `keep` or an erasure removed our records."""
    assert provider.say("ses", _ses_bounce("Permanent", "NoEmail", address="gone@example.org")) == 200
    with provider.store.write() as connection:
        again = subscribers.add(
            connection, "gone@example.org", "digest", language="en", frequency="weekly", now=NOW, confirmed=True
        )
    assert again == "suppressed"


def test_the_message_id_header_identifies_a_delivery_too(provider: Provider) -> None:
    with provider.store.write() as connection:
        connection.execute(update(t.deliveries).values(receipt="250 2.0.0 Ok: queued"))
        [sent] = feedback.recent_mails(connection, provider.ada)
    what = _mailgun_failed("permanent", "generic", 550, "5.1.1")
    what["message"]["headers"]["message-id"] = message_id_local_part(sent.key).decode() + "@example.org"
    assert provider.say("mailgun", what) == 200
    assert rows(provider.store)[0]["returned"] == "hard"


def test_only_configured_providers_and_limited_bodies_are_read(provider: Provider) -> None:
    assert provider.post("nobody", b"{}") == 404
    assert provider.post("postmark", b"x" * (MAX_BODY + 1)) == 413
    provider.newsroom = Newsroom.model_construct(bounces=Bounces())
    for name, what in BOUNCE.items():
        assert provider.say(name, what) == 404
    assert provider.suppressed == {}


def test_a_store_that_cannot_be_used_is_a_503(provider: Provider) -> None:
    with provider.store.write() as connection:
        connection.exec_driver_sql("DROP TABLE feedback")
    assert provider.say("postmark", BOUNCE["postmark"]) == 503
