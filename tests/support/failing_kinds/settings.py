"""Development's settings with the kinds that fail, and http.request allowed to call this machine."""

from settings.development import *  # noqa: F403

INSTALLED_APPS = [*INSTALLED_APPS, "tests.support.failing_kinds"]  # noqa: F405
HTTP_REQUEST_ALLOWED_HOSTS = ["127.0.0.1"]
