"""The notices that people read, made from the compiled policy (T-41, W-62)."""
