"""The process tree of `manage.py qcluster`."""
