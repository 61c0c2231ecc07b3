"""Copies of a website's pictures."""
