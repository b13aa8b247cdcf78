"""The collector: ingest, ledger, detection, incidents and console."""
