"""Queries about subscribers, consent and feedback."""
