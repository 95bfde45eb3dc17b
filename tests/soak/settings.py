"""Development's settings with the kinds of the soak, and logs that can be read."""

from project.logging import logging_config
from settings import env
from settings.development import *  # noqa: F403

INSTALLED_APPS = [*INSTALLED_APPS, "tests.soak"]  # noqa: F405
LOGGING = logging_config(json=True, level=env.text("LOG_LEVEL", "WARNING"))
