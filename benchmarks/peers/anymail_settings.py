"""The Django project around the peers that send mail: Anymail's Mailgun backend, as its documentation sets it up."""

import os
from urllib.parse import urlsplit

_database = urlsplit(os.environ["DATABASE_URL"])

SECRET_KEY = "for measurements only"  # noqa: S105
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["django.contrib.contenttypes", "anymail", *os.environ.get("BENCH_APPS", "").split()]
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
DEFAULT_FROM_EMAIL = "Legwork <legwork@mg.example.org>"
ANYMAIL = {
    "MAILGUN_API_KEY": os.environ.get("MAILGUN_API_KEY", ""),
    "MAILGUN_API_URL": os.environ.get("MAILGUN_API_URL", ""),
    "MAILGUN_SENDER_DOMAIN": os.environ.get("MAILGUN_SENDER_DOMAIN", ""),
}
EMAIL_BACKEND = os.environ.get("BENCH_BACKEND", "anymail.backends.mailgun.EmailBackend")
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates"}]
POST_OFFICE = {
    "BACKENDS": {"default": "anymail.backends.mailgun.EmailBackend"},
    "DEFAULT_PRIORITY": "medium",
    "BATCH_SIZE": int(os.environ.get("BENCH_BATCH", "100")),
    "THREADS_PER_PROCESS": int(os.environ.get("BENCH_THREADS", "5")),
    "LOG_LEVEL": 1,
}
