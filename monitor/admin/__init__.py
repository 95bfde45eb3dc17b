"""The admin's pages of jobs, of who may enter, and of who did what. Django imports this module."""

from monitor.admin import access, jobs

__all__ = ["access", "jobs"]
