"""One timed run of one sender, in a process of its own; prints JSON. Started by bench.runs.

    python -m bench.senders tidings FOLDER
    python -m bench.senders compose|whole FOLDER
    python -m bench.senders django|smtplib|aiosmtplib|nodemailer PORT COUNT MAIL.eml
    python -m bench.senders signatures KEY.pem COUNT

Only the sending is timed, in wall seconds and in CPU seconds over all threads; imports, set-up and composing are not.
The peers send the same text and HTML as our mail, each with the reader's own address, name and links.
"""

from __future__ import annotations

import json
import re
import resource
import smtplib
import subprocess
import sys
import time
from collections.abc import Callable
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP, default
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.cases import reader_of

if TYPE_CHECKING:
    from tidings.runtime.newsroom import Runtime

TOKEN = re.compile(r"(?<=/unsubscribe/)[\w.~-]+|(?<=/preferences/)[\w.~-]+")


def memory_mb(field: str) -> float:
    """MB of this process: VmRSS, the current memory, or VmHWM, the peak.

    Not ru_maxrss: a process inherits that peak from the process that started it.
    """
    status = Path("/proc/self/status").read_text()
    return int(status.partition(f"{field}:")[2].split()[0]) * 1024 / 1e6


def measure(call: Callable[[], int]) -> dict[str, Any]:
    """Run and time `call`, which returns the number of messages."""
    idle, before, start = memory_mb("VmRSS"), resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    messages = call()
    seconds, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF)
    return {
        "messages": messages,
        "seconds": seconds,
        "cpu": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "idle_mb": idle,
        "peak_mb": memory_mb("VmHWM"),
    }


def run_tidings(folder: str) -> dict[str, Any]:
    """Send the composed edition of a newsroom by the product's own `deliver()`."""
    with open_at_slot(folder) as runtime:
        return measure(lambda: send(runtime))


def run_compose(folder: str) -> dict[str, Any]:
    """Run the tick that composes the edition and addresses it to its readers."""
    with open_at_slot(folder) as runtime:
        return measure(lambda: compose(runtime))


def run_whole(folder: str) -> dict[str, Any]:
    """Compose and send in one process; `idle_mb` is its memory before both."""
    with open_at_slot(folder) as runtime:
        composing = measure(lambda: compose(runtime))
        sending = measure(lambda: send(runtime))
    return {**sending, "idle_mb": composing["idle_mb"], "composing": composing}


# Imported late: the peers' processes must not hold our modules in memory.
def open_at_slot(folder: str) -> Runtime:
    """Open a newsroom at the slot of its edition."""
    from bench.newsroom import SLOT
    from tidings.runtime.newsroom import open_runtime

    runtime = open_runtime(Path(folder), {})
    runtime.set_clock(SLOT)
    return runtime


def compose(runtime: Runtime) -> int:
    """Compose the edition; returns the number of deliveries in the ledger."""
    from bench.newsroom import compose_edition

    return compose_edition(runtime)


def send(runtime: Runtime) -> int:
    """Send everything; returns the number of accepted messages."""
    states = runtime.deliver().states
    if set(states) - {"accepted"}:
        print(f"not accepted: {dict(states)}", file=sys.stderr)
    return states["accepted"]


class Content:
    """The two bodies of one of our mails, which the peers make personal again."""

    def __init__(self, mail: Path) -> None:
        parsed = message_from_bytes(mail.read_bytes(), policy=default)
        self.subject = str(parsed["Subject"])
        text, html = parsed.get_body(("plain",)), parsed.get_body(("html",))
        assert text is not None
        assert html is not None
        self.text, self.html = TOKEN.split(text.get_content()), TOKEN.split(html.get_content())

    def for_reader(self, number: int) -> tuple[str, str, str]:
        """The unsubscribe URL, the text and the HTML of a reader."""
        token = f"k1.{number:086x}"
        return f"https://news.example.org/unsubscribe/{token}", token.join(self.text), token.join(self.html)


