"""Markdown as editors and their programs write it."""
