"""The helper in a person's own session, and the service's side of the socket between them. See README.md."""
