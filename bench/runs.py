"""One timed run of one sender into a fresh sink, and whether it did what it was timed for."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from email import message_from_bytes
from email.policy import default
from pathlib import Path
from typing import Any

from bench.cases import SLOW, SOURCE, STORIES, Case
from bench.newsroom import copied, make_newsroom, write_key
from bench.senders import reader
from bench.sinks import SENDER_CORE, CSink, PostfixSink, pinned, postfix, postfix_env


@dataclass(frozen=True)
class Run:
    """One timed run."""

    messages: int
    seconds: float
    cpu: float
    idle_mb: float = 0.0
    peak_mb: float = 0.0
    sink_cpu: float = 0.0

    @property
    def rate(self) -> float:
        """Messages a second."""
        return self.messages / self.seconds

    @property
    def cost(self) -> float:
        """Seconds of the processor for a thousand messages."""
        return self.cpu / self.messages * 1000


class CheckError(Exception):
    """A run that did not do what it was timed for."""


@dataclass
class Bench:
    """Newsrooms and keys that the runs share, in a folder that goes away."""

    folder: Path
    recipients: int
    _runs: int = 0

    def template(self, case: Case, *, dkim: bool = False) -> Path:
        """A composed newsroom, made once for each size and number."""
        count = self.count(case)
        place = self.folder / f"newsroom-{case.size}-{count}{'-dkim' if dkim else ''}"
        if not place.exists():
            place.mkdir()
            make_newsroom(place, count, STORIES[case.size], dkim=dkim)
        return place

    def count(self, case: Case) -> int:
        """Recipients of a run of a case."""
        return case.recipients or max(100, int(self.recipients * case.share))

    def mail(self, case: Case) -> Path:
        """One mail of ours, as it was received."""
        place = self.folder / f"mail-{case.size}.eml"
        if not place.exists():
            root = self.folder / f"one-{case.size}"
            root.mkdir()
            make_newsroom(root, 1, STORIES[case.size])
            with CSink(self.folder / f"sink-one-{case.size}", every=1) as sink:
                send = self.folder / f"send-one-{case.size}"
                copied(root, send, port=sink.port, connections=1, dkim=False)
                self.child(["tidings", str(send)])
                sink.taken()
            shutil.copy(sink.samples / "1.eml", place)
        return place

    def child(self, words: Sequence[str]) -> dict[str, Any]:
        """What one run of bench.senders said."""
        command = pinned([sys.executable, "-m", "bench.senders", *words], SENDER_CORE)
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[1])
        if done.returncode:
            raise CheckError(f"{words[0]} failed:\n{done.stderr[-2000:]}")
        if done.stderr:
            print(done.stderr, file=sys.stderr)
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def run(self, case: Case, sender: str) -> Run:
        """One sender into a fresh sink, timed and checked."""
        self._runs += 1
        place = self.folder / f"run-{self._runs}"
        place.mkdir()
        try:
            return self._run(case, sender, place)
        finally:
            shutil.rmtree(place)

    def _run(self, case: Case, sender: str, place: Path) -> Run:
        count = self.count(case)
        if sender == "signatures":
            key = self.folder / "dkim.pem"
            if not key.exists():
                write_key(self.folder)
            return Run(**self.child(["signatures", str(key), str(max(100, count // 5))]))
        ours = sender.startswith("tidings")
        dkim = sender == "tidings with DKIM"
        mail = None if ours else self.mail(case)
        template = self.template(case, dkim=dkim) if ours else None
        sink: CSink | PostfixSink
        if case.postfix_sink:
            sink = PostfixSink(place / "sink")
        else:
            sink = CSink(place / "sink", delay_ms=case.delay_ms, pipelining=sender != "tidings, no pipelining")
        with sink:
            if template is not None:
                root = place / "newsroom"
                copied(template, root, port=sink.port, connections=case.connections, dkim=dkim)
                found = self.child(["tidings", str(root)])
            elif sender == SOURCE:
                assert mail is not None
                found = smtp_source(sink.port, count, mail.stat().st_size, case.connections)
            else:
                count = max(50, int(count * SLOW[sender]))
                found = self.child([sender, str(sink.port), str(count), str(mail)])
            taken = sink.taken()
        if taken.messages != count or found["messages"] != count:
            raise CheckError(f"{case.name}, {sender}: {taken.messages:,} of {count:,} arrived")
        if sender == SOURCE and mail is not None and taken.bytes:
            alike = taken.bytes / count / mail.stat().st_size
            if not 0.99 < alike < 1.01:
                raise CheckError(f"messages of smtp-source have {alike:.2f} times the size of ours")
        if isinstance(sink, CSink):
            check(sink, sender, count, place / "newsroom", dkim=dkim)
        return Run(**found, sink_cpu=taken.cpu)


def smtp_source(port: int, count: int, size: int, sessions: int) -> dict[str, Any]:
    """Postfix's generator of load, one open session each; the processor by wait4."""
    # Its own header is about 250 octets; -N gives each message a recipient of its own.
    words = ["-d", "-N", "-s", str(sessions), "-m", str(count), "-l", str(size - 250)]
    addresses = ["-f", "news@example.org", "-t", "reader@example.net", f"127.0.0.1:{port}"]
    command = pinned([postfix(SOURCE), *words, *addresses], SENDER_CORE)
    began = time.perf_counter()
    process = subprocess.Popen(command, env=postfix_env(), stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise CheckError(f"smtp-source ended with {process.returncode}")
    seconds = time.perf_counter() - began
    return {"messages": count, "seconds": seconds, "cpu": usage.ru_utime + usage.ru_stime}


def check(sink: CSink, sender: str, count: int, root: Path, *, dkim: bool) -> None:
    """Every recipient once; and what was kept of ours is each reader's own, and verifies."""
    recipients = sink.recipients()
    if len(recipients) != count or len(set(recipients)) != count:
        raise CheckError(f"{sender}: {len(recipients):,} recipients, {len(set(recipients)):,} different, not {count:,}")
    if sender == SOURCE:
        return
    samples = list(sink.samples.glob("*.eml"))
    if not samples:
        raise CheckError(f"{sender}: no message was kept")
    tokens = set()
    for sample in samples:
        raw = sample.read_bytes()
        tokens.add(token_of(raw, recipients[int(sample.stem) - 1]))
        if dkim:
            verify(raw, root / "dkim.pem")
    if len(tokens) != len(samples):
        raise CheckError(f"{sender}: two readers have the same link")


def token_of(raw: bytes, recipient: str) -> str:
    """The token of a mail, after a look at whether the whole is its recipient's own."""
    mail = message_from_bytes(raw, policy=default)
    number = int(recipient.removeprefix("reader").partition("@")[0])
    address, name = reader(number)
    (to,) = mail["To"].addresses
    if to.addr_spec != address or to.display_name not in (name, ""):
        raise CheckError(f"{recipient} has a mail to {mail['To']}")
    found = re.search(r"/unsubscribe/([\w.~-]+)", str(mail["List-Unsubscribe"]))
    bodies = [part for kind in ("plain", "html") if (part := mail.get_body((kind,))) is not None]
    if found is None or len(bodies) != 2 or any(found.group(1) not in body.get_content() for body in bodies):
        raise CheckError(f"the mail to {recipient} lacks its own link")
    return found.group(1)


def verify(raw: bytes, key: Path) -> None:
    """The DKIM signature, by dkimpy."""
    import dkim
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

    public = load_pem_private_key(key.read_bytes(), None).public_key()
    record = b"v=DKIM1; k=rsa; p=" + base64.b64encode(
        public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    )
    if not dkim.verify(raw, dnsfunc=lambda name, **_: record):
        raise CheckError("a signature does not verify")
