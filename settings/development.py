"""Settings for development: SQLite, no secrets to set, readable logs. Errors look the same as in production."""

import sys

from project.logging import logging_config
from settings import env

# Mailgun is replaced by `manage.py mailgun_simulator`. Set before settings/base.py reads these variables.
env.defaults(
    MAILGUN_API_KEY=env.DEVELOPMENT["MAILGUN_API_KEY"],
    MAILGUN_API_URL="http://127.0.0.1:8025/v3",
    MAILGUN_SENDER_DOMAIN="mg.example.org",
    MAILGUN_WEBHOOK_SIGNING_KEY=env.DEVELOPMENT["MAILGUN_WEBHOOK_SIGNING_KEY"],
    MAIL_CHECK_DNS="0",
    METRICS_ALLOWED="127.0.0.1,::1",
    DEMO_KINDS="1",
    Q_FUNCTIONS="*",
)

from settings.base import *  # noqa: E402, F403

# DEBUG is off in development, because Django's debug pages replace the API's own errors. DEBUG=1 turns it on.
DEBUG = env.boolean("DEBUG", default=False)
SECRET_KEY = env.text("SECRET_KEY", env.DEVELOPMENT["SECRET_KEY"])
# Everybody knows these secrets, so only this machine may connect.
LOOPBACK_ONLY = True
env.require_loopback(sys.argv)
ALLOWED_HOSTS = env.texts("ALLOWED_HOSTS", ["*"])
CSRF_TRUSTED_ORIGINS = env.texts("CSRF_TRUSTED_ORIGINS", [])
DATABASES = {"default": env.database("DATABASE_URL", "sqlite:///var/legwork.sqlite3"), **REPLICAS}
LOGGING = logging_config(json=False, level=env.text("LOG_LEVEL", "INFO"))
