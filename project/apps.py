"""The app for what belongs to no other: login, tokens, replicas, health, the schema, reports."""

from importlib import import_module

from django.apps import AppConfig

from project.replicas.probe import background_probe
from project.replicas.read_your_writes import record_writes
from routers import pool


class ProjectConfig(AppConfig):
    name = "project"
    verbose_name = "Access"

    def ready(self) -> None:
        import_module("project.checks")
        import_module("project.audit")
        pool.ensure_probed = background_probe.ensure_started
        pool.record_writes = record_writes
