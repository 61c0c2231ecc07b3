"""Webhooks of mail providers: each module verifies the sender of a request and reads its events."""
