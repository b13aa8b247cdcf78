"""The exec responder: a small process of its own that answers the kernel, and its guardian. See README.md."""
