"""Django as a WSGI application: what project/asgi.py puts on its threads, and what gunicorn may serve by itself."""

import os
import sys
from importlib import import_module

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.handlers.wsgi import WSGIHandler
from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings.development")


def _started() -> WSGIHandler:
    handler = get_wsgi_application()
    # A mistake in a URL or a view stops the start, and not the first request.
    import_module(settings.ROOT_URLCONF)
    return handler


try:
    application = _started()
except ImproperlyConfigured as error:
    sys.exit(f"Legwork cannot start: {error}")
