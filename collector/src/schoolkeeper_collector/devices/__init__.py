"""Devices: enrolment tokens, certificates, the enrolment service, and the fleet's commands."""
