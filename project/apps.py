"""What belongs to no app: who calls, how errors look, health, the schema."""

from django.apps import AppConfig


class ProjectConfig(AppConfig):
    name = "project"
    verbose_name = "Access"
