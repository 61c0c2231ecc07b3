"""Everything that Tidings serves by HTTP: pages, feeds, the API, and webhooks for mail providers and hubs."""
