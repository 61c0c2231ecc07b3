"""For the people who work in the newsroom: sign-in, and their changes to its files."""
