"""The team's API: what the comms room can do, for programs."""
