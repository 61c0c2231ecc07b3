"""Tidings, the newsroom's outbox."""

from __future__ import annotations


def __getattr__(name: str) -> str:
    """Look `__version__` up when it is asked for: `importlib.metadata` is slow to import."""
    if name == "__version__":
        from importlib.metadata import version

        return version("tidings")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
