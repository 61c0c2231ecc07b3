"""The comms room: screens for the team."""
