"""Development's settings with the kinds of job that only tests want, and logs that a test can read."""

from project.logging import logging_config
from settings import env
from settings.development import *  # noqa: F403

INSTALLED_APPS = [*INSTALLED_APPS, "tests.support.misbehaving_kinds", "tests.chaos"]  # noqa: F405
LOGGING = logging_config(json=True, level="DEBUG")
# When a plain task that failed or was lost is tried again: after an hour, unless a test wants to see it.
_RETRY = env.integer("PLAIN_RETRY", Q_CLUSTER["retry"])  # noqa: F405
Q_CLUSTER |= {"retry": _RETRY, "timeout": _RETRY - 1}  # noqa: F405
Q_CLUSTER |= {"max_attempts": env.integer("PLAIN_ATTEMPTS", Q_CLUSTER["max_attempts"])}
