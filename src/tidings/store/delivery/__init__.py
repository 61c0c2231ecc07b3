"""Queries about deliveries: the ledger, claims and the journal."""
