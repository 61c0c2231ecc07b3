"""Gotify as a channel of Tidings."""
