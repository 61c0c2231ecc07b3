"""`tidings rehearse`: run a period of time on a copy of the newsroom."""
