"""The agent leaves the device: with a reason that the school hears, or at least seen."""
