"""The composition root, the ticker and the queue."""
