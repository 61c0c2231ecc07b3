"""Pages of the comms room."""
