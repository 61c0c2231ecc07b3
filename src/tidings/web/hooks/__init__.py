"""Calls from mail providers and WebSub hubs."""
