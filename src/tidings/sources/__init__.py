"""Items from outside; `base` is the port, one file a source."""
