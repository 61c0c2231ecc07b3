"""The fault harness: our real processes against servers that keep a journal of their own. `make faults` runs it."""
