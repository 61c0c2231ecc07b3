"""Mail over SMTP, through a relay."""
