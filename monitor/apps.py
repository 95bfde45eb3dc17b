"""The task monitor's app, and the admin on the monitor's own site."""

from importlib import import_module

from django.apps import AppConfig
from django.conf import settings
from django.contrib.admin import apps as admin_apps


class MonitorConfig(AppConfig):
    name = "monitor"
    verbose_name = "Task monitor"
    default = True

    def ready(self) -> None:
        if settings.SENTRY_DSN:
            import_module("monitor.sentry").start()


class AdminConfig(admin_apps.AdminConfig):
    default = False
    default_site = "monitor.site.MonitorSite"
