"""The policy language: read, check, test, compile and sign. Never installed on a device."""
