"""Mistakes that no single value shows, by what they are about."""
