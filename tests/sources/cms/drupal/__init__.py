"""A site that answers like Drupal's JSON:API, with a real one's answers."""
