"""Priorities of jobs: higher ones run first. Whatever users ask for, the project's own work comes first."""

LOWEST, HIGHEST = -100, 100
"""That users may ask for. The default is 0."""
OWN_PRIORITY = 1000
"""Of the project's own jobs, those without a user."""
