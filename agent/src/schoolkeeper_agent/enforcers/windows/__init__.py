"""The enforcers of the preview for Windows: none, and each says so."""
