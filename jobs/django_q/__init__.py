"""Support for projects written for django-q: its settings, schedules, task packages and results, and monitoring."""
