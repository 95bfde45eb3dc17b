"""What follows from failures: table decides, apply_policy executes. The guard stops broadcasts that harm reputation."""
