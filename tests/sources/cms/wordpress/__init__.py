"""A real WordPress from Debian's packages. Its database, files and port are removed after the tests."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

CODE = Path("/usr/share/wordpress")
_HERE = Path(__file__).parent


def lacking() -> str | None:
    """Return the programs that are not installed."""
    programs = [name for name in ("php", "mariadbd", "mariadb") if shutil.which(name) is None]
    if not (CODE / "wp-settings.php").exists():
        programs.append("wordpress")
    if not programs:
        modules = subprocess.run(["php", "-m"], capture_output=True, check=True, text=True).stdout.split()
        programs += [f"php-{name}" for name in ("mysqli", "gd") if name not in modules]
    return ", ".join(programs) or None


class WordPress:
    """One site. `do` performs an editor's action."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="tidings-wp-", dir="/tmp"))
        self._database: subprocess.Popen[bytes] | None = None
        self._server: subprocess.Popen[bytes] | None = None
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = int(probe.getsockname()[1])
        self.url = f"http://127.0.0.1:{self._port}/"
        self._env = {
            "PATH": os.environ["PATH"],
            "WORDPRESS_URL": self.url.rstrip("/"),
            "WORDPRESS_SOCKET": str(self._folder / "socket"),
            "WORDPRESS_CONTENT": str(self._folder / "content"),
            "PHP_CLI_SERVER_WORKERS": "2",
        }

    def start(self) -> None:
        """Set up the database, the site and its server."""
        data = self._folder / "data"
        data.mkdir()
        plugins = self._folder / "content" / "mu-plugins"
        plugins.mkdir(parents=True)
        shutil.copy(_HERE / "plugin.php", plugins)
        arguments = [
            "mariadbd", "--no-defaults", f"--datadir={data}", f"--socket={self._folder}/socket", "--skip-networking",
            "--skip-grant-tables", "--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=64M",
        ]  # fmt: skip
        if os.geteuid() == 0:
            arguments.append("--user=root")
        with (self._folder / "log").open("wb") as log:
            self._database = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/")
        self._until(lambda: self._sql("CREATE DATABASE IF NOT EXISTS wordpress"), "the database")
        self._php({"install": True})
        self.serve()

    def serve(self) -> None:
        """Start the server; `fall` stops it."""
        command = ["php", "-d", "memory_limit=256M", "-S", f"127.0.0.1:{self._port}", str(_HERE / "site.php")]
        with (self._folder / "log").open("ab") as log:
            self._server = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                cwd=self._folder, env=self._env, start_new_session=True,
            )  # fmt: skip
        self._until(self._answers, "the site")

    @property
    def is_down(self) -> bool:
        """Whether the server is stopped."""
        return self._server is None

    def fall(self) -> None:
        """Stop the server."""
        if self._server is not None:
            # Its workers are separate processes in its group.
            os.killpg(self._server.pid, 15)
            self._server.wait(30)
            self._server = None

    def stop(self) -> None:
        """End it, and remove its files."""
        try:
            self.fall()
            if self._database is not None:
                self._database.kill()
                self._database.wait(30)
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)

    def do(self, *steps: tuple[str, list[Any]]) -> list[Any]:
        """Call functions of WordPress (or of do.php) one after the other; return their results."""
        found: list[Any] = self._php(list(steps))
        return found

    def post(self, title: str, content: str = "<p>Text.</p>", **more: Any) -> int:
        """Publish a post; return its id. `more` are WordPress's fields."""
        given = {"post_title": title, "post_content": content, "post_status": "publish"} | more
        return int(self.do(("write", [given]))[0])

    def _php(self, told: Any) -> Any:
        done = subprocess.run(
            ["php", str(_HERE / "do.php")], input=json.dumps(told).encode(), capture_output=True, check=False,
            env=self._env, timeout=300,
        )  # fmt: skip
        if done.returncode != 0 or not done.stdout:
            raise RuntimeError(f"WordPress refused: {(done.stderr or done.stdout).decode(errors='replace')[-2000:]}")
        return json.loads(done.stdout)

    def _sql(self, statement: str) -> bool:
        command = ["mariadb", "--no-defaults", f"--socket={self._folder}/socket", "-e", statement]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(self.url + "wp-json/", timeout=30) as answer:
                return bool(answer.status == 200)
        except urllib.error.HTTPError:
            raise
        except OSError:
            return False

    def _until(self, ready: Any, what: str) -> None:
        for _ in range(300):
            if ready():
                return
            time.sleep(0.1)
        raise RuntimeError(f"{what} of WordPress does not answer: {(self._folder / 'log').read_text()[-2000:]}")
