"""Load YAML and environment variables into frozen, validated models."""
