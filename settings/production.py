"""Production: everything secret or particular comes from the environment, and nothing of it has a default."""

import re

from django.core.exceptions import ImproperlyConfigured

from project.logging import logging_config
from settings import env
from settings.base import *  # noqa: F403

DEBUG = False
SECRET_KEY = env.text("SECRET_KEY")
if len(SECRET_KEY) < 50:
    raise ImproperlyConfigured("SECRET_KEY must have 50 characters or more; make one with `openssl rand -base64 48`.")
ALLOWED_HOSTS = env.texts("ALLOWED_HOSTS")
PUBLIC_URL = env.text("PUBLIC_URL", f"https://{next(iter(ALLOWED_HOSTS), '')}")
if not re.fullmatch(r"https?://\w[\w.-]*(:\d+)?/?", PUBLIC_URL):
    raise ImproperlyConfigured("PUBLIC_URL must be the https:// address under which recipients of mail reach us.")
CSRF_TRUSTED_ORIGINS = env.texts("CSRF_TRUSTED_ORIGINS", [])
DATABASES = {"default": env.database("DATABASE_URL"), **REPLICAS}
LOGGING = logging_config(json=True, level=env.text("LOG_LEVEL", "INFO"))

# TLS ends at the balancer, which says so in X-Forwarded-Proto; health checks come from inside, without it.
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SECURE_SSL_REDIRECT = env.boolean("SECURE_SSL_REDIRECT", default=True)
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$"]
SECURE_HSTS_SECONDS = env.integer("SECURE_HSTS_SECONDS", 365 * 24 * 3600)
SECURE_HSTS_INCLUDE_SUBDOMAINS = True
SECURE_HSTS_PRELOAD = True
SESSION_COOKIE_SECURE = True
CSRF_COOKIE_SECURE = True
