"""Import and export of subscribers as files."""
