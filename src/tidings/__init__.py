"""Tidings, the newsroom's outbox."""

from importlib.metadata import version

__version__ = version("tidings")
