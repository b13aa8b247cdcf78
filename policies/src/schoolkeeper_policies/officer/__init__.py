"""Officers: key files, signing, and the program they use."""
