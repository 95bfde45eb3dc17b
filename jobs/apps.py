"""The engine as a Django app: at start-up every app's kinds.py, chores.py and checks.py are imported, and so known."""

from django.apps import AppConfig
from django.utils.module_loading import autodiscover_modules


class JobsConfig(AppConfig):
    name = "jobs"

    def ready(self) -> None:
        autodiscover_modules("kinds", "chores", "checks")
