"""A refused stick becomes an encrypted one, asked for by whoever plugged it in."""
