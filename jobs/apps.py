"""The Django app of the job engine. At start-up it imports the kinds.py, maintenance.py and checks.py of each app."""

from django.apps import AppConfig
from django.utils.module_loading import autodiscover_modules, import_string


class JobsConfig(AppConfig):
    name = "jobs"

    def ready(self) -> None:
        autodiscover_modules("kinds", "maintenance", "checks")
        import_string("jobs.tracing.start")()
