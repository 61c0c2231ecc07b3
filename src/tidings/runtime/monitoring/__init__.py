"""Status, diagnosis, health and metrics of a running newsroom."""
