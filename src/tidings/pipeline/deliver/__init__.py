"""Step 5: send deliveries and record their outcomes."""
