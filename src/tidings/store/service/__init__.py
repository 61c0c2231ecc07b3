"""Queries about the running service: clock, pauses, heartbeats, metrics."""
