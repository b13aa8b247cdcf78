"""The console: small server-rendered pages, one front page per role."""
