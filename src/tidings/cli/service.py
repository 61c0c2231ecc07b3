"""`run`, `tick`, `sweep`, `build`: publish and send."""

from __future__ import annotations

import getpass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer

from tidings.cli.progress import FAILED, show_sending
from tidings.cli.session import (
    Json,
    Now,
    format_counts,
    format_moment,
    open_newsroom,
    print_json,
    say,
    session,
    warn,
)
from tidings.cli.sources import fetch, format_sweep, warn_of_problems
from tidings.model.errors import RefusedError
from tidings.model.plurals import count_noun
from tidings.pipeline import notices
from tidings.pipeline.collect.sweep import collect
from tidings.pipeline.publish.archive import publish_archive
from tidings.pipeline.publish.publish import publish
from tidings.runtime.newsroom import Runtime
from tidings.runtime.service_cycle import CLOCK_TOLERANCE
