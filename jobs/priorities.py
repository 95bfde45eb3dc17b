"""Priorities of jobs: higher ones run first. Whatever users ask for, the project's own work comes first."""

LOWEST, HIGHEST = -100, 100
"""The range that users may ask for. The default is 0."""
OWN_PRIORITY = 1000
"""The priority of the project's own jobs, which have no user."""
