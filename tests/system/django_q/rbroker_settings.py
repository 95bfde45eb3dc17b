"""The example's settings, with logs that a test can read."""

from examples.rbroker.settings import *  # noqa: F403
from project.logging import logging_config

LOGGING = logging_config(json=True, level="INFO")
