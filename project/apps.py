"""What belongs to no app: who calls, how errors look, health, the schema."""

from importlib import import_module

from django.apps import AppConfig

from project.replicas import replica_pool
from routers import pool


class ProjectConfig(AppConfig):
    name = "project"
    verbose_name = "Access"

    def ready(self) -> None:
        import_module("project.checks")
        pool.watch = replica_pool.probe.begin
