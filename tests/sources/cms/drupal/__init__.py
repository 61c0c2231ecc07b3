"""A site that answers as Drupal's JSON:API does, with what a real one answered."""
