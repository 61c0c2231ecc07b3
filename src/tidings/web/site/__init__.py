"""Pages for readers and reviewers."""
