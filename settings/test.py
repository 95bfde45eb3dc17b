"""Settings for tests: the private PostgreSQL server that tests/conftest.py starts, or DATABASE_URL."""

from project.logging import logging_config
from settings import env

env.defaults(
    MAILGUN_API_KEY="key-of-the-simulator",
    MAILGUN_API_URL="http://127.0.0.1:1/v3",
    MAILGUN_SENDER_DOMAIN="mg.example.org",
    MAILGUN_WEBHOOK_SIGNING_KEY="signing-key-of-the-simulator",
    MAIL_CHECK_DNS="0",
    METRICS_ALLOWED="127.0.0.1,::1",
    DEMO_KINDS="1",
    Q_FUNCTIONS="*",
)

from settings.base import *  # noqa: E402, F403

DEBUG = False
SECRET_KEY = "tests-only-and-therefore-not-secret-at-all-0123456789abcdef"  # noqa: S105
ALLOWED_HOSTS = ["*"]
DATABASES = {"default": env.database("DATABASE_URL"), **REPLICAS}
# The default hasher is slow on purpose.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
LOGGING = logging_config(json=True, level="WARNING")
# Each test client makes the middleware anew, and WhiteNoise would look at hundreds of files again.
WHITENOISE_AUTOREFRESH = True
