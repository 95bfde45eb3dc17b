"""A broker for remote devices, written with django-q's calls only and run with Legwork's settings. See README.md."""
