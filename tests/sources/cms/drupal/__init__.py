"""A site that answers like Drupal's JSON:API, with recorded answers of a real one."""
