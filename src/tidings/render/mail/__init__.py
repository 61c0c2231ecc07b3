"""E-mail: digests, headers, MIME and DKIM."""
