"""'Tell someone' (T-28): the form that a person sees, on a terminal or in a window. Without rights, and short-lived."""
