"""Settings for production: secrets and host names come from the environment and have no defaults."""

import re

from django.core.exceptions import ImproperlyConfigured

from project.logging import logging_config
from settings import env
from settings.base import *  # noqa: F403

DEBUG = False
SECRET_KEY = env.secret_key("SECRET_KEY", env.text("SECRET_KEY"))
# Earlier keys, which still verify and decrypt what was made with them. The first is the latest.
SECRET_KEY_FALLBACKS = [env.secret_key("SECRET_KEY_FALLBACKS", key) for key in env.texts("SECRET_KEY_FALLBACKS", [])]
env.refuse_values_of_development()
ALLOWED_HOSTS = env.texts_without("*", "ALLOWED_HOSTS", "any client could then choose the host in links")
Q_FUNCTIONS = env.texts_without("*", "Q_FUNCTIONS", "a schedule could then call os.system", [])
PUBLIC_URL = env.text("PUBLIC_URL", f"https://{next(iter(ALLOWED_HOSTS), '')}")
if not re.fullmatch(r"https?://\w[\w.-]*(:\d+)?/?", PUBLIC_URL):
    raise ImproperlyConfigured("PUBLIC_URL must be the https:// address of this service for recipients of mail.")
CSRF_TRUSTED_ORIGINS = env.texts("CSRF_TRUSTED_ORIGINS", [])
DATABASES = {"default": env.database("DATABASE_URL"), **REPLICAS}
LOGGING = logging_config(json=True, level=env.text("LOG_LEVEL", "INFO"))

# TLS ends at the load balancer, which sets X-Forwarded-Proto. Its health checks come without TLS.
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SECURE_SSL_REDIRECT = env.boolean("SECURE_SSL_REDIRECT", default=True)
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$"]
SECURE_HSTS_SECONDS = env.integer("SECURE_HSTS_SECONDS", 365 * 24 * 3600)
SECURE_HSTS_INCLUDE_SUBDOMAINS = True
SECURE_HSTS_PRELOAD = env.boolean("SECURE_HSTS_PRELOAD", default=False)
# W021 asks for preloading, which is opt-in here: browsers forget it only after months.
SILENCED_SYSTEM_CHECKS = ["security.W021"]
SESSION_COOKIE_SECURE = True
CSRF_COOKIE_SECURE = True
