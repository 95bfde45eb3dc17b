"""A Django project with stock django-q2 and nothing else. BENCH_BROKER names the broker: orm or redis."""

import os
from urllib.parse import urlsplit

_database = urlsplit(os.environ["DATABASE_URL"])

SECRET_KEY = "for measurements only"  # noqa: S105
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["django.contrib.contenttypes", "django_q"]
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
LOGGING = {"version": 1, "disable_existing_loggers": False, "root": {"level": "WARNING"}}
Q_CLUSTER = {
    "name": "bench",
    "workers": 2,
    "timeout": 600,
    "retry": 660,
    "recycle": 1_000_000,
    "queue_limit": 500,
    "bulk": 50,
    "save_limit": 0,
    "scheduler": False,
    "log_level": "WARNING",
    **({"redis": f"{os.environ['REDIS_URL']}/0"} if os.environ["BENCH_BROKER"] == "redis" else {"orm": "default"}),
}
