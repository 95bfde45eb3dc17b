"""Refuses migrations that the previous release does not survive (docs/operations/upgrading.md): `make lint` runs it.

On PostgreSQL, whose statements it reads; a server of its own, which is started and removed again.
"""
