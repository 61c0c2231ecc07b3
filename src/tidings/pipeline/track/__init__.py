"""What comes back after a mail was taken: reports are read, proven to be about a mail of ours, and acted upon.

`reading` makes sense of a message, `proof` finds out whose mail it is about, and there is a module for each event.
"""
