"""Delivers frames: inputs in, effects out, no I/O. ``machine.Uplink`` is all of it; ``transport.py`` its shell."""
