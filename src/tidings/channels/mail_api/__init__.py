"""Mail through the HTTP APIs of mail providers."""
