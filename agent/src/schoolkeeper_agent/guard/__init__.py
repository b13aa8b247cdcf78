"""What needs more rights than the service has, done for it by short processes of a unit without a network."""
