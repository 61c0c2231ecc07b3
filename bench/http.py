"""Feeds over HTTP: our service beside nginx on the same core, asked by wrk from another core.

    python -m bench.http [--rounds 5] [--seconds 3] [--json]

Both serve the same feed of the same folder. `unchanged`: the client has this version and gets 304. `full`: it gets all.
"""

from __future__ import annotations

import argparse
import json
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.figures import format_spread, format_verdict, print_progress, ratio_spread
from bench.newsroom import write_settings, write_stories
from bench.sinks import SENDER_CORE, SINK_CORE, pin

FEED = "feeds/ru/all.atom"
CONNECTIONS = 16
WANTED = {"unchanged": 0.3, "full": 0.2}
"""Our rate at least, as a part of nginx's."""
_NGINX = """
daemon off; master_process off; pid nginx.pid; error_log error.log; {user}
events {{}}
http {{ access_log off; etag on; keepalive_requests 1000000; server {{ listen 127.0.0.1:{port}; root {public}; }} }}
"""


def main() -> None:
    """Measure in turns, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tidings-bench-") as folder:
        result = measure(Path(folder), options.rounds, options.seconds)
    print(json.dumps(result, indent=2) if options.json else "\n".join(format_table(result)))


def measure(folder: Path, rounds: int, seconds: float) -> dict[str, Any]:
    """Serve a feed of 30 stories by both servers, and ask them in turns."""
    root, ports = folder / "newsroom", find_ports(2)
    write_stories_and_build(root, ports[0])
    rates: dict[str, dict[str, list[float]]] = {case: {"tidings": [], "nginx": []} for case in WANTED}
    with serve_ours(root, ports[0]), serve_nginx(folder / "nginx", root / "public", ports[1]):
        for number in range(rounds):
            for case, servers in rates.items():
                for name, port in zip(servers, ports, strict=True):
                    servers[name].append(ask(port, case, seconds))
                    print_progress(f"{case} {number + 1}/{rounds} {name}: {servers[name][-1]:,.0f} a second")
    size = (root / "public" / FEED).stat().st_size
    return {"bytes": size, "rounds": rounds, "rates": rates}


def write_stories_and_build(root: Path, port: int) -> None:
    """Make the newsroom and its pages."""
    root.mkdir()
    write_stories(root, 30)
    write_settings(root, port=1)
    with (root / "tidings.yaml").open("a", encoding="utf-8") as file:
        file.write(f"web: {{host: 127.0.0.1, port: {port}}}\n")
    subprocess.run([sys.executable, "-m", "tidings", "build"], cwd=root, check=True, stdout=subprocess.DEVNULL)


@contextmanager
def serve_ours(root: Path, port: int) -> Iterator[None]:
    """Run our service on the core of the sender."""
    command = pin([sys.executable, "-m", "tidings", "run", "--only", "pages"], SENDER_CORE)
    with subprocess.Popen(command, cwd=root, stdout=subprocess.DEVNULL) as process:
        yield from _until_stopped(process, port)


@contextmanager
def serve_nginx(folder: Path, public: Path, port: int) -> Iterator[None]:
    """Run one process of nginx on the core of the sender."""
    folder.mkdir()
    config = folder / "nginx.conf"
    config.write_text(_NGINX.format(port=port, public=public, user="user root;"))
    command = pin(["nginx", "-p", folder, "-c", config], SENDER_CORE)
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        yield from _until_stopped(process, port)


def _until_stopped(process: subprocess.Popen[bytes], port: int) -> Iterator[None]:
    try:
        wait_for(port)
        yield
    finally:
        process.terminate()


def ask(port: int, case: str, seconds: float) -> float:
    """Return the answers a second. Fails if any answer is not the wanted one."""
    url = f"http://127.0.0.1:{port}/{FEED}"
    words = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds:g}s"]
    if case == "unchanged":
        words += ["-H", f"If-None-Match: {find_tag(url)}"]
    output = subprocess.run([*pin([*words, url], SINK_CORE)], check=True, capture_output=True, text=True).stdout
    if "Non-2xx or 3xx" in output or "Socket errors" in output:
        raise SystemExit(f"bench.http: wrong answers:\n{output}")
    found = re.search(r"Requests/sec:\s+([\d.]+)", output)
    assert found is not None
    return float(found[1])


def find_tag(url: str) -> str:
    """Return the ETag of a file."""
    with urllib.request.urlopen(url) as answer:
        return str(answer.headers["ETag"])


def find_ports(count: int) -> list[int]:
    """Free ports on loopback."""
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def wait_for(port: int) -> None:
    """Wait until a server accepts connections."""
    for _ in range(600):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.1)
    raise SystemExit(f"bench.http: no server at port {port}")


def format_table(result: dict[str, Any]) -> list[str]:
    """The Markdown of the result."""
    lines = ["| answer | tidings, a second | nginx, a second | ratio (lowest to highest) |", "|---|---:|---:|---:|"]
    verdicts = []
    for case, rates in result["rates"].items():
        spread = ratio_spread(rates["tidings"], rates["nginx"])
        ours, peer = (statistics.median(rates[name]) for name in ("tidings", "nginx"))
        lines.append(f"| {case} | {ours:,.0f} | {peer:,.0f} | {format_spread(spread)} |")
        wanted = WANTED[case]
        verdicts.append(
            f"- {format_verdict(spread[0] >= wanted)}: {case}: {spread[0]:.2f}; wanted at least {wanted:g}."
        )
    return [*lines, "", *verdicts]


if __name__ == "__main__":
    main()
