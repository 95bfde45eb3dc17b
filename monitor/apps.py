"""The task monitor's app, and the admin on the monitor's own site."""

from django.apps import AppConfig
from django.contrib.admin import apps as admin_apps


class MonitorConfig(AppConfig):
    name = "monitor"
    verbose_name = "Task monitor"
    default = True


class AdminConfig(admin_apps.AdminConfig):
    default = False
    default_site = "monitor.site.MonitorSite"
