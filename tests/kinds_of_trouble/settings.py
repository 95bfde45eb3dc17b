"""Development's settings with the kinds of job that only tests want, and logs that a test can read."""

from project.log import logging_config
from settings.development import *  # noqa: F403

INSTALLED_APPS = [*INSTALLED_APPS, "tests.kinds_of_trouble", "tests.chaos"]  # noqa: F405
LOGGING = logging_config(json=True, level="INFO")
