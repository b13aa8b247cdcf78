"""Rollouts: rings, the gate between them, and what is done by hand."""
