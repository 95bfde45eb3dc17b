"""Keeps the figures: dispatchers count what happened since the last round (monitor/maintenance.py)."""
