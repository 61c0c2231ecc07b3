"""The demo newsroom, with a local mail catcher and a local post receiver."""
