"""Pure: an edition in; a feed, a digest or a post out."""
