"""How the tables came to be: one file a step, written out, never importing live code."""
