"""The development settings plus the example's app."""

from settings.development import *  # noqa: F403

INSTALLED_APPS = [*INSTALLED_APPS, "examples.rbroker"]  # noqa: F405
