"""Sources on the network: feeds, pages, and items that a CMS pushes."""
