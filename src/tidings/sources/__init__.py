"""Sources bring items in. `base` is the port; each source is one module or folder."""
