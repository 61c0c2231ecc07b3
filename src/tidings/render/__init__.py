"""Pure functions that turn items and editions into feeds, pages and mails."""
