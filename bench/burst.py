"""A send beside a burst of requests for a feed, and beside a hundred pages of the comms room that follow it.

One process serves the pages and sends, as `tidings run` does.

    python -m bench.burst [--rounds 3] [--recipients 2000] [--delay 10] [--path subscribe/digest] [--json]

The sink takes `--delay` milliseconds for each reply. `wrk` asks for one page over 16 connections, as fast as it is answered; without
`--path`, it is a feed, and unchanged. `wrk` and the sink share the core that does not send.
"""

from __future__ import annotations

import argparse
import asyncio
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

from bench.figures import format_spread, format_verdict, print_progress, ratio_spread
from bench.http import CONNECTIONS, FEED, find_ports, wait_for
from bench.newsroom import copy_newsroom, make_newsroom
from bench.runs import RunError
from bench.sinks import SENDER_CORE, SINK_CORE, CSink, pin
from tidings.web.room.visit import COOKIE

WANTED = 0.9
PROGRESS = "room/editions/daily/1/progress"
"""What an open page of the edition asks for."""
FOLLOWERS = 100
FOLLOWED_SECONDS = 5.0
"""As in the script of the room."""
"""The rate of the send beside the burst at least, as a part of its rate without one."""


def run_process(folder: str, port: int) -> None:
    """Serve the pages of a newsroom and, after a line on stdin, send its edition. Prints the seconds."""
    import uvicorn

    from bench.senders import open_at_slot
    from tidings.runtime.team import sign_in
    from tidings.store.people import team
    from tidings.store.service.clock import real_now
    from tidings.web.app import newsroom_app
    from tidings.web.connections import bound_connections

    with open_at_slot(folder) as runtime:
        with runtime.store.write() as connection:
            member = team.add_member(connection, "viewer@example.org", team.Role.VIEWER, (), real_now())
            assert member is not None
            session = sign_in.start_session(connection, member, "bench", real_now())
        app = newsroom_app(runtime, lambda: {"ok": True})
        config = uvicorn.Config(app, port=port, http=bound_connections(), lifespan="off", log_config=None)
        server = uvicorn.Server(config)
        threading.Thread(target=server.run, daemon=True).start()
        print(session, flush=True)
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


def follow(url: str, session: str) -> None:
    """Ask for this part of a page like open pages do, until SIGINT. Prints the number of answers."""
    import httpx

    answers = 0

    async def follow_one(client: httpx.AsyncClient, number: int) -> None:
        nonlocal answers
        await asyncio.sleep(number * FOLLOWED_SECONDS / FOLLOWERS)
        while True:
            answer = await client.get(url)
            if answer.status_code != 200 or 'id="progress"' not in answer.text:
                raise RunError(f"a wrong answer: {answer.status_code}")
            answers += 1
            await asyncio.sleep(FOLLOWED_SECONDS)

    async def follow_all() -> None:
        limits = httpx.Limits(max_connections=FOLLOWERS)
        async with httpx.AsyncClient(cookies={COOKIE: session}, limits=limits, timeout=60) as client:
            await asyncio.gather(*(follow_one(client, number) for number in range(FOLLOWERS)))

    try:
        asyncio.run(follow_all())
    except KeyboardInterrupt:
        print(answers)


def start_followers(url: str, session: str) -> subprocess.Popen[str]:
    """Open a hundred pages that follow the send."""
    words = [sys.executable, "-m", "bench.burst", "--follow", url, "--session", session]
    return subprocess.Popen(pin(words, SINK_CORE), stdout=subprocess.PIPE, text=True)


def stop_followers(followers: subprocess.Popen[str]) -> None:
    """Close the pages. Fails if one had a wrong answer."""
    followers.send_signal(signal.SIGINT)
    output, _ = followers.communicate()
    if followers.returncode:
        raise RunError("a page that follows the send had a wrong answer")
    print_progress(f"{output.strip()} answers for pages that follow the send")


def measure_once(folder: Path, template: Path, recipients: int, delay: int, path: str) -> float:
    """Send the edition, with a `path` beside a burst on this page, or followed by open pages. Returns the mails a second."""
    folder.mkdir()
    [port] = find_ports(1)
    with CSink(folder / "sink", delay_ms=delay) as sink:
        root = folder / "newsroom"
        copy_newsroom(template, root, port=sink.port, connections=4, dkim=False)
        command = pin([sys.executable, "-m", "bench.burst", "--process", str(root), "--port", str(port)], SENDER_CORE)
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            session = process.stdout.readline().strip()
            if not session:
                raise RunError("the process did not start")
            wait_for(port)
            url = f"http://127.0.0.1:{port}/{path}"
            burst = start_burst(url) if path and path != PROGRESS else None
            followers = start_followers(url, session) if path == PROGRESS else None
            time.sleep(1)
            process.stdin.write("go\n")
            process.stdin.flush()
            rate = float(process.stdout.readline())
            if burst is not None:
                stop_burst(burst)
            if followers is not None:
                stop_followers(followers)
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
    parser.add_argument("--follow", help=argparse.SUPPRESS)
    parser.add_argument("--session", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.follow:
        follow(options.follow, options.session)
        return
    if options.process:
        run_process(options.process, options.port)
        return
    result = measure(options.rounds, options.recipients, options.delay, options.path)
    print(json.dumps(result, indent=2) if options.json else "\n".join(format_table(result)))


def measure(rounds: int, recipients: int, delay: int, path: str) -> dict[str, Any]:
    """Measure a send alone and beside a burst, in turns."""
    rates: dict[str, list[float]] = {"": [], path: [], PROGRESS: []}
    with tempfile.TemporaryDirectory(prefix="tidings-bench-") as place:
        folder = Path(place)
        template = folder / "template"
        template.mkdir()
        make_newsroom(template, recipients, 5)
        for number in range(rounds):
            for place_of_case, (case, values) in enumerate(rates.items()):
                run = folder / f"run-{number}-{place_of_case}"
                values.append(measure_once(run, template, recipients, delay, case))
                print_progress(f"{number + 1}/{rounds} {case or 'alone'}: {values[-1]:,.0f} mails a second")
    return {"recipients": recipients, "delay": delay, "path": path, "rounds": rounds, "rates": rates}


def format_table(result: dict[str, Any]) -> list[str]:
    """Return the Markdown of the result."""
    alone, beside, followed = result["rates"].values()
    lines = [
        "| a send of mails | a second | ratio (lowest to highest) |",
        "|---|---:|---:|",
        f"| alone | {statistics.median(alone):,.0f} | 1 |",
    ]
    verdicts = [""]
    for name, rates in (
        ("beside a burst on the pages", beside),
        (f"followed in {FOLLOWERS} pages of the room", followed),
    ):
        ratio = ratio_spread(rates, alone)
        lines.append(f"| {name} | {statistics.median(rates):,.0f} | {format_spread(ratio)} |")
        verdicts.append(
            f"- {format_verdict(ratio[0] >= WANTED)}: {name} {format_spread(ratio)}; wanted at least {WANTED:g}."
        )
    return lines + verdicts


if __name__ == "__main__":
    try:
        main()
    except RunError as error:
        sys.exit(f"bench.burst: {error}")
