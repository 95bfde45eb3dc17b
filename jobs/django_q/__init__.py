"""What a django-q project brings along: its settings, schedules, tasks' packages and results, its monitoring."""
