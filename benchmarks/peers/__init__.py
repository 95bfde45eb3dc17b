"""The queues that are measured, one module each (benchmarks.client.Peer says what it offers).

A module is imported in the peer's own environment only. Its docstring says how the peer is set up, and goes into the
result file; what the worker's command line adds stands in benchmarks/roster.py.
"""
