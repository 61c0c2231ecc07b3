"""Channels send one message to one outside service. `base` is the port, and each channel is one file or folder."""
