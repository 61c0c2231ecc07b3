"""Step 1: sweep the sources into the store."""
