"""What follows from failures: decision.py and apply_policy.py. The guard stops broadcasts that harm reputation."""
