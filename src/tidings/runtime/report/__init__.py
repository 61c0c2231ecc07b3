"""`tidings report`: what went out, and what came back."""
