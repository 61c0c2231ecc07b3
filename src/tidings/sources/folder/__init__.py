"""The default source: a folder of Markdown files."""
