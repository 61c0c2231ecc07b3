"""Step 4: decide who gets which part of an edition."""
