"""One timed run of one sender into a new sink, and the check that every message arrived."""

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

from bench.cases import SLOW_SHARES, SMTP_SOURCE, STORIES, SendingCase, reader_of
from bench.newsroom import copy_newsroom, make_newsroom, write_key
from bench.sinks import CORES, SENDER_CORE, CSink, PostfixSink, find_postfix, pin, postfix_env


@dataclass(frozen=True)
class TimedRun:
    """The figures of one run: seconds, CPU seconds of the sender and of the sink, MB of memory."""

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
        """CPU seconds for a thousand messages."""
        return self.cpu / self.messages * 1000


class RunError(Exception):
    """A run that lost messages or failed: its figures are worthless."""


@dataclass
class Runner:
    """Runs senders. The newsrooms and keys that runs share are in `folder`, which is temporary."""

    folder: Path
    recipients: int
    _runs: int = 0

    def composed_newsroom(self, case: SendingCase, *, dkim: bool = False) -> Path:
        """A composed newsroom, made once for each size and number."""
        count = self.count_recipients(case)
        place = self.folder / f"newsroom-{case.size}-{count}{'-dkim' if dkim else ''}"
        if not place.exists():
            place.mkdir()
            make_newsroom(place, count, STORIES[case.size], dkim=dkim)
        return place

    def count_recipients(self, case: SendingCase) -> int:
        """The number of recipients in a run of a case."""
        return case.recipients or max(100, int(self.recipients * case.share))

    def sample_mail(self, case: SendingCase) -> Path:
        """One of our mails, as a sink received it."""
        place = self.folder / f"mail-{case.size}.eml"
        if not place.exists():
            root = self.folder / f"sample-{case.size}"
            root.mkdir()
            make_newsroom(root, 1, STORIES[case.size])
            with CSink(self.folder / f"sink-sample-{case.size}", every=1) as sink:
                send = self.folder / f"send-sample-{case.size}"
                copy_newsroom(root, send, port=sink.port, connections=1, dkim=False)
                self.run_sender(["tidings", str(send)])
                sink.stop()
            shutil.copy(sink.samples / "1.eml", place)
        return place

    def run_sender(self, words: Sequence[str], cores: set[int] = SENDER_CORE) -> dict[str, Any]:
        """Run bench.senders with these arguments on these cores; returns its figures."""
        command = pin([sys.executable, "-m", "bench.senders", *words], cores)
        process = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[1])
        if process.returncode:
            raise RunError(f"the sender {words[0]} failed:\n{process.stderr[-2000:]}")
        if process.stderr:
            print(process.stderr, file=sys.stderr)
        figures: dict[str, Any] = json.loads(process.stdout)
        return figures

    def run(self, case: SendingCase, sender: str) -> TimedRun:
        """Run one sender into a new sink, timed and checked."""
        self._runs += 1
        place = self.folder / f"run-{self._runs}"
        place.mkdir()
        try:
            return self._run(case, sender, place)
        finally:
            shutil.rmtree(place)

    def _run(self, case: SendingCase, sender: str, place: Path) -> TimedRun:
        count = self.count_recipients(case)
        if sender == "signatures":
            key = self.folder / "dkim.pem"
            if not key.exists():
                write_key(self.folder)
            return TimedRun(**self.run_sender(["signatures", str(key), str(max(100, count // 5))]))
        cores = set(CORES) if case.both_cores else SENDER_CORE
        is_ours = sender.startswith("tidings")
        dkim = sender == "tidings with DKIM"
        mail = None if is_ours else self.sample_mail(case)
        template = self.composed_newsroom(case, dkim=dkim) if is_ours else None
        sink: CSink | PostfixSink
        if case.postfix_sink:
            sink = PostfixSink(place / "sink")
        else:
            sink = CSink(place / "sink", delay_ms=case.delay_ms, pipelining=sender != "tidings, no pipelining")
        with sink:
            if template is not None:
                root = place / "newsroom"
                copy_newsroom(template, root, port=sink.port, connections=case.connections, dkim=dkim)
                figures = self.run_sender(["tidings", str(root)], cores)
            elif sender == SMTP_SOURCE:
                assert mail is not None
                figures = run_smtp_source(sink.port, count, mail.stat().st_size, case.connections)
            else:
                count = max(50, int(count * SLOW_SHARES[sender]))
                figures = self.run_sender([sender, str(sink.port), str(count), str(mail)], cores)
            received = sink.stop()
        if received.messages != count or figures["messages"] != count:
            raise RunError(f"{case.name}, {sender}: {received.messages:,} of {count:,} messages arrived")
        if sender == SMTP_SOURCE and mail is not None and received.bytes:
            ratio = received.bytes / count / mail.stat().st_size
            if not 0.99 < ratio < 1.01:
                raise RunError(f"messages of smtp-source have {ratio:.2f} times the size of ours")
        if isinstance(sink, CSink):
            check_messages(sink, sender, count, place / "newsroom", dkim=dkim)
        return TimedRun(**figures, sink_cpu=received.cpu)


def run_smtp_source(port: int, count: int, size: int, sessions: int) -> dict[str, Any]:
    """Run Postfix's load generator with open sessions; its CPU seconds come from wait4."""
    # Its own header has about 250 octets; -N gives each message its own recipient.
    words = ["-d", "-N", "-s", str(sessions), "-m", str(count), "-l", str(size - 250)]
    addresses = ["-f", "news@example.org", "-t", "reader@example.net", f"127.0.0.1:{port}"]
    command = pin([find_postfix(SMTP_SOURCE), *words, *addresses], SENDER_CORE)
    start = time.perf_counter()
    process = subprocess.Popen(command, env=postfix_env(), stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RunError(f"smtp-source failed with exit code {process.returncode}")
    seconds = time.perf_counter() - start
    return {"messages": count, "seconds": seconds, "cpu": usage.ru_utime + usage.ru_stime}


def check_messages(sink: CSink, sender: str, count: int, root: Path, *, dkim: bool) -> None:
    """Check that each recipient occurs once, and that each kept message is its reader's own and verifies."""
    recipients = sink.recipients()
    if len(recipients) != count or len(set(recipients)) != count:
        raise RunError(
            f"{sender}: {len(recipients):,} recipients, {len(set(recipients)):,} different ones, instead of {count:,}"
        )
    if sender == SMTP_SOURCE:
        return
    samples = list(sink.samples.glob("*.eml"))
    if not samples:
        raise RunError(f"{sender}: the sink kept no message")
    tokens = set()
    for sample in samples:
        raw = sample.read_bytes()
        tokens.add(check_message(raw, recipients[int(sample.stem) - 1]))
        if dkim:
            check_signature(raw, root / "dkim.pem")
    if len(tokens) != len(samples):
        raise RunError(f"{sender}: two readers have the same unsubscribe link")


def check_message(raw: bytes, recipient: str) -> str:
    """Check that a mail is its recipient's own; returns its unsubscribe token."""
    mail = message_from_bytes(raw, policy=default)
    number = int(recipient.removeprefix("reader").partition("@")[0])
    address, name = reader_of(number)
    (to,) = mail["To"].addresses
    if to.addr_spec != address or to.display_name not in (name, ""):
        raise RunError(f"{recipient} received a mail to {mail['To']}")
    token = re.search(r"/unsubscribe/([\w.~-]+)", str(mail["List-Unsubscribe"]))
    bodies = [part for kind in ("plain", "html") if (part := mail.get_body((kind,))) is not None]
    if token is None or len(bodies) != 2 or any(token[1] not in body.get_content() for body in bodies):
        raise RunError(f"the mail to {recipient} lacks its own link")
    return token[1]


def check_signature(raw: bytes, key: Path) -> None:
    """Verify the DKIM signature, by dkimpy."""
    import dkim
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

    public = load_pem_private_key(key.read_bytes(), None).public_key()
    record = b"v=DKIM1; k=rsa; p=" + base64.b64encode(
        public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    )
    if not dkim.verify(raw, dnsfunc=lambda name, **_: record):
        raise RunError("a DKIM signature does not verify")
