"""Where sealed events wait on the device until the school's ledger proves that it has them."""
