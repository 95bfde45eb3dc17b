"""Writes docs/mail-failures.md: `python -m tests.provider_cases`."""

import os

import django

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings.development")
    django.setup()
    from tests.provider_cases.table import DOCUMENT, document

    DOCUMENT.write_text(document())
