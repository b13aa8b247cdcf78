"""A school's roots: its signed metadata, its certificate authority, its working keys, and `init`, which makes them."""
