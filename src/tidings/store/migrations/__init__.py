"""Migrations of the tables: one file for each step. They never import live code."""
