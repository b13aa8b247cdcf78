"""The sensors of the preview for Windows."""