def run_django(port: str, count: str, mail: str) -> dict[str, Any]:
    """Django's messages over one open connection of its SMTP backend."""
    from django.conf import settings

    settings.configure(EMAIL_BACKEND="django.core.mail.backends.smtp.EmailBackend", USE_I18N=False)
    import django
    from django.core.mail import EmailMultiAlternatives, get_connection

    django.setup()
    content = Content(Path(mail))
    connection = get_connection(host="127.0.0.1", port=int(port))

    def message(number: int) -> EmailMultiAlternatives:
        address, name = reader_of(number)
        link, text, html = content.for_reader(number)
        made = EmailMultiAlternatives(
            content.subject,
            text,
            "Степная редакция <news@example.org>",
            [f"{name} <{address}>"],
            headers={"List-Unsubscribe": f"<{link}>", "List-Unsubscribe-Post": "List-Unsubscribe=One-Click"},
            connection=connection,
        )
        made.attach_alternative(html, "text/html")
        return made

    def send_all() -> int:
        connection.open()
        sent = 0
        for first in range(0, int(count), 100):
            numbers = range(first, min(first + 100, int(count)))
            sent += connection.send_messages([message(number) for number in numbers]) or 0
        connection.close()
        return sent

    return measure(send_all)


def run_smtplib(port: str, count: str, mail: str) -> dict[str, Any]:
    """EmailMessage and smtplib, one message after the other on one open session."""
    content = Content(Path(mail))

    def send_all() -> int:
        with smtplib.SMTP("127.0.0.1", int(port), local_hostname="bench.example") as session:
            for number in range(int(count)):
                session.send_message(email_message(content, number))
        return int(count)

    return measure(send_all)


def run_aiosmtplib(port: str, count: str, mail: str) -> dict[str, Any]:
    """EmailMessage and aiosmtplib, eight sessions in one loop."""
    import asyncio

    import aiosmtplib

    content = Content(Path(mail))
    numbers = iter(range(int(count)))

    async def session() -> None:
        client = aiosmtplib.SMTP(hostname="127.0.0.1", port=int(port), local_hostname="bench.example", start_tls=False)
        async with client:
            for number in numbers:
                await client.send_message(email_message(content, number))

    async def send_all() -> int:
        await asyncio.gather(*(session() for _ in range(8)))
        return int(count)

    return measure(lambda: asyncio.run(send_all()))


def run_nodemailer(port: str, count: str, mail: str) -> dict[str, Any]:
    """Nodemailer's pool with its defaults: tools/pool.mjs, which times itself."""
    content = Content(Path(mail))
    pieces = Path(mail).with_suffix(".json")
    pieces.write_text(json.dumps({"subject": content.subject, "text": content.text, "html": content.html}))
    tools = Path(__file__).with_name("tools")
    if not (tools / "node_modules").exists():
        subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"], cwd=tools, check=True)
    process = subprocess.run(["node", tools / "pool.mjs", port, count, pieces], check=True, stdout=subprocess.PIPE)
    result: dict[str, Any] = json.loads(process.stdout)
    return result


def email_message(content: Content, number: int) -> EmailMessage:
    """A reader's mail by Python's own library."""
    address, name = reader_of(number)
    link, text, html = content.for_reader(number)
    message = EmailMessage(policy=SMTP)
    message["From"] = "Степная редакция <news@example.org>"
    message["To"] = f"{name} <{address}>"
    message["Subject"] = content.subject
    message["List-Unsubscribe"] = f"<{link}>"
    message["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    message.set_content(text, cte="base64")
    message.add_alternative(html, subtype="html", cte="base64")
    return message


def run_signatures(key: str, count: str) -> dict[str, Any]:
    """Only RSA-2048 signatures (PKCS #1 v1.5, SHA-256), each over as many bytes as the header of a mail."""
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    loaded = load_pem_private_key(Path(key).read_bytes(), None)
    assert isinstance(loaded, RSAPrivateKey)
    padding, digest, headers = PKCS1v15(), SHA256(), bytes(800)

    def sign_all() -> int:
        for _ in range(int(count)):
            loaded.sign(headers, padding, digest)
        return int(count)

    return measure(sign_all)


if __name__ == "__main__":
    senders: dict[str, Callable[..., dict[str, Any]]] = {
        "tidings": run_tidings,
        "compose": run_compose,
        "whole": run_whole,
        "django": run_django,
        "smtplib": run_smtplib,
        "aiosmtplib": run_aiosmtplib,
        "nodemailer": run_nodemailer,
        "signatures": run_signatures,
    }
    print(json.dumps(senders[sys.argv[1]](*sys.argv[2:])))
