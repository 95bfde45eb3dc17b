"""A developer's machine: SQLite, no secrets to set, readable logs. Clients meet the same errors as in production."""

from project.log import logging_config
from settings import env
from settings.base import *  # noqa: F403

# Django's yellow pages replace the API's own errors, so they are for the asking: DEBUG=1.
DEBUG = env.boolean("DEBUG", default=False)
SECRET_KEY = env.text("SECRET_KEY", "development-only-and-therefore-not-secret-at-all-0123456789")
ALLOWED_HOSTS = env.texts("ALLOWED_HOSTS", ["*"])
CSRF_TRUSTED_ORIGINS = env.texts("CSRF_TRUSTED_ORIGINS", [])
DATABASES = {"default": env.database("DATABASE_URL", "sqlite:///var/legwork.sqlite3")}
LOGGING = logging_config(json=False, level=env.text("LOG_LEVEL", "INFO"))
