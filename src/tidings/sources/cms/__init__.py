"""Content management systems, read by their APIs."""
