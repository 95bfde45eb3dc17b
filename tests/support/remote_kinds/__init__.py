"""An app of remote kinds with short leases, so that tests can wait for their ends."""
