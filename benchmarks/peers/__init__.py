"""The queues that are measured, one module each (benchmarks.client.Peer says what a module offers).

A module is imported in the peer's own environment only. Its docstring says how the peer is set up, and goes into the
result file. The command lines of the workers are in benchmarks/roster.py.
"""
