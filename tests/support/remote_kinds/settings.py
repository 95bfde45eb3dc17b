"""Development's settings with the remote kinds of tests, and logs that a test can read."""

from tests.support.misbehaving_kinds.settings import *  # noqa: F403

INSTALLED_APPS = [*INSTALLED_APPS, "tests.support.remote_kinds"]  # noqa: F405
