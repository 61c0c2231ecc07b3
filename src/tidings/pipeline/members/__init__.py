"""Subscribing, preferences and data requests."""
