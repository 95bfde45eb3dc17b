"""The Django project around the peers that are backends of Django's tasks. BENCH_BACKEND and BENCH_APPS say which."""

import os
from urllib.parse import urlsplit

_database = urlsplit(os.environ["DATABASE_URL"])

SECRET_KEY = "for measurements only"  # noqa: S105
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["django.contrib.contenttypes", *os.environ["BENCH_APPS"].split()]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": _database.path.lstrip("/"),
        "HOST": _database.hostname,
        "PORT": _database.port,
        "USER": _database.username,
        "CONN_MAX_AGE": None,
    }
}
TASKS = {"default": {"BACKEND": os.environ["BENCH_BACKEND"]}}
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"console": {"class": "logging.StreamHandler", "level": "WARNING"}},
    "root": {"handlers": ["console"], "level": "WARNING"},
}
