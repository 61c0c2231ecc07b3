"""Gates on the content of an edition: dead links, leftovers of a draft, contrast, and SpamAssassin's score.

`gates:` in tidings.yaml sets for each gate whether it holds the edition or warns. The gates in `render.mail.gates`
check the format of a mail and always hold.
"""

from __future__ import annotations

import email
import email.policy
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Final

from tidings.config.settings import Newsroom
from tidings.model.item import Item
from tidings.pipeline.compose.freeze import RenderResult
from tidings.pipeline.compose.links import LinkLookups, is_looked_up
from tidings.render.mail.content_gates import check_contrast, find_leftovers, read_links, read_words
from tidings.render.mail.gates import GateFailure
from tidings.render.palette import make_palette
from tidings.store.engine import Store

SPAM_BUDGET: Final = 90.0
"""Seconds that SpamAssassin may take for one edition."""
_SPAM_TIMEOUT: Final = 30.0
_RULES: Final = Path("/usr/share/spamassassin")
"""The rules that come with SpamAssassin. After a failed update, it does not find them automatically."""
_SCORE: Final = re.compile(r"^Content analysis details:\s+\((-?[\d.]+) points", re.MULTILINE)
_RULE: Final = re.compile(r"^ {0,3}(-?\d+(?:\.\d+)?) ([A-Z][A-Z0-9_]+)\b[ \t]*(.*)", re.MULTILINE)
_URL: Final = re.compile(r"https?://[^\s<>\"']+")
_MOST_NAMED: Final = 5
"""Most failures of one kind to report; further ones are similar."""


@dataclass(frozen=True, slots=True)
class SpamScore:
    """SpamAssassin's score of a mail, and the rules with the most points, each with points and description."""

    points: float
    rules: tuple[tuple[str, float, str], ...]


class ContentGates:
    """The gates that `gates:` sets. Links are only looked up with `look_up`."""

    def __init__(self, newsroom: Newsroom, store: Store) -> None:
        self._newsroom = newsroom
        self._settings = newsroom.gates
        self._links = LinkLookups(store, allow_private=newsroom.gates.allow_private)
        self.is_offline = False
        """Whether no link is looked up: a rehearsal or a demo asks nobody."""

    def judge(self, results: Sequence[RenderResult], *, look_up: bool = False) -> list[RenderResult]:
        """Return the mails and posts with their failures and warnings.

        With `look_up`, unknown links are looked up first, for a few seconds at most.
        """
        links = {id(result): self._list_links(result) for result in results} if self._settings.links != "off" else {}
        if look_up and links and not self.is_offline:
            self._links.look_up((url for found in links.values() for url in found), time.time())
        urls = {url for found in links.values() for url in found}
        dead = self._links.find_dead(urls) if urls else {}
        deadline = time.monotonic() + SPAM_BUDGET
        seen: set[tuple[str, str]] = set()
        judged = []
        for result in results:
            failures, warnings = [*result.failures], [*result.warnings]
            for action, failure in self._check(result, links.get(id(result), {}), dead, deadline):
                if (result.outlet, str(failure)) in seen and failure.gate == "contrast":
                    continue  # the same colours in every language
                seen.add((result.outlet, str(failure)))
                text = f"{result.outlet.partition(':')[2]} ({result.language}): {failure}"
                (failures if action == "hold" else warnings).append(text)
            judged.append(
                replace(
                    result, failures=tuple(dict.fromkeys(failures)), warnings=tuple(dict.fromkeys(warnings)), sample=b""
                )
            )
        return judged

    def _check(
        self, result: RenderResult, links: dict[str, str], dead: dict[str, str], deadline: float
    ) -> Iterator[tuple[str, GateFailure]]:
        settings = self._settings
        gone = [(url, where, dead[url]) for url, where in links.items() if url in dead]
        for url, where, reason in gone[:_MOST_NAMED]:
            yield settings.links, GateFailure("links", f"the link {url} in {where} is dead: {reason}", _MEND_LINK)
        if settings.leftovers != "off":
            found = dict.fromkeys(self._find_leftovers(result))
            for words, where in list(found)[:_MOST_NAMED]:
                detail = f"{where} contains {words!r}, which looks like a part of a draft"
                yield settings.leftovers, GateFailure("leftovers", detail, "replace it with the real text")
        if not result.sample:
            return
        if settings.contrast != "off":
            html = _read_mail(result.sample)[2]
            for failure in list(check_contrast(html, make_palette(self._newsroom.site.colour)))[:_MOST_NAMED]:
                yield settings.contrast, failure
        if settings.spam is not None:
            score = measure_spam(result.sample) if time.monotonic() < deadline else None
            if score is None:
                mend = "install spamassassin, or take `spam` out of `gates:`"
                yield "warn", GateFailure("spam", "SpamAssassin gave no score", mend)
            elif score.points >= settings.spam.score:
                rules = ", ".join(f"{name} ({points:+.1f}: {about})" for name, points, about in score.rules[:3])
                detail = (
                    f"SpamAssassin gives {score.points:.1f} points, and {settings.spam.score:g} are too many: {rules}"
                )
                yield settings.spam.then, GateFailure("spam", detail, "change what these rules say")

    def _list_links(self, result: RenderResult) -> dict[str, str]:
        """Return the links to other sites in a mail or post and in its stories, each with its place."""
        found: dict[str, str] = {}
        for item in _items(result):
            for url in (*read_links(item.body), item.url):
                found.setdefault(url, f"the story {item.story}")
        if result.sample:
            for url in read_links(_read_mail(result.sample)[2]):
                found.setdefault(url, "the mail")
        if result.post is not None:
            for url in (url for item in result.post.items for url in _URL.findall(item.text)):
                found.setdefault(url.rstrip(".,;:!?)"), "the post")
        own = self._newsroom.site.url
        return {url: where for url, where in found.items() if not url.startswith(own) and is_looked_up(url)}

    def _find_leftovers(self, result: RenderResult) -> Iterator[tuple[str, str]]:
        """Yield leftovers of a draft, each with its place: a story if it contains them, else the mail or post."""
        in_stories: set[str] = set()
        for item in _items(result):
            texts = (item.title, item.summary, read_words(item.body))
            for words in (words for text in texts for words in find_leftovers(text, item.language)):
                in_stories.add(words)
                yield words, f"the story {item.story} ({item.language})"
        if result.sample:
            subject, text, _ = _read_mail(result.sample)
            for where, whole in (("the subject", subject), ("the mail", text)):
                # URLs may contain any letters. A subject that a person wrote for this edition was seen by that person.
                judged = _URL.sub(" ", whole.replace(subject, " ") if result.has_own_subject and subject else whole)
                for words in find_leftovers(judged, result.language):
                    if words not in in_stories:
                        yield words, where
        if result.post is not None:
            whole = "\n".join([result.post.title, *(item.text for item in result.post.items)])
            for words in find_leftovers(_URL.sub(" ", whole), result.language):
                if words not in in_stories:
                    yield words, "the post"


