"""Grants on the device: verified, kept, begun and ended by time that a wall clock cannot bend."""
