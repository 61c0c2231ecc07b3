"""Queries about items, schedules, editions and published files."""
