"""A private nginx for tests: in a temporary folder, on loopback, removed afterwards."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.conftest import require_program

_MAIN = """
daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/error.log;
{user}
events {{}}
http {{
  access_log {folder}/access.log; client_body_temp_path {folder}/a; proxy_temp_path {folder}/b;
  fastcgi_temp_path {folder}/c; uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
  types {{ application/rss+xml rss; application/atom+xml atom; application/feed+json json; text/html html; }}
  server {{ listen 127.0.0.1:{port}; root {root}; {locations} }}
}}
"""


@contextmanager
def nginx(folder: Path, root: Path, locations: str) -> Iterator[tuple[str, Path]]:
    """Run a server over `root`. Yields its address and the log of its requests."""
    program = require_program("nginx", "/usr/sbin/nginx")
    folder.mkdir(parents=True, exist_ok=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    user = "user root;" if os.geteuid() == 0 else ""
    config = folder / "nginx.conf"
    config.write_text(_MAIN.format(folder=folder, root=root, port=port, locations=locations, user=user))
    with subprocess.Popen([program, "-p", str(folder), "-c", str(config)], stderr=subprocess.DEVNULL) as process:
        try:
            end = time.monotonic() + 120
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    break
                except OSError:
                    assert process.poll() is None, (folder / "error.log").read_text()
                    assert time.monotonic() < end, "nginx does not answer"
                    time.sleep(0.05)
            yield f"http://127.0.0.1:{port}", folder / "access.log"
        finally:
            process.terminate()
            process.wait(20)
