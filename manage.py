#!/usr/bin/env python
"""Django's command line. Without DJANGO_SETTINGS_MODULE this is production; developers set settings.development."""

import os
import sys

from django.core.exceptions import ImproperlyConfigured
from django.core.management import execute_from_command_line

PRODUCTION = "settings.production"
NOT_CHOSEN = "DJANGO_SETTINGS_MODULE is not set, which means production; developers set it to settings.development."


def main() -> None:
    hint = "" if os.environ.get("DJANGO_SETTINGS_MODULE") else f" {NOT_CHOSEN}"
    os.environ["DJANGO_SETTINGS_MODULE"] = os.environ.get("DJANGO_SETTINGS_MODULE") or PRODUCTION
    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        sys.exit(f"Legwork cannot start: {error}{hint}")


if __name__ == "__main__":
    main()
