"""A cluster that is never idle for half an hour; what it holds is sampled: memory, transactions and snapshots."""
