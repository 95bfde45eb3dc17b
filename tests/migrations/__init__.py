"""Refuses migrations that the previous release does not survive (docs/operations/upgrading.md): `make lint` runs it.

It reads the statements for PostgreSQL, and starts and removes a server of its own for that.
"""
