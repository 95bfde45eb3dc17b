"""The process tree of `manage.py qcluster`: a supervisor, its workers, and a dispatcher."""
