"""Checkers of other projects: SpamAssassin for mail, html-validate and axe for HTML."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.conftest import missing, require_program

TOOLS = Path(__file__).parents[1] / "tools"
RULES = Path("/usr/share/spamassassin")
"""The rules that Debian ships, given by path: after a failed offline `sa-update`, an empty folder below
/var/lib/spamassassin would be used, and then 'no rules were found'."""


@dataclass(frozen=True)
class SpamVerdict:
    """SpamAssassin's score (lower is better), and the rules that matched, each with its points."""

    score: float
    rules: dict[str, float]


def spamassassin(message: bytes) -> SpamVerdict:
    """Check one mail by the local rules alone."""
    program = require_program("spamassassin")
    if not RULES.is_dir():
        missing("SpamAssassin's rules")
    done = subprocess.run(
        [program, "--local", "--configpath", str(RULES), "--test-mode"],
        input=message, capture_output=True, check=True, timeout=120,
    )  # fmt: skip
    report = done.stdout.decode("utf-8", "replace")
    total = re.search(r"^Content analysis details:\s+\((-?[\d.]+) points", report, re.MULTILINE)
    assert total, done.stderr.decode("utf-8", "replace")
    hits = re.findall(r"^\s?(-?\d+\.\d+) ([A-Z][A-Z0-9_]+)\b", report, re.MULTILINE)
    return SpamVerdict(float(total[1]), {rule: float(points) for points, rule in hits})


def tool(*parts: str) -> Path:
    """Return a file below tests/tools/node_modules, or skip."""
    path = TOOLS.joinpath("node_modules", *parts)
    if not path.exists():
        missing(f"{parts[0]} (npm ci in tests/tools)")
    return path


def html_validate(*files: Path, extends: tuple[str, ...], rules: dict[str, Any] | None = None) -> list[str]:
    """Return every complaint about these files, one a line: file:line:column, rule and message.

    `extends` names presets, such as `document`, `a11y` or `recommended`; `rules` are settings of single rules.
    """
    node = require_program("node")
    program = tool("html-validate", "bin", "html-validate.mjs")
    config = files[0].parent / ".htmlvalidate.test.json"
    presets = [f"html-validate:{name}" for name in extends]
    config.write_text(json.dumps({"root": True, "extends": presets, "rules": rules or {}}))
    done = subprocess.run(
        [node, str(program), "--config", str(config), "--formatter", "json", *map(str, files)],
        capture_output=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode in (0, 1), done.stderr.decode()
    return [
        f"{Path(report['filePath']).name}:{found['line']}:{found['column']} {found['ruleId']}: {found['message']}"
        for report in json.loads(done.stdout)
        for found in report["messages"]
    ]
