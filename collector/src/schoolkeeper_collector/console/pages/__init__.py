"""One module per group of pages; each handler takes a ``Call`` and returns a response."""
