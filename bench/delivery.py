"""The rate of sending, side by side with other senders.

    python -m bench.delivery [--case F]... [--rounds 7] [--recipients 20000] [--size 60] [--quick] [--json]

Cases: S, into Postfix's smtp-sink. F, into a sink of our own in C that is never the bottleneck. DKIM, into F with
RSA-2048 on every message. far, into F at 10 ms a reply over 16 connections, with pipelining and without.
SMALL and LARGE: F with 20 KB a message, and with 100,000 recipients.

Rounds are interleaved and each has a fresh sink; sender and sink have a core each. Ratios are taken round by round:
trust them, not the rates. After each run the sink must have every recipient once, and a message that it kept must be
that reader's own.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from email import message_from_bytes
from email.policy import default
from pathlib import Path
from typing import Any

from bench.newsroom import copied, make_newsroom, write_key
from bench.senders import reader
from bench.sinks import SENDER_CORE, CSink, PostfixSink, pinned, postfix, postfix_env

STORIES = {60: 15, 20: 2}
"""Stories of an edition, by the size of its mail in KB."""
SOURCE = "smtp-source"


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


@dataclass(frozen=True)
class Case:
    """Senders by name, in the order of the table; the first is ours, `peer` has the ratio 1."""

    name: str
    what: str
    senders: Sequence[str]
    peer: str
    targets: Sequence[tuple[str, str, str, float]] = ()
    """(what: rate or cpu; of; to; at least for a rate, at most for the processor)."""
    postfix_sink: bool = False
    delay_ms: int = 0
    connections: int = 4
    size: int = 60
    recipients: int = 0
    share: float = 1.0


CASES = {
    case.name: case
    for case in (
        Case(
            "S",
            "into Postfix's smtp-sink",
            ("tidings", SOURCE),
            SOURCE,
            (("rate", "tidings", SOURCE, 1.0),),
            postfix_sink=True,
        ),
        Case(
            "F",
            "into a sink in C that is not the bottleneck",
            ("tidings", SOURCE, "django", "smtplib"),
            SOURCE,
            (
                ("rate", "tidings", SOURCE, 1.2),
                ("cpu", "tidings", SOURCE, 0.8),
                ("rate", "tidings", "django", 80.0),
            ),
        ),
        Case(
            "DKIM",
            "the same with RSA-2048 on every message of ours",
            ("tidings with DKIM", "django", "signatures"),
            "django",
            (("rate", "tidings with DKIM", "django", 10.0), ("cpu", "tidings with DKIM", "signatures", 1.3)),
        ),
        Case(
            "far",
            "into the sink in C at 10 ms a reply, 16 connections",
            ("tidings", "tidings, no pipelining"),
            "tidings, no pipelining",
            (("rate", "tidings", "tidings, no pipelining", 3.0),),
            delay_ms=10,
            connections=16,
            share=0.3,
        ),
        Case("SMALL", "20 KB a message", ("tidings", SOURCE, "django"), SOURCE, size=20),
        Case("LARGE", "100,000 recipients", ("tidings", SOURCE), SOURCE, recipients=100_000),
    )
}
SLOW = {"django": 0.04, "smtplib": 0.02}
"""What share of the messages a slow peer sends: its rate is the same for many as for few."""


class CheckError(Exception):
    """A run that did not do what it was timed for."""


@dataclass
class Bench:
    """Newsrooms and keys that the runs share, in a folder that goes away."""

    folder: Path
    recipients: int
    _runs: int = 0
    _bytes: dict[int, int] = field(default_factory=dict)

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
            sink = CSink(self.folder / f"sink-one-{case.size}", every=1)
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
    if len(tokens) != len(samples):
        raise CheckError(f"{sender}: two readers have the same link")
    if dkim:
        verify(samples[0].read_bytes(), root / "dkim.pem")


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
    import base64

    import dkim
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

    public = load_pem_private_key(key.read_bytes(), None).public_key()
    record = b"v=DKIM1; k=rsa; p=" + base64.b64encode(
        public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    )
    if not dkim.verify(raw, dnsfunc=lambda name, **_: record):
        raise CheckError("a signature does not verify")


Found = dict[str, list[Run]]


def measure(bench: Bench, case: Case, rounds: int, said: Callable[[str], None]) -> Found:
    """Interleaved rounds; each begins with another sender."""
    found: Found = {sender: [] for sender in case.senders}
    for number in range(rounds):
        turn = number % len(case.senders)
        for sender in (*case.senders[turn:], *case.senders[:turn]):
            run = bench.run(case, sender)
            found[sender].append(run)
            said(f"{case.name} {number + 1}/{rounds} {sender}: {run.rate:,.0f} a second, {run.cost:.3f} CPU s/1k")
    return found


def ratios(found: Found, what: str, of: str, to: str) -> tuple[float, float, float]:
    """Median, lowest and highest of the ratios, round by round; `what` is rate or cpu."""
    value: Callable[[Run], float] = (lambda run: run.rate) if what == "rate" else (lambda run: run.cost)
    pairs = [value(mine) / value(other) for mine, other in zip(found[of], found[to], strict=True)]
    return statistics.median(pairs), min(pairs), max(pairs)


def report(bench: Bench, case: Case, found: Found) -> dict[str, Any]:
    """What a case found, as it is printed and written to the page."""
    rows = []
    for sender, runs in found.items():
        rows.append(
            {
                "sender": sender,
                "rate": statistics.median(run.rate for run in runs),
                "cpu": statistics.median(run.cost for run in runs),
                "peak_mb": statistics.median(run.peak_mb for run in runs),
                "sink_busy": statistics.median(run.sink_cpu / run.seconds for run in runs),
                "sender_busy": statistics.median(run.cpu / run.seconds for run in runs),
                "rate_ratio": ratios(found, "rate", sender, case.peer),
                "cpu_ratio": ratios(found, "cpu", sender, case.peer),
            }
        )
    targets = []
    for what, of, to, bound in case.targets:
        middle, low, high = ratios(found, what, of, to)
        met = middle >= bound if what == "rate" else middle <= bound
        targets.append({"what": what, "of": of, "to": to, "bound": bound, "ratio": (middle, low, high), "met": met})
    return {
        "case": case.name,
        "what": case.what,
        "bytes": bench.mail(case).stat().st_size,
        "recipients": bench.count(case),
        "rounds": len(found[case.peer]),
        "peer": case.peer,
        "rows": rows,
        "targets": targets,
    }


def table(found: dict[str, Any]) -> list[str]:
    """The Markdown of a case."""
    peer = found["peer"]
    lines = [
        f"| sender | msg/s | CPU s/1k | peak MB | sender, sink busy | rate / {peer} | CPU / {peer} |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for row in found["rows"]:
        peak = f"{row['peak_mb']:.0f}" if row["peak_mb"] else "–"
        lines.append(
            f"| {row['sender']} | {row['rate']:,.0f} | {row['cpu']:.3f} | {peak} "
            f"| {row['sender_busy']:.0%}, {row['sink_busy']:.0%} "
            f"| {spread(row['rate_ratio'])} | {spread(row['cpu_ratio'])} |"
        )
    lines.append("")
    for one in found["targets"]:
        what, most = ("rate", "at least") if one["what"] == "rate" else ("CPU", "at most")
        lines.append(
            f"- {'Met' if one['met'] else 'NOT MET'}: {what} of {one['of']} to {one['to']}: "
            f"{spread(one['ratio'])}; wanted {most} {one['bound']:g}."
        )
    return lines


def spread(ratio: Sequence[float]) -> str:
    """Median (lowest to highest)."""
    middle, low, high = ratio
    return f"{middle:.2f} ({low:.2f} to {high:.2f})"


def main() -> None:
    """Runs the cases and prints their tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--case", action="append", choices=list(CASES), help="again and again for several; default: all"
    )
    parser.add_argument("--sender", action="append", help="only these of a case (and the peer)")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--recipients", type=int, default=20_000)
    parser.add_argument("--connections", type=int, help="instead of the case's own")
    parser.add_argument("--quick", action="store_true", help="3 rounds, 5,000 recipients, no slow peers")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--folder", type=Path, help="where newsrooms are made; default: a temporary folder")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.recipients = min(options.rounds, 3), min(options.recipients, 5_000)
    found = []
    with tempfile.TemporaryDirectory(prefix="tidings-bench-", dir=options.folder) as folder:
        bench = Bench(Path(folder), options.recipients)
        for name in options.case or CASES:
            case = chosen(CASES[name], options)
            runs = measure(bench, case, options.rounds, lambda line: print(line, file=sys.stderr, flush=True))
            found.append(report(bench, case, runs))
    if options.json:
        print(json.dumps(found, indent=2))
        return
    for one in found:
        print(
            "",
            f"{one['what']}: {one['bytes']:,} bytes, {one['recipients']:,} recipients, {one['rounds']} rounds",
            "",
            *table(one),
            sep="\n",
        )


def chosen(case: Case, options: argparse.Namespace) -> Case:
    """The case as the command line would have it."""
    from dataclasses import replace

    senders = tuple(
        sender
        for sender in case.senders
        if (not options.sender or sender in options.sender or sender == case.peer)
        and not (options.quick and sender in SLOW and sender != case.peer)
    )
    targets = tuple(one for one in case.targets if one[1] in senders and one[2] in senders)
    connections = options.connections or case.connections
    return replace(case, senders=senders, targets=targets, connections=connections)


if __name__ == "__main__":
    try:
        main()
    except CheckError as error:
        sys.exit(f"bench.delivery: {error}")
