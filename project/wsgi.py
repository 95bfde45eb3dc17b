"""Django as a WSGI application: project/asgi.py runs it on its thread pool; gunicorn could serve it alone."""

import os
import sys
from importlib import import_module

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.handlers.wsgi import WSGIHandler
from django.core.wsgi import get_wsgi_application

CHOSEN = os.environ.get("DJANGO_SETTINGS_MODULE")
NOT_CHOSEN = " DJANGO_SETTINGS_MODULE is not set, which means production; developers set it to settings.development."
os.environ["DJANGO_SETTINGS_MODULE"] = CHOSEN or "settings.production"


def _start() -> WSGIHandler:
    handler = get_wsgi_application()
    # An error in a URL or a view then stops the start instead of the first request.
    import_module(settings.ROOT_URLCONF)
    return handler


try:
    application = _start()
except ImproperlyConfigured as error:
    sys.exit(f"Legwork cannot start: {error}{'' if CHOSEN else NOT_CHOSEN}")
