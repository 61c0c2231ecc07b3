"""YAML and environment into frozen, validated models."""
