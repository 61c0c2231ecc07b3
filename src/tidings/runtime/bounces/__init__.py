"""Receivers of bounces: LMTP and IMAP."""
