"""What answers over HTTP: pages and feeds, and what readers and providers call."""
