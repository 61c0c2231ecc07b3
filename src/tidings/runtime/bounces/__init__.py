"""How the service receives bounces: LMTP and IMAP."""
