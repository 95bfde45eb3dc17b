"""How long tests wait for what must happen at all: the deadline guards against hanging, and is no promise."""

PATIENCE = 60
"""Seconds, on a machine that is slow, noisy, or stands still for a while."""
