"""A real OpenID Connect provider on loopback: oidc-provider for Node.js, which the OpenID Foundation certified."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from tests.conftest import missing, require_program
from tests.servers.judges import TOOLS

CLIENT = "tidings room"
SECRET = "a secret: + and % and =, as long as forty letters"
"""Unusual characters, because the encoding of RFC 6749 §2.3.1 matters for them."""


@contextmanager
def openid_provider(back: str) -> Iterator[str]:
    """Start it for a newsroom whose sign-in returns to `back`; yields its issuer."""
    node = require_program("node")
    if not (TOOLS / "node_modules" / "oidc-provider").is_dir():
        missing("oidc-provider")
    process = subprocess.Popen(
        [node, str(TOOLS / "openid.mjs"), back, SECRET], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert process.stdout is not None
        issuer = process.stdout.readline().strip()
        assert issuer.startswith("http://127.0.0.1:"), "the provider did not start"
        yield issuer
    finally:
        process.kill()
        process.communicate()
