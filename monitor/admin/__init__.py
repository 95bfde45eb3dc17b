"""The admin's pages of jobs, users, groups and the log of actions. Django imports this module."""

from monitor.admin import access, jobs

__all__ = ["access", "jobs"]
