"""Contract suites and fakes for authors of adapters. In Tidings only tests import them."""
