"""A broker for remote devices on plain django-q calls, running under Legwork's settings. See README.md beside it."""
