"""Webhooks for mail providers and WebSub hubs."""
