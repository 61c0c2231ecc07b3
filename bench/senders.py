"""One timed run of one sender, in a process of its own; prints JSON. Started by bench.delivery.

    python -m bench.senders tidings FOLDER
    python -m bench.senders compose|whole FOLDER
    python -m bench.senders django|smtplib|aiosmtplib|nodemailer PORT COUNT MAIL.eml
    python -m bench.senders signatures KEY.pem COUNT

Only the sending is timed: seconds of the wall, and of the processor over all threads. Imports, set-up and the composing
of the edition are not in it. The peers send the same text and HTML as our mail, each with an address, a name and links
of the reader's own.
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

if TYPE_CHECKING:
    from tidings.runtime.newsroom import Runtime


TOKEN = re.compile(r"(?<=/unsubscribe/)[\w.~-]+|(?<=/preferences/)[\w.~-]+")


def reader(number: int) -> tuple[str, str]:
    """(address, name) of a reader: nobody shares either."""
    return f"reader{number}@example.net", f"Айгүл Бекова {number}"


def memory(what: str) -> float:
    """MB of this process: VmRSS, what it holds now, or VmHWM, the most it has held.

    Not ru_maxrss: that takes over the peak of the process which started this one.
    """
    status = Path("/proc/self/status").read_text()
    return int(status.partition(f"{what}:")[2].split()[0]) * 1024 / 1e6


def timed(call: Callable[[], int]) -> dict[str, Any]:
    """Runs it; `call` returns how many messages were taken."""
    idle, before, began = memory("VmRSS"), resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    messages = call()
    seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF)
    return {
        "messages": messages,
        "seconds": seconds,
        "cpu": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "idle_mb": idle,
        "peak_mb": memory("VmHWM"),
    }


def tidings(folder: str) -> dict[str, Any]:
    """The edition that stands composed in a newsroom, by the product's own `deliver()`."""
    with opened(folder) as runtime:
        return timed(lambda: delivered(runtime))


def compose(folder: str) -> dict[str, Any]:
    """The beat that composes the edition of a newsroom, and addresses it to its readers."""
    with opened(folder) as runtime:
        return timed(lambda: composed(runtime))


def whole(folder: str) -> dict[str, Any]:
    """Both, in one process, and the memory it had before either."""
    with opened(folder) as runtime:
        composing = timed(lambda: composed(runtime))
        sending = timed(lambda: delivered(runtime))
    return {**sending, "idle_mb": composing["idle_mb"], "composing": composing}


def opened(folder: str) -> Runtime:
    """The runtime of a newsroom, at the slot of its edition."""
    from bench.newsroom import SLOT
    from tidings.runtime.newsroom import open_runtime

    runtime = open_runtime(Path(folder), {})
    runtime.set_clock(SLOT)
    return runtime


def composed(runtime: Runtime) -> int:
    """How many deliveries stand in the ledger once the edition is composed."""
    from bench.newsroom import compose as beat

    return beat(runtime)


def delivered(runtime: Runtime) -> int:
    """How many were accepted."""
    states = runtime.deliver().states
    if set(states) - {"accepted"}:
        print(f"not accepted: {dict(states)}", file=sys.stderr)
    return states["accepted"]


class Content:
    """The two bodies of a mail of ours, to be made personal anew."""

    def __init__(self, mail: Path) -> None:
        parsed = message_from_bytes(mail.read_bytes(), policy=default)
        self.subject = str(parsed["Subject"])
        text, html = parsed.get_body(("plain",)), parsed.get_body(("html",))
        assert text is not None
        assert html is not None
        self.text, self.html = TOKEN.split(text.get_content()), TOKEN.split(html.get_content())

    def of(self, number: int) -> tuple[str, str, str]:
        """(unsubscribe link, text, HTML) of a reader."""
        token = f"k1.{number:086x}"
        return f"https://news.example.org/unsubscribe/{token}", token.join(self.text), token.join(self.html)


def django(port: str, count: str, mail: str) -> dict[str, Any]:
    """Django's messages over one open connection of its SMTP backend."""
    from django.conf import settings

    settings.configure(EMAIL_BACKEND="django.core.mail.backends.smtp.EmailBackend", USE_I18N=False)
    import django as package
    from django.core.mail import EmailMultiAlternatives, get_connection

    package.setup()
    content = Content(Path(mail))
    connection = get_connection(host="127.0.0.1", port=int(port))

    def message(number: int) -> EmailMultiAlternatives:
        address, name = reader(number)
        link, text, html = content.of(number)
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

    def send() -> int:
        connection.open()
        done = 0
        for first in range(0, int(count), 100):
            numbers = range(first, min(first + 100, int(count)))
            done += connection.send_messages([message(number) for number in numbers]) or 0
        connection.close()
        return done

    return timed(send)


def plain_smtplib(port: str, count: str, mail: str) -> dict[str, Any]:
    """EmailMessage and smtplib, one after the other on one open session."""
    content = Content(Path(mail))

    def send() -> int:
        with smtplib.SMTP("127.0.0.1", int(port), local_hostname="bench.example") as session:
            for number in range(int(count)):
                session.send_message(email_message(content, number))
        return int(count)

    return timed(send)


def aio(port: str, count: str, mail: str) -> dict[str, Any]:
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

    async def every() -> int:
        await asyncio.gather(*(session() for _ in range(8)))
        return int(count)

    return timed(lambda: asyncio.run(every()))


def nodemailer(port: str, count: str, mail: str) -> dict[str, Any]:
    """Nodemailer's pool with its defaults: see tools/pool.mjs, which times itself."""
    content = Content(Path(mail))
    pieces = Path(mail).with_suffix(".json")
    pieces.write_text(json.dumps({"subject": content.subject, "text": content.text, "html": content.html}))
    tools = Path(__file__).with_name("tools")
    if not (tools / "node_modules").exists():
        subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"], cwd=tools, check=True)
    done = subprocess.run(["node", tools / "pool.mjs", port, count, pieces], check=True, stdout=subprocess.PIPE)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def email_message(content: Content, number: int) -> EmailMessage:
    """A reader's mail as Python's own library makes it."""
    address, name = reader(number)
    link, text, html = content.of(number)
    made = EmailMessage(policy=SMTP)
    made["From"] = "Степная редакция <news@example.org>"
    made["To"] = f"{name} <{address}>"
    made["Subject"] = content.subject
    made["List-Unsubscribe"] = f"<{link}>"
    made["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    made.set_content(text, cte="base64")
    made.add_alternative(html, subtype="html", cte="base64")
    return made


def signatures(key: str, count: str) -> dict[str, Any]:
    """As many RSA-2048 signatures (PKCS #1 v1.5, SHA-256) over headers' worth of bytes, and nothing else."""
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    loaded = load_pem_private_key(Path(key).read_bytes(), None)
    assert isinstance(loaded, RSAPrivateKey)
    padding, digest, headers = PKCS1v15(), SHA256(), bytes(800)

    def sign() -> int:
        for _ in range(int(count)):
            loaded.sign(headers, padding, digest)
        return int(count)

    return timed(sign)


if __name__ == "__main__":
    named: dict[str, Callable[..., dict[str, Any]]] = {
        "tidings": tidings,
        "compose": compose,
        "whole": whole,
        "django": django,
        "smtplib": plain_smtplib,
        "aiosmtplib": aio,
        "nodemailer": nodemailer,
        "signatures": signatures,
    }
    print(json.dumps(named[sys.argv[1]](*sys.argv[2:])))
