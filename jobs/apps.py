"""The engine as a Django app: at start-up it imports each app's kinds.py, maintenance.py and checks.py."""

from django.apps import AppConfig
from django.utils.module_loading import autodiscover_modules


class JobsConfig(AppConfig):
    name = "jobs"

    def ready(self) -> None:
        autodiscover_modules("kinds", "maintenance", "checks")
