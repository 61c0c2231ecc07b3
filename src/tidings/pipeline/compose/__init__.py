"""Step 3: turn a due slot into a frozen edition."""
