"""What device and collector agree on: events, wire, sealing, proofs."""
