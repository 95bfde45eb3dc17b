"""Legwork as it is measured: development settings, JSON logs at WARNING, and the kinds of benchmarks/kinds.py."""

from project.logging import logging_config
from settings import env
from settings.development import *  # noqa: F403

INSTALLED_APPS = [*INSTALLED_APPS, "benchmarks"]  # noqa: F405
LOGGING = logging_config(json=True, level=env.text("LOG_LEVEL", "WARNING"))
