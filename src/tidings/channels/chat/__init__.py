"""Chat rooms, webhooks and push notifications."""
