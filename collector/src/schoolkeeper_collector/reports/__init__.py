"""Reports that a school keeps: what was so, as of one moment."""