_MEND_LINK: Final = "correct the link in the story, or take it out"


def _items(result: RenderResult) -> list[Item]:
    """Return the items of a mail or post, each once."""
    items = {item.id: item for group in result.groups.values() for item in group.selection.all_items}
    return list(items.values())


@lru_cache(maxsize=8)
def _read_mail(message: bytes) -> tuple[str, str, str]:
    """Return subject, text and HTML."""
    parsed = email.message_from_bytes(message, policy=email.policy.default)
    bodies = [parsed.get_body((kind,)) for kind in ("plain", "html")]
    text, html = ("" if body is None else str(body.get_content()) for body in bodies)
    return str(parsed["Subject"] or ""), text, html


def has_spamassassin() -> bool:
    """Whether SpamAssassin is installed on this machine."""
    return any(shutil.which(program) for program in ("spamc", "spamassassin"))


def measure_spam(message: bytes) -> SpamScore | None:
    """Return SpamAssassin's score by local rules, or None if it is not installed or fails."""
    commands = []
    if shutil.which("spamc"):
        commands.append(["spamc", "-R", "-x", "-t", f"{_SPAM_TIMEOUT:.0f}", "-s", "10000000"])
    if shutil.which("spamassassin"):
        commands.append(["spamassassin", "--local", "--test-mode"])
        commands.append(["spamassassin", "--local", "--test-mode", "--configpath", str(_RULES)])
    for command in commands:
        try:
            done = subprocess.run(
                command,
                input=message,
                capture_output=True,
                check=False,
                timeout=_SPAM_TIMEOUT,
                env={**os.environ, "LC_ALL": "C"},
            )
        except (OSError, subprocess.TimeoutExpired):
            continue
        report = done.stdout.decode("utf-8", "replace")
        if (total := _SCORE.search(report)) and "no rules were found" not in done.stderr.decode("utf-8", "replace"):
            rules = [(name, float(points), about.strip()) for points, name, about in _RULE.findall(report)]
            costly = sorted((rule for rule in rules if rule[1] > 0), key=lambda rule: -rule[1])
            return SpamScore(float(total[1]), tuple(costly))
    return None
