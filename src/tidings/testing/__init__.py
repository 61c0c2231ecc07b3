"""Contract suites and fakes for whoever writes an adapter; nothing of ours but tests imports it."""
