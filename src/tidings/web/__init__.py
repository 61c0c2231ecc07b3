"""The HTTP side: pages, feeds and the API, and the addresses that mail providers and hubs call."""
