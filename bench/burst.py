"""A send beside a burst of requests for a feed: one process serves the pages and sends, as `tidings run` does.

    python -m bench.burst [--rounds 3] [--recipients 2000] [--delay 10] [--path subscribe/digest] [--json]

The sink takes `--delay` milliseconds for each reply. `wrk` asks for one page over 16 connections, as fast as it is answered; without
`--path`, it is a feed, and unchanged. `wrk` and the sink share the core that does not send.
"""

from __future__ import annotations

import argparse
import json
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

from bench.figures import format_verdict, print_progress
from bench.http import CONNECTIONS, FEED, find_ports, wait_for
from bench.newsroom import copy_newsroom, make_newsroom
from bench.runs import RunError
from bench.sinks import SENDER_CORE, SINK_CORE, CSink, pin

WANTED = 0.9
"""The rate of the send beside the burst at least, as a part of its rate without one."""


def run_process(folder: str, port: int) -> None:
    """Serve the pages of a newsroom and, after a line on stdin, send its edition. Prints the seconds."""
    import uvicorn

    from bench.senders import open_at_slot
    from tidings.web.app import newsroom_app
    from tidings.web.connections import bound_connections

    with open_at_slot(folder) as runtime:
        app = newsroom_app(runtime, lambda: {"ok": True})
        config = uvicorn.Config(app, port=port, http=bound_connections(), lifespan="off", log_config=None)
        server = uvicorn.Server(config)
        threading.Thread(target=server.run, daemon=True).start()
        print("ready", flush=True)
        sys.stdin.readline()
        begun = time.monotonic()
        accepted = runtime.deliver().states["accepted"]
        print(accepted / (time.monotonic() - begun), flush=True)
        # The burst ends before the server does.
        sys.stdin.read()
        server.should_exit = True


def start_burst(url: str) -> subprocess.Popen[str]:
    """Ask for this page as fast as it is answered, until SIGINT."""
    with urllib.request.urlopen(url) as answer:
        tag = answer.headers["ETag"]
    words = ["wrk", "-t1", f"-c{CONNECTIONS}", "-d600s", *(["-H", f"If-None-Match: {tag}"] if tag else []), url]
    return subprocess.Popen(pin(words, SINK_CORE), stdout=subprocess.PIPE, text=True)


def stop_burst(burst: subprocess.Popen[str]) -> None:
    """Stop it. Fails if a request was not answered, or not as wanted."""
    burst.send_signal(signal.SIGINT)
    output, _ = burst.communicate()
    if "Non-2xx or 3xx" in output or "Socket errors" in output:
        raise RunError(f"wrong answers:\n{output}")
    [rate] = re.findall(r"Requests/sec:\s+([\d.]+)", output)
    print_progress(f"{float(rate):,.0f} answers a second")


def measure_once(folder: Path, template: Path, recipients: int, delay: int, path: str) -> float:
    """Send the edition, with a `path` beside a burst on this page. Returns the mails a second."""
    folder.mkdir()
    [port] = find_ports(1)
    with CSink(folder / "sink", delay_ms=delay) as sink:
        root = folder / "newsroom"
        copy_newsroom(template, root, port=sink.port, connections=4, dkim=False)
        command = pin([sys.executable, "-m", "bench.burst", "--process", str(root), "--port", str(port)], SENDER_CORE)
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            if process.stdout.readline().strip() != "ready":
                raise RunError("the process did not start")
            wait_for(port)
            burst = start_burst(f"http://127.0.0.1:{port}/{path}") if path else None
            time.sleep(1)
            process.stdin.write("go\n")
            process.stdin.flush()
            rate = float(process.stdout.readline())
            if burst is not None:
                stop_burst(burst)
            process.stdin.close()
            process.wait(60)
        if sink.stop().messages != recipients:
            raise RunError("the sink did not get every message once")
    return rate


def main() -> None:
    """Measure in turns, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--recipients", type=int, default=2_000)
    parser.add_argument("--delay", type=int, default=10, help="milliseconds for each reply of the sink")
    parser.add_argument("--path", default=FEED, help="the page that wrk asks for")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--process", help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.process:
        run_process(options.process, options.port)
        return
    result = measure(options.rounds, options.recipients, options.delay, options.path)
    print(json.dumps(result, indent=2) if options.json else "\n".join(format_table(result)))


def measure(rounds: int, recipients: int, delay: int, path: str) -> dict[str, Any]:
    """Measure a send alone and beside a burst, in turns."""
    rates: dict[str, list[float]] = {"alone": [], "beside a burst": []}
    with tempfile.TemporaryDirectory(prefix="tidings-bench-") as place:
        folder = Path(place)
        template = folder / "template"
        template.mkdir()
        make_newsroom(template, recipients, 5)
        for number in range(rounds):
            for case, values in rates.items():
                run = folder / f"run-{number}-{len(values)}-{case[:5]}"
                values.append(measure_once(run, template, recipients, delay, "" if case == "alone" else path))
                print_progress(f"{number + 1}/{rounds} {case}: {values[-1]:,.0f} mails a second")
    return {"recipients": recipients, "delay": delay, "path": path, "rounds": rounds, "rates": rates}


def format_table(result: dict[str, Any]) -> list[str]:
    """Return the Markdown of the result."""
    alone, beside = result["rates"].values()
    ratios = sorted(one / other for one, other in zip(beside, alone, strict=True))
    ratio = statistics.median(ratios)
    return [
        "| a send of mails | a second | ratio (lowest to highest) |",
        "|---|---:|---:|",
        f"| alone | {statistics.median(alone):,.0f} | 1 |",
        f"| beside a burst on the pages | {statistics.median(beside):,.0f} | {ratio:.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}) |",
        "",
        f"- {format_verdict(ratio >= WANTED)}: {ratio:.2f}; wanted at least {WANTED:g}.",
    ]


if __name__ == "__main__":
    try:
        main()
    except RunError as error:
        sys.exit(f"bench.burst: {error}")
