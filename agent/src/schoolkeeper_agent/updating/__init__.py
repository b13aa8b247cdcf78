"""A newer agent, as the officers signed it: fetched, installed, and undone when it does not report."""
