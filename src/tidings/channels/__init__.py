"""Channels hand one message to one outside service; `base` is the port, one file a channel."""
