"""Timing and ratios that the benchmarks share."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Sequence

Spread = tuple[float, float, float]
"""Median, lowest and highest."""


def time_cpu(call: Callable[[], object], times: int) -> float:
    """CPU seconds of one call, averaged over `times`."""
    start = time.process_time()
    for _ in range(times):
        call()
    return (time.process_time() - start) / times


def ratio_spread(ours: Sequence[float], peers: Sequence[float]) -> Spread:
    """The spread of the ratios, round by round."""
    ratios = [our / peer for our, peer in zip(ours, peers, strict=True)]
    return statistics.median(ratios), min(ratios), max(ratios)


def format_spread(spread: Sequence[float], digits: int = 2) -> str:
    """`1.20 (1.10 to 1.30)`."""
    middle, low, high = spread
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def format_verdict(is_met: bool) -> str:
    """Whether a target was reached, for the page."""
    return "Met" if is_met else "NOT MET"


def print_progress(line: str) -> None:
    """Print to stderr at once."""
    print(line, file=sys.stderr, flush=True)
