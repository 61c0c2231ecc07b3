"""Plans and previews: what would be sent."""
