"""A Mastodon server of one account, as far as posting goes, and a newsroom that posts to it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.pipeline.desk import HOUR, MONDAY, Desk, open_desk
from tidings.testing.http_sink import HttpSink, Received, Step

JSON = {"Content-Type": "application/json"}
SOCIAL = 'cadence: {daily: "09:00"}\ndeliver: [{channel: social, per: item}]\n'


class Network:
    """A Mastodon server of one account: statuses by id, a repeat by its key is the same, one answer can get lost."""

    def __init__(self) -> None:
        self.statuses: dict[str, dict[str, Any]] = {}
        self.keys: dict[str, str] = {}
        self.lose = 0
        """So many of the next answers are lost."""
        self.refuse = 0
        """So many of the next posts are refused."""
        self.calls: list[str] = []

    def __call__(self, request: Received) -> Step:
        self.calls.append(f"{request.method} {request.path}")
        if request.method == "GET":
            if self.lose:
                self.lose -= 1
                return Step(503)
            return Step(200, json.dumps(self._read(request.path)).encode(), JSON)
        number = request.path.rpartition("/")[2]
        if request.method == "POST":
            if self.refuse:
                self.refuse -= 1
                return Step(422, b'{"error": "Validation failed"}', JSON)
            key = request.headers["idempotency-key"]
            answered = json.loads(request.body).get("in_reply_to_id")
            if answered is not None and answered not in self.statuses:
                return Step(404, b'{"error": "Record not found"}', JSON)
            number = self.keys.setdefault(key, str(len(self.keys) + 1))
            self.statuses.setdefault(number, json.loads(request.body))
        elif number not in self.statuses:
            return Step(404, b'{"error": "Record not found"}', JSON)
        elif request.method == "PUT":
            self.statuses[number] |= json.loads(request.body)
        elif request.method == "DELETE":
            del self.statuses[number]
        if self.lose:
            self.lose -= 1
            return Step(reset="after")
        said = {"id": number, "url": f"https://social.example/@news/{number}", "text": ""}
        return Step(200, json.dumps(said).encode(), JSON)

    def _read(self, path: str) -> Any:
        if path.endswith("verify_credentials"):
            return {"id": "9"}
        moment = datetime.now(UTC).isoformat()
        return [
            {
                "id": number,
                "content": f"<p>{one['status']}</p>",
                "in_reply_to_id": one.get("in_reply_to_id"),
                "created_at": moment,
                "url": f"https://s.example/{number}",
            }
            for number, one in self.statuses.items()
            if "max_id" not in path
        ]

    @property
    def texts(self) -> list[str]:
        return [str(one["status"]) for one in self.statuses.values()]

    @property
    def threads(self) -> dict[str, list[str]]:
        """The languages of each post that answers none, and of those that answer it, in order."""
        found: dict[str, list[str]] = {}
        for number, one in self.statuses.items():
            found.setdefault(one.get("in_reply_to_id", number), []).append(str(one["language"]))
        return found


@contextmanager
def open_social(root: Path, store: str, network: Network, *, more: str = "languages: [en]") -> Iterator[Desk]:
    """A desk that posts each story to the network; `more` are settings of the channel."""
    with HttpSink(answer=network) as sink, open_desk(root, store) as desk:
        server = sink.url.partition("/hook/")[0]
        settings = f"type: mastodon, server: '{server}/', token: {{env: DESK_SECRET}}, allow_private: true, {more}"
        desk.configure("channels:\n", f"channels:\n  social: {{{settings}}}\n")
        desk.schedule("daily", SOCIAL)
        desk.tick(MONDAY - HOUR)
        yield desk
